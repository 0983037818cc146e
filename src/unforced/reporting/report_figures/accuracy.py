"""Exact match by topology and configuration, as in Fig. 3 of the paper, with chance; likewise creativity."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unforced.reporting.report_figures.style import (
    COLUMN,
    INK,
    PAGE,
    Mark,
    chance_handles,
    configuration_handles,
    draw_chance,
    legend,
    marks,
    panels,
    percent_axis,
    wrapped,
)
from unforced.runs.groups import Group, closed

_NARROW = 8  # slots that fit in one column of a paper
_LABEL = 12  # characters per line of a topology's label
_SPLITS = {"train.free.exact": "training problems", "test.free.exact": "held-out problems"}
_SET = {"test.free.coherent": "coherent", "test.free.creative": "creative"}
_SLOTS = 0.86  # of a topology's width; the rest is the gap to the next one


def prepare_accuracy(groups: Sequence[Group], measures: Mapping[str, str] = _SPLITS) -> pd.DataFrame:
    """Return a row per run and measure (its free-running exact match on both splits).

    Columns: the value with its interval, the median over seeds, chance.
    """
    return pd.DataFrame(
        {
            "model": group.model,
            "topology": group.topology,
            "configuration": group.configuration,
            "measure": measure,
            "seed": run.seed,
            **{key: run.result[measure][key] for key in ("value", "low", "high")},
            "median": median(group.values(measure)),
            "chance": group.chance,
        }
        for group in groups
        for measure in measures
        for run in group.runs
        if measure in run.result
    )


def accuracy(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a panel per model: each seed with its interval, the median as a bar, training problems hollow.

    Open-ended tasks are left out: see `creativity`.
    """
    some = closed(groups)
    return _drawn(some, _SPLITS, "exact match,\nfree-running (%)") if some else {}


def creativity(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw open-ended tasks likewise: on held-out prompts, coherent answers hollow, creative ones filled."""
    open_ended = [group for group in groups if group.open_ended]
    return _drawn(open_ended, _SET, "held-out answers,\nfree-running (%)") if open_ended else {}


def _drawn(groups: Sequence[Group], measures: Mapping[str, str], label: str) -> dict[str, Figure]:
    table, styles = prepare_accuracy(groups, measures), marks(groups)
    models = list(dict.fromkeys(table["model"]))
    many = table.groupby("model")["topology"].nunique().max() * len(styles) > _NARROW
    wide = PAGE if many or len(models) > 1 else COLUMN
    figure, axes = panels(range(len(models)), 2.1, ("", label), 1 if many else 2, wide, share_x=False)
    for panel, model in zip(axes, models, strict=True):
        _panel(panel, table[table["model"] == model], styles, list(measures))
        panel.set_title(model)
    legend(figure, [*configuration_handles(styles), *_handles(measures), *chance_handles(groups)])
    return {"": figure}


def _handles(measures: Mapping[str, str]) -> list[Line2D]:
    look: dict[str, Any] = {"color": INK, "marker": "o", "markersize": 4, "linestyle": ""}
    return [
        Line2D([], [], label=name, markerfacecolor=INK if number else "white", **look)
        for number, name in enumerate(measures.values())
    ]


def _panel(axes: Axes, table: pd.DataFrame, styles: dict[str, Mark], measures: Sequence[str]) -> None:
    topologies = list(dict.fromkeys(table["topology"]))
    for slot, topology in enumerate(topologies):
        rows = table[table["topology"] == topology]
        for chance in rows["chance"].dropna().unique():
            draw_chance(axes, chance, slot - _SLOTS / 2, slot + _SLOTS / 2)
        configurations = [name for name in styles if name in set(rows["configuration"])]
        for number, name in enumerate(configurations):
            width = _SLOTS / len(configurations)
            centre = slot - _SLOTS / 2 + (number + 0.5) * width
            _seeds(axes, rows[rows["configuration"] == name], centre, width, styles[name], measures)
    axes.set_xticks(range(len(topologies)), [wrapped(topology, _LABEL) for topology in topologies])
    axes.set_xlim(-0.5, len(topologies) - 0.5)
    axes.tick_params(axis="x", length=0)
    percent_axis(axes)


def _seeds(
    axes: Axes, table: pd.DataFrame, centre: float, width: float, mark: Mark, measures: Sequence[str]
) -> None:
    """Draw the measures side by side, the first one hollow: the seeds in order, and their median."""
    half = width / len(measures)
    for number, measure in enumerate(measures):
        rows = table[table["measure"] == measure]
        middle = centre - width / 2 + (number + 0.5) * half
        offsets = [middle + 0.7 * half * ((i + 0.5) / len(rows) - 0.5) for i in range(len(rows))]
        filled = mark.color if number else "white"
        axes.vlines(offsets, rows["low"], rows["high"], color=mark.color, linewidth=0.8, zorder=4)
        axes.plot(
            [middle - 0.44 * half, middle + 0.44 * half],
            [rows["median"].iloc[0]] * 2,
            color=mark.color,
            linewidth=3,
            alpha=0.4,
            solid_capstyle="butt",
        )
        axes.scatter(
            offsets,
            rows["value"],
            s=9,
            marker=mark.marker,
            facecolors=filled,
            edgecolors=mark.color,
            linewidths=0.7,
            zorder=4,
            clip_on=False,
        )
