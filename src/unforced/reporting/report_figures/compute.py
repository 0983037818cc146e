"""Accuracy against what it cost to get."""

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
    kind_handles,
    legend,
    marks,
    panels,
    percent_axis,
)
from unforced.runs.groups import Group

_FEW_DECADES = 300  # as a ratio: numbers between powers of ten are needed, and have room


def prepare_compute(groups: Sequence[Group]) -> pd.DataFrame:
    """Return a row per run that has counted its FLOPs: those, and held-out free accuracy with interval."""
    return pd.DataFrame(
        {
            "place": f"{group.topology}, {group.model}",
            "kind": group.kind,
            "seed": each.seed,
            "flops": each.result["flops"],
            "chance": group.chance,
            **{key: each.result["test.free.exact"][key] for key in ("value", "low", "high")},
        }
        for group in groups
        for each in group.runs
        if each.result.get("flops")
    )


def compute(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a panel per topology and model: every seed a dot with its interval, FLOPs on a log axis."""
    table, given = prepare_compute(groups), marks(groups)
    if table.empty:
        return {}
    places = list(dict.fromkeys(table["place"]))
    labels = ("training compute (FLOPs)", "held-out, free (%)")
    figure, axes = panels(range(len(places)), 1.8, labels)
    for panel, name in zip(axes, places, strict=True):
        here = table[table["place"] == name]
        for chance in here["chance"].dropna().unique():
            panel.axhline(chance, **CHANCE)
        _cost_axis(panel, table["flops"])
        for kind in (kind for kind in given if kind in set(here["kind"])):
            _seeds(panel, here[here["kind"] == kind], given[kind])
        panel.set_title(name)
        percent_axis(panel)
    legend(figure, [*kind_handles(given), *chance_handles(groups)])
    return {"": figure}


def _cost_axis(axes: Axes, flops: "pd.Series[float]") -> None:
    """Let a log axis span the data and room for markers, with a few numbers also within one decade."""
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
