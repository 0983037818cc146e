"""What the page knows, as JSON values: kinds of runs, the runs, what studies expect of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from statistics import median
from typing import Any

from unforced.config import flatten
from unforced.errors import UserError
from unforced.evaluation.outcomes import Outcome, outcomes_of
from unforced.reporting.expectations_table import Judged
from unforced.reporting.load import ReportedStudy
from unforced.runs.finished import FinishedRun
from unforced.runs.folder import RunFolder
from unforced.runs.groups import Group

_DIGITS = 4
_FREE = "test.free.exact"


def describe(
    groups: Sequence[Group], judged: Sequence[Judged], studies: Sequence[ReportedStudy], lacking: list[str]
) -> dict[str, Any]:
    """Describe all that the page shows. A line about each thing that it has to do without goes to `lacking`.

    Runs name their kind by its index, claims the kinds that they speak of.
    """
    sources = {study.name: study.source for study in studies}
    return {
        "kinds": [_kind(group) for group in groups],
        "runs": [
            {**_run(each, lacking), "kind": kind} for kind, group in enumerate(groups) for each in group.runs
        ],
        "claims": [_claim(each, sources.get(each.study, ""), groups) for each in judged],
        "studies": [{"name": study.name, "source": study.source} for study in studies],
    }


def _kind(group: Group) -> dict[str, Any]:
    """Describe what a group's runs have in common, and how they came out."""
    run, values = group.runs[0], group.values(_FREE)
    tree = run.tree
    forced = zip_longest(*(_tokens(each) for each in group.runs))  # rare long answers: not in each test set
    return {
        "name": group.kind,
        "place": f"{group.topology}, {group.model}",
        "settings": group.settings,
        "task": str(run.task or run.topology),
        "model": run.model,
        "objective": run.objective,
        "order": tree["order"],
        "data": "a stream" if tree["stream"] else f"{tree['num_train']:,} problems",
        "chance": run.chance,
        "decisive": list(run.decisive),
        "forced_note": run.forced_note,
        "free": {**_spread(values), "values": [round(value, _DIGITS) for value in values]},
        "solved": sum(outcome.solved for outcome in outcomes_of(group, "free.exact").values()),
        "failures": group.failures,
        "kernels": group.mixed_kernels,
        "forced_tokens": [_middle(position) for position in forced],
        "verdicts": _verdicts(group),
    }


def _run(each: FinishedRun, lacking: list[str]) -> dict[str, Any]:
    result = each.result
    verdict = each.diagnosis and each.diagnosis["verdict"]
    return {
        "name": each.name,
        "seed": each.seed,
        "free": _interval(result[_FREE]),
        "solved": Outcome.of(each, "free.exact").solved,
        "failure": each.failure,
        "forced_tokens": _tokens(each),
        "curves": _curves(each),
        "settings": flatten(each.tree),
        "verdict": verdict and {key: verdict[key] for key in ("name", "title", "because")},
        "traces": _traces(RunFolder(each.path), lacking),
    }


def _claim(judged: Judged, study_source: str, groups: Sequence[Group]) -> dict[str, Any]:
    """Describe an expectation and its verdict; of its source, what its study's source does not say."""
    expected, judgement = judged.expectation, judged.judgement
    return {
        "study": judged.study,
        "runs": expected.group,
        "measure": expected.measure,
        "expected": judged.words,
        "source": expected.source.removeprefix(study_source).lstrip(":, ") or expected.source,
        "measured": {"median": judgement.median, "low": judgement.low, "high": judgement.high},
        "holds": judgement.holds,
        "total": judgement.total,
        "verdict": judgement.verdict,
        "kinds": [
            kind
            for kind, group in enumerate(groups)
            if any(expected.selects(each.tree) for each in group.runs)
        ],
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    spread = {"median": median(values), "low": min(values), "high": max(values)}
    return {key: round(value, _DIGITS) for key, value in spread.items()}


def _middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(median(known), _DIGITS) if known else None


def _verdicts(group: Group) -> list[dict[str, Any]]:
    """Count the verdicts of the runs that are diagnosed, the most frequent first."""
    verdicts = (each.diagnosis["verdict"] for each in group.runs if each.diagnosis is not None)
    counts = Counter((verdict["name"], verdict["title"]) for verdict in verdicts)
    return [{"name": name, "title": title, "count": n} for (name, title), n in counts.most_common()]


def _interval(proportion: Mapping[str, Any]) -> dict[str, float]:
    return {key: round(proportion[key], _DIGITS) for key in ("value", "low", "high")}


def _tokens(each: FinishedRun) -> list[float | None]:
    keys = [f"test.forced.token_{position}" for position in range(each.length)]
    return [_share(each.result.get(key)) for key in keys]


def _curves(each: FinishedRun) -> dict[str, list[int] | list[float | None]]:
    """Return accuracies over training: whole answers and each position, held-out; whole ones, training."""
    tokens = [f"token_{position}" for position in range(each.length)]
    keys = {measure: f"validation.free.{measure}" for measure in ("exact", *tokens)}
    keys["train"] = "train.free.exact"
    columns = {measure: [_share(line.get(key)) for line in each.lines] for measure, key in keys.items()}
    return {"samples": [line["samples"] for line in each.lines], **columns}


def _share(count: Mapping[str, Any] | None) -> float | None:
    return None if not count or not count["total"] else round(count["correct"] / count["total"], _DIGITS)


def _traces(folder: RunFolder, lacking: list[str]) -> dict[str, Any] | None:
    """Return the run's traces; None where there are none."""
    if not folder.traces.exists():
        lacking.append(f"{folder.path}: no traces to explore: it has no traces.json")
        return None
    try:
        return folder.read_traces()
    except UserError as error:
        lacking.append(f"{folder.path}: without its traces: {error}")
        return None
