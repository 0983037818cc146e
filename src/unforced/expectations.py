"""The expectations of a study, and their judgement by the measured values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from unforced.config import flatten

MIN_SEEDS = 5
"""The fewest seeds whose median is judged."""
CLEAR = 0.8
"""Fraction of the seeds that must agree with the median; outcomes are often bimodal over seeds."""
_ROUNDING = 1e-9  # so that 0.48 is within 0.02 of 0.5, which floating point denies

Relation = Literal["at_most", "at_least", "about"]
Answer = Literal["met", "missed", "mixed", "not enough seeds"]


class Expectation(BaseModel):
    """A number that a source gives, and the runs of a study that it speaks of.

    With `against`, it is a difference: the measure in those runs less that in others, seed by seed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    group: str = Field(description="what the runs are called")
    select: dict[str, Any] = Field(description="dotted config keys and their values in just those runs")
    measure: str = Field(description="a key of result.json, as in test.free.exact")
    against: dict[str, Any] | None = Field(
        None, description="as select: the runs whose measure is taken off (null: of none)"
    )
    against_group: str = Field("", description="what those runs are called")
    relation: Relation = Field(description="how the median over seeds stands to the value")
    value: float = Field(description="what the source says, as a share (0.5, not 50)")
    tolerance: float = Field(0.0, ge=0, description="how far off still counts")
    source: str = Field(description="who says so, and where")

    def selects(self, tree: Mapping[str, Any]) -> bool:
        """Whether a run with this config (as JSON values) is spoken of."""
        return _fits(tree, self.select)

    def is_against(self, tree: Mapping[str, Any]) -> bool:
        """Whether a run with this config is one of those whose measure is taken off."""
        return self.against is not None and _fits(tree, self.against)

    def holds(self, value: float) -> bool:
        """Whether one value is as expected."""
        apart = value - self.value
        above, below = apart > self.tolerance + _ROUNDING, apart < -self.tolerance - _ROUNDING
        return not {"at_most": above, "at_least": below, "about": above or below}[self.relation]


def _fits(tree: Mapping[str, Any], select: Mapping[str, Any]) -> bool:
    flat = flatten(tree)
    return all(key in flat and flat[key] == value for key, value in select.items())


@dataclass(frozen=True)
class Judgement:
    """The verdict on the median, what it rests on (None without values), and in how many seeds it holds."""

    verdict: Answer
    median: float | None
    low: float | None
    high: float | None
    holds: int
    total: int


def judge(expectation: Expectation, values: Sequence[float]) -> Judgement:
    """Judge an expectation by the values of its seeds.

    The median decides if there are at least MIN_SEEDS seeds and at least the fraction CLEAR of them is on its
    side; otherwise the verdict is `not enough seeds` or `mixed`.
    """
    if not values:
        return Judgement("not enough seeds", None, None, None, 0, 0)
    middle, holds = median(values), sum(map(expectation.holds, values))
    verdict: Answer = "met" if expectation.holds(middle) else "missed"
    agree = holds if verdict == "met" else len(values) - holds
    if len(values) < MIN_SEEDS:
        verdict = "not enough seeds"
    elif agree < CLEAR * len(values):
        verdict = "mixed"
    return Judgement(verdict, middle, min(values), max(values), holds, len(values))
