"""A batch of problems as token ids, prompt and answer apart."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from unforced.tasks.base import Order


@dataclass(frozen=True)
class Batch:
    """Prompts (right-aligned) and answers (left-aligned, in `order`) as token ids.

    The masks say which tokens are real; None means that all are. `dummy` is the id that stands where an
    objective hides an answer token.
    """

    prompt: Int[Tensor, "batch prompt"]
    answer: Int[Tensor, "batch answer"]
    dummy: int
    prompt_mask: Bool[Tensor, "batch prompt"] | None = None
    answer_mask: Bool[Tensor, "batch answer"] | None = None
    order: Order = "forward"

    def __len__(self) -> int:
        return len(self.prompt)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """Apply `function` to every tensor: move to a device, select rows."""
        prompt_mask, answer_mask = (
            None if mask is None else function(mask) for mask in (self.prompt_mask, self.answer_mask)
        )
        prompt, answer = function(self.prompt), function(self.answer)
        return Batch(prompt, answer, self.dummy, prompt_mask, answer_mask, self.order)

    @property
    def places(self) -> Int[Tensor, "#batch answer"]:
        """The position of each answer token in forward order, from 0; below 0 on padding of reversed ones."""
        place = torch.arange(self.answer.shape[1], device=self.answer.device)[None]
        if self.order == "forward":
            return place
        lengths = self.answer.shape[1] if self.answer_mask is None else self.answer_mask.sum(1, keepdim=True)
        return lengths - 1 - place

    def rows(self, index: slice | Tensor) -> "Batch":
        """Select problems."""
        return self.map(lambda tensor: tensor[index])
