"""A batch of problems as token ids, prompt and answer apart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor

from unforced.tasks.base import Order


@dataclass(frozen=True)
class Prompts:
    """All that a decoder may see of problems: no answer, and no length of one.

    tokens      prompts, right-aligned
    mask        which tokens are real; None means that all are
    room        maximum tokens of an answer: the same for all problems of a task
    mask_token  id that stands where an answer token is hidden
    end         id of the end-of-answer token; None if all answers have the same length
    numbers     which problem of a set each one is: sampling depends on it
    specials    ids of further special tokens that the objective asked for, by name
    """

    tokens: Int[Tensor, "batch prompt"]
    mask: Bool[Tensor, "batch prompt"] | None
    room: int
    mask_token: int
    end: int | None
    numbers: Int[Tensor, " batch"]
    specials: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Batch:
    """Prompts (right-aligned) and answers (left-aligned, in `order`) as token ids.

    The masks say which tokens are real; None means that all are. `mask_token` is the id that stands where an
    objective hides an answer token. `answer_places` says of which symbol of the answer each token is a part,
    counted in forward order, -1 for none; of several, the one that is written first, and `answer_reach` says
    which is written last. None means that each token is a symbol. `end` is the id of the token that ends an
    answer, None if all have the same length. `numbers` say which problem of a set each row is (0, 1, ... if
    None). `specials` are the ids of further special tokens, by name.
    """

    prompt: Int[Tensor, "batch prompt"]
    answer: Int[Tensor, "batch answer"]
    mask_token: int
    prompt_mask: Bool[Tensor, "batch prompt"] | None = None
    answer_mask: Bool[Tensor, "batch answer"] | None = None
    order: Order = "forward"
    answer_places: Int[Tensor, "batch answer"] | None = None
    answer_reach: Int[Tensor, "batch answer"] | None = None
    end: int | None = None
    numbers: Int[Tensor, " batch"] | None = None
    specials: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.prompt)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """Apply `function` to every tensor: move to a device, select rows."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        mapped: dict[str, Any] = {k: function(v) for k, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **mapped)

    @property
    def prompts(self) -> Prompts:
        """What a decoder may see of it."""
        numbers = self.numbers
        if numbers is None:
            numbers = torch.arange(len(self), device=self.prompt.device)
        room = self.answer.shape[1]
        return Prompts(self.prompt, self.prompt_mask, room, self.mask_token, self.end, numbers, self.specials)

    @property
    def real_answer(self) -> Bool[Tensor, "batch answer"]:
        """Which tokens of answers are real, spelled out."""
        return (
            torch.ones_like(self.answer, dtype=torch.bool) if self.answer_mask is None else self.answer_mask
        )

    @property
    def answer_lengths(self) -> Int[Tensor, "batch 1"]:
        """How many real tokens each answer has."""
        return self.real_answer.sum(1, keepdim=True)

    @property
    def places(self) -> Int[Tensor, "#batch answer"]:
        """The position of each answer token's symbol in forward order, from 0; below 0 on padding."""
        if self.answer_places is not None:
            return self.answer_places
        place = torch.arange(self.answer.shape[1], device=self.answer.device)[None]
        if self.order == "forward":
            return place
        lengths = self.answer.shape[1] if self.answer_mask is None else self.answer_mask.sum(1, keepdim=True)
        return lengths - 1 - place

    def covers(self, positions: Sequence[int]) -> Bool[Tensor, "#batch answer"]:
        """Say which answer tokens are a part of the symbol at any of these positions, in forward order."""
        first = self.places
        last = first if self.answer_reach is None else self.answer_reach
        wanted = torch.tensor(positions, device=first.device)
        low, high = (bound[..., None] for bound in (torch.minimum(first, last), torch.maximum(first, last)))
        return ((low <= wanted) & (wanted <= high)).any(dim=-1)

    def rows(self, index: slice | Tensor) -> "Batch":
        """Select problems."""
        return self.map(lambda tensor: tensor[index])

    @classmethod
    def join(cls, parts: Sequence["Batch"]) -> "Batch":
        """Put batches of one codec and order end to end, padded to the longest."""
        shapes = {(part.prompt.shape[1], part.answer.shape[1], part.prompt_mask is None) for part in parts}
        even = parts if len(shapes) == 1 else [part._padded(parts) for part in parts]
        columns: dict[str, Any] = {
            each.name: torch.cat([getattr(part, each.name) for part in even])
            for each in fields(cls)
            if isinstance(getattr(even[0], each.name), Tensor)
        }
        return replace(even[0], **columns)

    def _padded(self, others: Sequence["Batch"]) -> "Batch":
        """Pad to the longest of `others`, and say which tokens are real."""
        left = max(other.prompt.shape[1] for other in others) - self.prompt.shape[1]
        right = max(other.answer.shape[1] for other in others) - self.answer.shape[1]
        real = [
            torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
            for tokens, mask in ((self.prompt, self.prompt_mask), (self.answer, self.answer_mask))
        ]
        places, reach = (
            None if each is None else F.pad(each, (0, right), value=-1)
            for each in (self.answer_places, self.answer_reach)
        )
        return replace(
            self,
            prompt=F.pad(self.prompt, (left, 0)),
            answer=F.pad(self.answer, (0, right)),
            prompt_mask=F.pad(real[0], (left, 0)),
            answer_mask=F.pad(real[1], (0, right)),
            answer_places=places,
            answer_reach=reach,
        )
