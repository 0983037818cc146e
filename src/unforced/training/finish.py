"""When a run ends by itself."""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from unforced.config import SOLVED, Run

_SPLITS = {"solved": "validation", "fitted": "train"}
_EVALUATIONS_IN_A_ROW = 2  # once may be luck


class Finish:
    """Watches a run's evaluations, all of them and in order, for the step at which it may end."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._in_a_row = 0
        self._reached_at: int | None = None

    def hear(self, line: Mapping[str, Any]) -> None:
        """Take note of a line of metrics.jsonl."""
        if self.run.stop_when == "never" or self._reached_at is not None:
            return
        split = _SPLITS[self.run.stop_when]
        counts = [line[f"{split}.{measure}"] for measure in self.run.objective.exact_measures]
        high = all(count["correct"] >= SOLVED * count["total"] for count in counts)
        self._in_a_row = self._in_a_row + 1 if high else 0
        if self._in_a_row == _EVALUATIONS_IN_A_ROW:
            self._reached_at = line["step"]

    @property
    def step(self) -> int:
        """The step to end at, by what is known now."""
        if self._reached_at is None:
            return self.run.num_steps
        factor = Fraction(str(self.run.overtrain))  # as written: 1.1 x 10 is 11, not a little more
        return min(self.run.num_steps, math.ceil(factor * self._reached_at))

    @property
    def reason(self) -> str:
        """Why it ends there."""
        return "steps" if self.step == self.run.num_steps else self.run.stop_when
