"""A task of one's own, in plain Python: sort a few digits.

unforced train examples/own_task.py:recipe --out runs/sorting
"""

from typing import Literal

import numpy as np
from pydantic import Field

import unforced as uf
from unforced.tasks.line_task import LineTask, Signs


class Sorting(LineTask):
    """Sort digits from the smallest to the largest."""

    name: Literal["sorting"] = "sorting"
    most: int = Field(6, ge=2, description="digits of the longest problem")

    @property
    def answer_signs(self) -> tuple[str, ...]:
        """Digits."""
        return tuple("0123456789")

    @property
    def other_signs(self) -> tuple[str, ...]:
        """The end of a prompt."""
        return ("=",)

    @property
    def longest(self) -> tuple[int, int]:
        """All digits and the sign =; all digits."""
        return self.most + 1, self.most

    def make(self, rng: np.random.Generator) -> tuple[Signs, Signs]:
        """Draw digits: 3 1 2 =, to be answered by 1 2 3."""
        digits = [str(digit) for digit in rng.integers(10, size=rng.integers(2, self.most + 1))]
        return [*digits, "="], sorted(digits)


def recipe() -> uf.Run:
    """A small Transformer, a few hundred steps."""
    return uf.recipe("quickstart.next_token").replace(
        task=Sorting(), model={"layers": 2, "width": 64}, max_steps=500
    )
