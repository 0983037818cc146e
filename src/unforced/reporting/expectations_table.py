"""What studies expect, held against the runs in their folders."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from unforced.errors import UserError
from unforced.expectations import Expectation, Judgement, judge
from unforced.reporting.load import Collection
from unforced.runs.finished import FinishedRun

_RELATIONS = {"at_most": ("at most", "+"), "at_least": ("at least", "–"), "about": ("about", "±")}


@dataclass(frozen=True)
class Judged:
    """An expectation of a study, and how it came out."""

    study: str
    expectation: Expectation
    values: Sequence[float]
    judgement: Judgement

    @property
    def words(self) -> str:
        """What was expected, in percent."""
        expected = self.expectation
        words, sign = _RELATIONS[expected.relation]
        within = f" {sign} {100 * expected.tolerance:.3g}" if expected.tolerance else ""
        return f"{words} {100 * expected.value:.3g}{within}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"study": self.study, **self.expectation.model_dump(), **asdict(self.judgement)}


def judge_studies(collection: Collection) -> tuple[list[Judged], dict[str, str]]:
    """Judge each expectation of each study on the runs below its folder.

    Returns what was judged, and by expectation why one was not: it selects a seed twice, so that what it
    speaks of are several groups, or a run that lacks its measure.
    """
    judged, refused = [], {}
    for study in collection.studies:
        own = collection.below(study.path)
        for number, expectation in enumerate(study.expectations):
            try:
                values = _values(expectation, own)
            except UserError as error:
                refused[f"{study.path}: expectation {number + 1} ({expectation.group})"] = str(error)
            else:
                judged.append(Judged(study.name, expectation, values, judge(expectation, values)))
    return judged, refused


def _values(expectation: Expectation, runs: Sequence[FinishedRun]) -> list[float]:
    chosen: dict[int, FinishedRun] = {}
    for each in runs:
        if expectation.selects(each.tree):
            if each.seed in chosen:
                twice = f"{chosen[each.seed].name} and {each.name}"
                raise UserError(f"it selects seed {each.seed} twice, in {twice}; select by more keys")
            chosen[each.seed] = each
    return [_value(expectation.measure, each.name, each.result) for each in chosen.values()]


def _value(measure: str, name: str, result: Mapping[str, Any]) -> float:
    found = result.get(measure)
    value = found.get("value") if isinstance(found, dict) else found
    if not isinstance(value, int | float):
        raise UserError(f"{name} has no measure {measure}")
    return float(value)
