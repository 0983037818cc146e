"""The data of the page as JSON values: groups, runs, and what studies expect of them.

Groups, spreads and curves are those of the report's tables and figures; the page's scripts compute none anew.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from unforced.config import flatten
from unforced.config.settings import size_in_words
from unforced.errors import UserError
from unforced.evaluation.outcomes import Outcome, outcomes_of
from unforced.reporting.curves import SAMPLES, group_curves, run_curves, token_measures
from unforced.reporting.expectations_table import Judged
from unforced.reporting.load import ReportedStudy
from unforced.runs.finished import FinishedRun
from unforced.runs.folder import RunFolder
from unforced.runs.groups import Group, spread

_DIGITS = 4
_FREE = "test.free.exact"


def describe(
    groups: Sequence[Group],
    judged: Sequence[Judged],
    studies: Sequence[ReportedStudy],
    missing: list[str],
    diagnosed: Sequence[Path],
) -> dict[str, Any]:
    """Describe what the page's scripts show. Appends a line to `missing` for each part that is not there.

    Runs name their group by its index, and their column among the `diagnosed` folders; claims the groups that
    they speak of.
    """
    sources = {study.name: study.source for study in studies}
    return {
        "groups": [_group(group) for group in groups],
        "runs": [
            {
                **_run(run, missing),
                "group": number,
                "column": diagnosed.index(run.path) if run.path in diagnosed else None,
            }
            for number, group in enumerate(groups)
            for run in group.runs
        ],
        "claims": [_claim(claim, sources.get(claim.study, ""), groups) for claim in judged],
        "studies": [{"name": study.name, "source": study.source} for study in studies],
    }


def _group(group: Group) -> dict[str, Any]:
    """Describe what a group's runs have in common, and their outcomes."""
    run, values = group.runs[0], group.values(_FREE)
    tree = run.tree
    forced = zip_longest(*(_forced_tokens(run) for run in group.runs))  # test sets may lack rare long answers
    return {
        "name": group.configuration,
        "facet": group.facet,
        "settings": group.settings,
        "task": str(run.task or run.topology),
        "model": run.model,
        "objective": run.objective,
        "order": tree["order"],
        "data": "a stream" if tree["stream"] else size_in_words(tree["num_train"]),
        "chance": run.chance,
        "decisive": list(run.decisive),
        "forced_note": run.forced_note,
        "unique_answer": run.unique_answer,
        "open_ended": group.open_ended,
        "free": _seeds(values),
        "creative": _seeds(group.values(run.headline)) if group.open_ended else None,
        "solved": None
        if group.open_ended
        else sum(outcome.solved for outcome in outcomes_of(group, "free.exact").values()),
        "failures": group.failures,
        "kernels": group.mixed_kernels,
        "forced_tokens": [_median(position) for position in forced],
        "verdicts": [
            {"name": name, "title": title, "count": count}
            for (name, title), count in group.verdicts.most_common()
        ],
        "curves": _group_curves(group),
    }


def _seeds(values: Sequence[float]) -> dict[str, Any]:
    return {**_rounded(spread(values)), "values": [round(value, _DIGITS) for value in values]}


def _run(run: FinishedRun, missing: list[str]) -> dict[str, Any]:
    verdict = run.diagnosis and run.diagnosis["verdict"]
    return {
        "name": run.name,
        "seed": run.seed,
        "free": _interval(run, _FREE),
        "creative": _interval(run, run.headline) if run.open_ended else None,
        "solved": not run.open_ended and Outcome.of(run, "free.exact").solved,
        "failure": run.failure,
        "forced_tokens": _forced_tokens(run),
        "curves": _columns(run_curves(run)),
        "settings": flatten(run.tree),
        "verdict": verdict and {key: verdict[key] for key in ("name", "title", "because")},
        "traces": _traces(RunFolder(run.path), missing),
    }


def _interval(run: FinishedRun, measure: str) -> dict[str, float]:
    return _rounded({key: run.result[measure][key] for key in ("value", "low", "high")})


def _claim(judged: Judged, study_source: str, groups: Sequence[Group]) -> dict[str, Any]:
    """Describe an expectation and its verdict; its source without the words of the study's source."""
    expected, judgement = judged.expectation, judged.judgement
    return {
        "study": judged.study,
        "runs": expected.group,
        "measure": judged.measure,
        "expected": judged.words,
        "source": expected.source.removeprefix(study_source).lstrip(":, ") or expected.source,
        "measured": {"median": judgement.median, "low": judgement.low, "high": judgement.high},
        "holds": judgement.holds,
        "total": judgement.total,
        "verdict": judgement.verdict,
        "groups": [
            number
            for number, group in enumerate(groups)
            if any(expected.selects(run.tree) for run in group.runs)
        ],
    }


def _group_curves(group: Group) -> dict[str, Any]:
    """Return the samples at which any seed was evaluated, and the spread of each measure at them."""
    curves = group_curves(group)
    samples = next(iter(curves.values())).index.tolist() if curves else []
    return {SAMPLES: samples, **{measure: _values(frame) for measure, frame in curves.items()}}


def _columns(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return {SAMPLES: frame.index.tolist(), **_values(frame)}


def _values(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Return the columns as JSON values: rounded, null for NaN."""
    return {str(name): [_number(value) for value in column.tolist()] for name, column in frame.items()}


def _number(value: float | int) -> float | None:
    return None if math.isnan(value) else round(float(value), _DIGITS)


def _rounded(values: Mapping[str, float | int]) -> dict[str, float]:
    return {key: round(value, _DIGITS) for key, value in values.items()}


def _median(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return round(median(numbers), _DIGITS) if numbers else None


def _forced_tokens(run: FinishedRun) -> list[float | None]:
    """Return the teacher-forced accuracy of each answer position; None if no answer has the position.

    None at all where a task is open-ended.
    """
    if run.open_ended:
        return []
    proportions = [run.result.get(f"test.forced.{token}") for token in token_measures(run.length)]
    return [_number(share["value"]) if share and share["total"] else None for share in proportions]


def _traces(folder: RunFolder, missing: list[str]) -> dict[str, Any] | None:
    """Return the run's traces; None if there are none."""
    if not folder.traces.exists():
        missing.append(f"{folder.path}: no traces to explore: it has no traces.json")
        return None
    try:
        return folder.read_traces()
    except UserError as error:
        missing.append(f"{folder.path}: without its traces: {error}")
        return None
