"""Accuracy against training compute."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, NullFormatter

from unforced.reporting.report_figures.style import (
    CHANCE,
    Mark,
    chance_handles,
    configuration_handles,
    legend,
    marks,
    panels,
    percent_axis,
)
from unforced.runs.groups import Group

_FEW_DECADES = 300  # below this ratio, labels between powers of ten are needed and fit


def prepare_compute(groups: Sequence[Group]) -> pd.DataFrame:
    """Return a row per run with known FLOPs: these, and held-out free-running exact match with interval.

    Where a task is open-ended, creative answers instead.
    """
    return pd.DataFrame(
        {
            "facet": group.facet + ", creative answers" * group.open_ended,
            "configuration": group.configuration,
            "seed": run.seed,
            "flops": run.result["flops"],
            "chance": group.chance,
            **{key: run.result[run.headline][key] for key in ("value", "low", "high")},
        }
        for group in groups
        for run in group.runs
        if run.result.get("flops")
    )


def compute(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a panel per topology and model: a dot with its interval per seed, FLOPs on a log axis."""
    table, styles = prepare_compute(groups), marks(groups)
    if table.empty:
        return {}
    facets = list(dict.fromkeys(table["facet"]))
    labels = ("training compute (FLOPs)", "held-out exact match,\nfree-running (%)")
    figure, axes = panels(range(len(facets)), 1.8, labels)
    for panel, name in zip(axes, facets, strict=True):
        rows = table[table["facet"] == name]
        for chance in rows["chance"].dropna().unique():
            panel.axhline(chance, **CHANCE)
        _cost_axis(panel, table["flops"])
        for configuration in (name for name in styles if name in set(rows["configuration"])):
            _seeds(panel, rows[rows["configuration"] == configuration], styles[configuration])
        panel.set_title(name)
        percent_axis(panel)
    legend(figure, [*configuration_handles(styles), *chance_handles(groups)])
    return {"": figure}


def _cost_axis(axes: Axes, flops: "pd.Series[float]") -> None:
    """Set a log axis to the range of the data plus a margin, with labels within a decade if short."""
    low, high = flops.min(), flops.max()
    room = max((high / low) ** 0.08, 1.3)
    axes.set_xscale("log")
    axes.set_xlim(low / room, high * room)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if high / low < _FEW_DECADES else (1,)))
    axes.xaxis.set_major_formatter(LogFormatterSciNotation(minor_thresholds=(math.inf, math.inf)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _seeds(axes: Axes, rows: pd.DataFrame, mark: Mark) -> None:
    axes.vlines(rows["flops"], rows["low"], rows["high"], color=mark.color, linewidth=0.8)
    look: dict[str, Any] = {"marker": mark.marker, "color": mark.color, "linewidths": 0, "alpha": 0.8}
    axes.scatter(rows["flops"], rows["value"], s=14, clip_on=False, **look)
