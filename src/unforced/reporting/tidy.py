"""The tidy table: one row per run and measure, for tools that draw their own conclusions."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from unforced.config import flatten
from unforced.evaluation.groups import differing
from unforced.evaluation.statistics import proportion
from unforced.reporting.collecting import ReportedRun

_ALWAYS = ("task.name", "model.name", "objective.name", "order", "seed")
_COSTS = ("steps", "samples", "flops", "seconds")


def tidy_frame(runs: Sequence[ReportedRun]) -> pd.DataFrame:
    """Return a row per run, split, mode and measure; a kind of error is `errors.KIND`, with its `count`.

    Columns: the run's path and fingerprint; every config key in which the runs differ; what was measured;
    what the run cost, and on which hardware.
    """
    configs = [flatten(each.run.tree()) for each in runs]
    keys = [*_ALWAYS, *(key for key in differing(configs) if key not in _ALWAYS)]
    rows = [
        {**_who(each), **{key: _cell(config.get(key)) for key in keys}, **measured, **_cost(each)}
        for each, config in zip(runs, configs, strict=True)
        for measured in _measures(each.result)
    ]
    return pd.DataFrame(rows, dtype=object).apply(_one_type)


def _who(each: ReportedRun) -> dict[str, Any]:
    shape = {"topology": each.run.task.topology, "chance": each.result["chance"]}
    return {"run": each.name, "fingerprint": each.result.get("run", each.run.fingerprint), **shape}


def _cost(each: ReportedRun) -> dict[str, Any]:
    hardware = each.result.get("hardware", {})
    words = "; ".join(f"{key}={value}" for key, value in hardware.items())
    return {key: each.result.get(key) for key in _COSTS} | {"hardware": words}


def _measures(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key, value in result.items():
        if key.count(".") != 2:
            continue
        split, mode, measure = key.split(".")
        where = {"split": split, "mode": mode}
        if measure != "errors":
            yield {**where, "measure": measure, **_numbers(value)}
            continue
        total = sum(value.values())
        for kind, count in value.items():
            if total:
                share = _numbers(proportion(count, total)) | {"correct": None, "count": count}
                yield {**where, "measure": f"errors.{kind}", **share}


def _numbers(estimate: Mapping[str, Any]) -> dict[str, Any]:
    return {key: estimate[key] for key in ("value", "correct", "total", "low", "high")} | {"count": None}


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _one_type(column: pd.Series) -> pd.Series:
    """Make a column of one type, which Parquet asks for: whole numbers stay whole beside empty cells."""
    kinds = {type(value) for value in column if not pd.isna(value)}
    if len(kinds) > 1 and not kinds <= {int, float}:
        return column.map(lambda value: value if pd.isna(value) else str(value))
    return column.astype("Int64") if kinds == {int} else column.infer_objects()
