"""Runs as data frames: a row per run and measure, per run, or per evaluation."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from unforced.config import flatten
from unforced.evaluation.statistics import proportion
from unforced.reporting.load import Collection
from unforced.reporting.tables import WHOLE_ANSWERS
from unforced.runs.finished import FinishedRun
from unforced.runs.groups import Group, differing
from unforced.runs.history import Line, numbers
from unforced.runs.index import COSTS

_ALWAYS = ("task.name", "model.name", "objective.name", "order", "seed")
_SPLITS = ("train", "test")


def tidy_frame(collection: Collection, groups: Sequence[Group]) -> pd.DataFrame:
    """Return a row per run, split, mode and measure; a kind of error is `errors.KIND`, with its `count`.

    Measures of a diagnosis have the mode `diagnosis` and their path in diagnosis.json as name.
    Columns: the run's path and fingerprint, its study, configuration (`kind`) and verdict; every config key
    in which the runs differ; the measurement; how the run ended, its cost, hardware and kernels.
    """
    runs, studies = collection.runs, _studies(collection)
    kinds = {run.name: group.configuration for group in groups for run in group.runs}
    configs = [flatten(run.tree) for run in runs]
    keys = [*_ALWAYS, *(key for key in differing(configs) if key not in _ALWAYS)]
    rows = [
        {
            **_names(run),
            "study": studies.get(run.name),
            "kind": kinds[run.name],
            "verdict": run.diagnosis["verdict"]["title"] if run.diagnosis else None,
            **{key: _cell(config.get(key)) for key in keys},
            **measured,
            **_cost(run),
        }
        for run, config in zip(runs, configs, strict=True)
        for measured in (*_measures(run.result), *_diagnosed(run.diagnosis or {}))
    ]
    return pd.DataFrame(rows, dtype=object).apply(_one_type)


def summary_frame(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """Return a row per run, by its name: its parts, exact match and verdict."""
    rows = {
        run.name: {
            "task": run.topology,
            "model": run.model,
            "objective": run.objective,
            "order": run.tree["order"],
            "seed": run.seed,
            "steps": run.result.get("steps"),
            **{
                measure: run.result[measure]["value"] if measure in run.result else None
                for measure in WHOLE_ANSWERS.values()
            },
            "verdict": run.diagnosis["verdict"]["title"] if run.diagnosis else None,
        }
        for run in runs
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def metrics_frame(lines: Sequence[Line]) -> pd.DataFrame:
    """Return a row per line of metrics.jsonl: counts of right answers become fractions.

    Kinds of error become a column each, `validation.free.errors.KIND`, of counts.
    """
    rows = [numbers(line) for line in lines]
    columns = dict.fromkeys(["step", "samples", "loss", *(key for row in rows for key in row)])
    return pd.DataFrame(rows, columns=list(columns))


def _studies(collection: Collection) -> dict[str, str]:
    """Name the study of each run, or its studies."""
    names: dict[str, list[str]] = defaultdict(list)
    for study in collection.studies:
        for run in collection.below(study.path):
            names[run.name].append(study.name)
    return {name: "; ".join(studies) for name, studies in names.items()}


def _names(run: FinishedRun) -> dict[str, Any]:
    shape = {"topology": run.topology, "chance": run.chance}
    return {"run": run.name, "fingerprint": run.result.get("run"), **shape}


def _cost(run: FinishedRun) -> dict[str, Any]:
    hardware = run.result.get("hardware", {})
    ended = {"ended_by": run.result.get("ended_by")} | {key: run.result.get(key) for key in COSTS}
    return ended | {"hardware": _in_words(hardware), "kernels": _in_words(run.kernels)}


def _in_words(facts: Mapping[str, Any]) -> str:
    return "; ".join(f"{key}={value}" for key, value in facts.items())


def _measures(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key, value in result.items():
        split, *where_measured = key.split(".")
        if len(where_measured) == 4 and where_measured[0] == "slice":  # exact.length_4
            mode, measure = where_measured[2], f"{where_measured[3]}.{where_measured[1]}"
        elif len(where_measured) == 2:
            mode, measure = where_measured
        else:
            continue
        where = {"split": split, "mode": mode}
        if measure != "errors":
            estimate = value if isinstance(value, Mapping) else {"value": value}  # a margin is a mean
            yield {**where, "measure": measure, **_numbers(estimate)}
            continue
        total = sum(value.values())
        for kind, count in value.items():
            if total:
                share = _numbers(proportion(count, total)) | {"correct": None, "count": count}
                yield {**where, "measure": f"errors.{kind}", **share}


def _diagnosed(measures: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """Yield every estimate of a diagnosis; those without a split are on held-out problems."""
    if "value" in measures:
        splits = [part for part in path if part in _SPLITS]
        measure = ".".join(part for part in path if part not in _SPLITS)
        split = splits[0] if splits else "test"
        yield {"split": split, "mode": "diagnosis", "measure": measure, **_numbers(measures)}
        return
    for key, value in measures.items():
        if isinstance(value, Mapping):
            yield from _diagnosed(value, (*path, key))


def _numbers(estimate: Mapping[str, Any]) -> dict[str, Any]:
    return {key: estimate.get(key) for key in ("value", "correct", "total", "low", "high")} | {"count": None}


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _one_type(column: pd.Series) -> pd.Series:
    """Convert a column to one type, as Parquet requires; integers stay integers if cells are empty."""
    kinds = {type(value) for value in column if not pd.isna(value)}
    if len(kinds) > 1 and not kinds <= {int, float}:
        return column.map(lambda value: value if pd.isna(value) else str(value))
    return column.astype("Int64") if kinds == {int} else column.infer_objects()
