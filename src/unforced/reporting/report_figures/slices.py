"""Held-out exact match in each slice of the problems: by degree, by planning distance, by length."""

import re
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unforced.reporting.report_figures.style import (
    Mark,
    configuration_handles,
    legend,
    marks,
    panels,
    percent_axis,
    wrapped,
)
from unforced.runs.groups import Group

_KEY = re.compile(r"test\.slice\.(\w+)_(\d+)\.free\.exact")
_SPREAD = 0.6  # of a slice's width, over which configurations stand side by side


def prepare_slices(groups: Sequence[Group]) -> pd.DataFrame:
    """Return a row per run and slice: what the slice counts, how much of it, and its free exact match."""
    return pd.DataFrame(
        {
            "facet": group.facet,
            "by": match[1],
            "slice": int(match[2]),
            "configuration": group.configuration,
            "seed": run.seed,
            **{key: estimate[key] for key in ("value", "correct", "total")},
        }
        for group in groups
        for run in group.runs
        for measure, estimate in run.result.items()
        if (match := _KEY.fullmatch(measure))
    )


def slices(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a panel for each topology, model and thing that is counted: seeds, and a line of their medians."""
    table, styles = prepare_slices(groups), marks(groups)
    if table.empty:
        return {}
    parts = list(table.groupby(["facet", "by"], sort=False))
    figure, axes = panels(
        range(len(parts)), 2.0, ("", "held-out exact match,\nfree-running (%)"), 2, share_x=False
    )
    for panel, ((facet, by), part) in zip(axes, parts, strict=True):
        _panel(panel, part, {name: styles[name] for name in styles if name in set(part["configuration"])})
        panel.set_title(wrapped(str(facet), 40))
        panel.set_xlabel(str(by).replace("_", " "))
    shown = {name: mark for name, mark in styles.items() if name in set(table["configuration"])}
    legend(figure, configuration_handles(shown))
    return {"": figure}


def _panel(axes: Axes, table: pd.DataFrame, styles: dict[str, Mark]) -> None:
    numbers = sorted(set(table["slice"]))
    for place, (name, mark) in enumerate(styles.items()):
        rows = table[table["configuration"] == name]
        aside = _SPREAD * ((place + 0.5) / len(styles) - 0.5)
        axes.scatter(
            rows["slice"] + aside,
            rows["value"],
            s=8,
            marker=mark.marker,
            facecolors="none",
            edgecolors=mark.color,
            linewidths=0.7,
            clip_on=False,
        )
        middle = rows.groupby("slice")["value"].median()
        axes.plot(middle.index + aside, middle, color=mark.color, linewidth=1, zorder=1)
    axes.set_xticks(numbers)
    percent_axis(axes)
