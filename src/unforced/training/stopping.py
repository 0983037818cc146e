"""When a run counts as solved or fitted, and when it ends by itself."""

import math
from fractions import Fraction

from unforced.config import Run
from unforced.runs import history
from unforced.runs.history import Line

_SPLITS = {"solved": "validation", "fitted": "train"}


class StoppingRule:
    """Watches a run's evaluations, all of them and in order, for the step at which it may end."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._latest: list[Line] = []
        self._reached_at: int | None = None

    def update(self, line: Line) -> None:
        """Take note of a line of metrics.jsonl."""
        if self.run.stop_when == "never" or self._reached_at is not None:
            return
        split = _SPLITS[self.run.stop_when]
        measures = [f"{split}.{measure}" for measure in self.run.exact_measures]
        self._latest = [*self._latest, line][-history.IN_A_ROW :]
        if history.first_of_a_row(self._latest, measures) is not None:
            self._reached_at = line["step"]

    @property
    def step(self) -> int:
        """The step to end at, by what is known now."""
        if self._reached_at is None:
            return self.run.num_steps
        factor = Fraction(str(self.run.train_past_stop))  # as written: 1.1 x 10 is 11, not a little more
        return min(self.run.num_steps, math.ceil(factor * self._reached_at))

    @property
    def reason(self) -> str:
        """Why it ends there."""
        return "steps" if self.step == self.run.num_steps else self.run.stop_when
