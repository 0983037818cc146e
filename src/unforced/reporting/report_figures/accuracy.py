"""Whole answers by topology and objective, beside chance: the picture that the paper's Fig. 3 draws."""

from collections.abc import Sequence
from statistics import median

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unforced.reporting.grouping import Group
from unforced.reporting.report_figures.style import (
    COLUMN,
    PAGE,
    Mark,
    chance_handle,
    draw_chance,
    kind_handles,
    legend,
    marks,
    panels,
    percent_axis,
    wrapped,
)

_NARROW = 8  # slots that a paper's column has room for
_LABEL = 12  # letters of a topology beside others
_SLOTS = 0.8  # of a topology's width; the rest is the gap to the next one


def prepare_accuracy(groups: Sequence[Group]) -> pd.DataFrame:
    """Return a row per run: its place, its held-out free accuracy with interval, the median, chance."""
    return pd.DataFrame(
        {
            "model": group.model,
            "topology": group.topology,
            "kind": group.kind,
            "seed": each.run.seed,
            **{key: each.result["test.free.exact"][key] for key in ("value", "low", "high")},
            "median": median(group.values("test.free.exact")),
            "chance": group.chance,
        }
        for group in groups
        for each in group.runs
    )


def accuracy(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a panel per model: every seed a dot with its interval, a bar at the median."""
    table, given = prepare_accuracy(groups), marks(groups)
    models = list(dict.fromkeys(table["model"]))
    many = table.groupby("model")["topology"].nunique().max() * len(given) > _NARROW
    wide = PAGE if many or len(models) > 1 else COLUMN
    labels = ("", "held-out, free (%)")
    figure, axes = panels(len(models), 2.1, labels, 1 if many else 2, wide, share_x=False)
    for panel, model in zip(axes, models, strict=True):
        _panel(panel, table[table["model"] == model], given)
        panel.set_title(model)
    legend(figure, [*kind_handles(given), chance_handle()])
    return {"": figure}


def _panel(axes: Axes, table: pd.DataFrame, given: dict[str, Mark]) -> None:
    topologies = list(dict.fromkeys(table["topology"]))
    for place, topology in enumerate(topologies):
        here = table[table["topology"] == topology]
        for chance in here["chance"].unique():
            draw_chance(axes, chance, place - _SLOTS / 2, place + _SLOTS / 2)
        kinds = [kind for kind in given if kind in set(here["kind"])]
        for number, kind in enumerate(kinds):
            width = _SLOTS / len(kinds)
            centre = place - _SLOTS / 2 + (number + 0.5) * width
            _seeds(axes, here[here["kind"] == kind], centre, width, given[kind])
    axes.set_xticks(range(len(topologies)), [wrapped(each, _LABEL) for each in topologies])
    axes.set_xlim(-0.5, len(topologies) - 0.5)
    axes.tick_params(axis="x", length=0)
    percent_axis(axes)


def _seeds(axes: Axes, table: pd.DataFrame, centre: float, width: float, mark: Mark) -> None:
    """Draw each seed beside the others, in the order of seeds, and the median over them."""
    spread = 0.6 * width
    count = len(table)
    places = [centre + spread * ((i + 0.5) / count - 0.5) for i in range(count)]
    axes.vlines(places, table["low"], table["high"], color=mark.color, linewidth=0.8, zorder=4)
    axes.scatter(places, table["value"], s=11, marker=mark.marker, color=mark.color, linewidths=0, zorder=4)
    middle = float(table["median"].iloc[0])
    edges = [centre - 0.42 * width, centre + 0.42 * width]
    axes.plot(edges, [middle] * 2, color=mark.color, linewidth=3, alpha=0.4, solid_capstyle="butt")
