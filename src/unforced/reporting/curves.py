"""Accuracy over training, of a run and over the seeds of a group: what the figures and the page draw."""

from collections.abc import Mapping, Sequence

import pandas as pd

from unforced.runs.finished import FinishedRun
from unforced.runs.groups import Group

SAMPLES = "samples"
WHOLE, TRAIN, CREATIVE = "exact", "train", "creative"


def token_measures(length: int) -> list[str]:
    """Name the measures of single answer positions."""
    return [f"token_{position}" for position in range(length)]


def run_curves(run: FinishedRun, mode: str = "free") -> pd.DataFrame:
    """Return a run's accuracy at each evaluation, a row per number of samples trained on.

    Columns: exact match (`exact`) and each answer position (`token_i`) on validation problems, exact match on
    training problems (`train`); where a task is open-ended, creative answers instead of positions. NaN where
    the evaluation has no problem with that position.
    """
    parts = [CREATIVE] if run.open_ended else token_measures(run.length)
    keys = {name: f"validation.{mode}.{name}" for name in (WHOLE, *parts)}
    keys[TRAIN] = f"train.{mode}.exact"
    rows = [{name: _fraction(line.get(key)) for name, key in keys.items()} for line in run.lines]
    index = pd.Index([line["samples"] for line in run.lines], dtype=int, name=SAMPLES)
    frame = pd.DataFrame(rows, index=index, columns=list(keys), dtype=float)
    return frame[~index.duplicated(keep="last")].sort_index()


def creative_curve(run: FinishedRun) -> "pd.Series[float]":
    """Return the share of creative answers to validation prompts by samples; empty of most tasks."""
    key = "validation.free.creative"
    found = {line["samples"]: _fraction(line[key]) for line in run.lines if key in line}
    return pd.Series(found, dtype=float)


def margin_curves(run: FinishedRun) -> pd.DataFrame:
    """Return the mean margin of each decisive token on validation problems, a row per number of samples."""
    prefix = "validation.margin."
    tokens = dict.fromkeys(key.removeprefix(prefix) for line in run.lines for key in line if prefix in key)
    rows = [{token: line.get(f"{prefix}{token}") for token in tokens} for line in run.lines]
    index = pd.Index([line["samples"] for line in run.lines], dtype=int, name=SAMPLES)
    frame = pd.DataFrame(rows, index=index, columns=list(tokens), dtype=float)
    return frame[~index.duplicated(keep="last")].sort_index().dropna(how="all")


def group_curves(group: Group, mode: str = "free") -> dict[str, pd.DataFrame]:
    """Summarise each measure over a group's seeds, at every number of samples where any was evaluated.

    Each frame has the columns median, low, high and seeds (how many have a value). Between evaluations, and
    after its last one, a seed counts with the evaluation before.
    """
    curves = [run_curves(run, mode) for run in group.runs if run.lines]
    if not curves:
        return {}
    samples = sorted({at for curve in curves for at in curve.index})
    held = [curve.reindex(pd.Index(samples, name=SAMPLES), method="ffill") for curve in curves]
    parts = token_measures(max(run.length for run in group.runs))
    return {
        measure: _over_seeds([curve[measure] for curve in held if measure in curve])
        for measure in (WHOLE, *([CREATIVE] if group.open_ended else parts), TRAIN)
    }


def trained(groups: Sequence[Group]) -> list[Group]:
    """Return the groups in which a run was evaluated after training had begun."""
    return [group for group in groups if any(line["samples"] for run in group.runs for line in run.lines)]


def _over_seeds(curves: "Sequence[pd.Series[float]]") -> pd.DataFrame:
    seeds = pd.concat(curves, axis="columns")
    summary = {"median": seeds.median(axis=1), "low": seeds.min(axis=1), "high": seeds.max(axis=1)}
    return pd.DataFrame(summary | {"seeds": seeds.notna().sum(axis=1)})


def _fraction(count: Mapping[str, int] | None) -> float:
    return count["correct"] / count["total"] if count and count["total"] else float("nan")
