"""The expectations of studies, judged on the runs in their folders."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from unforced.errors import UserError
from unforced.expectations import Expectation, Judgement, judge
from unforced.reporting.load import Collection
from unforced.reporting.tables import MODE_NAMES, SPLIT_NAMES
from unforced.runs.finished import FinishedRun

_RELATIONS = {"at_most": ("at most", "+"), "at_least": ("at least", "–"), "about": ("about", "±")}


@dataclass(frozen=True)
class Judged:
    """An expectation of a study, the values of its seeds, and the verdict."""

    study: str
    expectation: Expectation
    values: Sequence[float]
    judgement: Judgement

    @property
    def words(self) -> str:
        """The expectation in percent, as in `at most 50 + 2`."""
        expected = self.expectation
        words, sign = _RELATIONS[expected.relation]
        within = f" {sign} {100 * expected.tolerance:.3g}" if expected.tolerance else ""
        return f"{words} {100 * expected.value:.3g}{within}"

    @property
    def measure(self) -> str:
        """The measure, as in `held-out, teacher-forced, token_2`; exact match is not named.

        Of a slice of the problems, as in `held-out, free-running, degree 2`.
        """
        split, _, rest = self.expectation.measure.partition(".")
        part = ""
        if rest.startswith("slice."):
            _, part, rest = rest.split(".", 2)
        mode, _, measure = rest.partition(".")
        words = SPLIT_NAMES.get(split, split), MODE_NAMES.get(mode, mode), measure.removeprefix("exact")
        other = self.expectation.against_group
        less = other and f"less that of {other}"
        return ", ".join(filter(None, (*words, part.replace("_", " "), less)))

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"study": self.study, **self.expectation.model_dump(), **asdict(self.judgement)}


def judge_studies(collection: Collection) -> tuple[list[Judged], dict[str, str]]:
    """Judge each expectation of each study on the runs below its folder.

    Returns those that were judged, and the reasons why others were not: an expectation selects a seed twice
    (and so several groups), or a run that lacks its measure.
    """
    judged, refused = [], {}
    for study in collection.studies:
        runs = collection.below(study.path)
        for number, expectation in enumerate(study.expectations):
            try:
                values = _values(expectation, runs)
            except UserError as error:
                refused[f"{study.path}: expectation {number + 1} ({expectation.group})"] = str(error)
            else:
                judged.append(Judged(study.name, expectation, values, judge(expectation, values)))
    return judged, refused


def _values(expectation: Expectation, runs: Sequence[FinishedRun]) -> list[float]:
    values = _by_seed(expectation.measure, runs, expectation.selects)
    if expectation.against is None:
        return list(values.values())
    others = _by_seed(expectation.measure, runs, expectation.is_against)
    return [value - others[seed] for seed, value in values.items() if seed in others]


def _by_seed(
    measure: str, runs: Sequence[FinishedRun], selects: Callable[[Mapping[str, Any]], bool]
) -> dict[int, float]:
    """Return the measure of the chosen runs by seed. Raises UserError if there are two of a seed."""
    chosen: dict[int, FinishedRun] = {}
    for run in runs:
        if selects(run.tree):
            if run.seed in chosen:
                twice = f"{chosen[run.seed].name} and {run.name}"
                raise UserError(f"it selects seed {run.seed} twice, in {twice}; select by more keys")
            chosen[run.seed] = run
    return {seed: _value(measure, run.name, run.result) for seed, run in chosen.items()}


def _value(measure: str, name: str, result: Mapping[str, Any]) -> float:
    value = result.get(measure)
    if isinstance(value, dict):
        value = value.get("value")
    if not isinstance(value, int | float):
        raise UserError(f"{name} has no measure {measure}")
    return float(value)
