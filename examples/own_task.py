"""A task of one's own, in plain Python: sort a few digits. Train it from the root of the repository:

python -m examples.own_task runs/sorting
"""

import sys
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from unforced.config import Run
from unforced.experiment import run_experiment
from unforced.models.gpt import GPT
from unforced.registry import TASKS
from unforced.reporting.progress import watch_run
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


TASKS.register("sorting", "examples.own_task:Sorting")

if __name__ == "__main__":
    run = Run(task=Sorting(), model=GPT(layers=2, width=64, heads=4), stream=True, max_steps=500)
    with watch_run(run, quiet=False) as progress:
        run_experiment(run, Path(sys.argv[1]), progress)
