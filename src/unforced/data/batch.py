"""A batch of problems as token ids, prompt and answer apart."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Prompts (right-aligned) and answers (left-aligned) as token ids.

    The masks say which tokens are real; None means that all are. `dummy` is the id that stands where an
    objective hides an answer token.
    """

    prompt: Int[Tensor, "batch prompt"]
    answer: Int[Tensor, "batch answer"]
    dummy: int
    prompt_mask: Bool[Tensor, "batch prompt"] | None = None
    answer_mask: Bool[Tensor, "batch answer"] | None = None

    def __len__(self) -> int:
        return len(self.prompt)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """Apply `function` to every tensor: move to a device, select rows."""
        masks = [None if mask is None else function(mask) for mask in (self.prompt_mask, self.answer_mask)]
        return Batch(function(self.prompt), function(self.answer), self.dummy, *masks)

    def rows(self, index: slice | Tensor) -> "Batch":
        """Select problems."""
        return self.map(lambda tensor: tensor[index])
