"""Whole answers by topology and objective, beside chance: the picture that the paper's Fig. 3 draws."""

from collections.abc import Sequence
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
    draw_chance,
    kind_handles,
    legend,
    marks,
    panels,
    percent_axis,
    wrapped,
)
from unforced.runs.groups import Group

_NARROW = 8  # slots that a paper's column has room for
_LABEL = 12  # letters of a topology beside others
_SPLITS = {"train": "training problems", "test": "held-out problems"}
_SLOTS = 0.86  # of a topology's width; the rest is the gap to the next one


def prepare_accuracy(groups: Sequence[Group]) -> pd.DataFrame:
    """Return a row per run and split: its place, its free accuracy with interval, the median, chance."""
    return pd.DataFrame(
        {
            "model": group.model,
            "topology": group.topology,
            "kind": group.kind,
            "split": split,
            "seed": each.seed,
            **{key: each.result[f"{split}.free.exact"][key] for key in ("value", "low", "high")},
            "median": median(group.values(f"{split}.free.exact")),
            "chance": group.chance,
        }
        for group in groups
        for split in _SPLITS
        for each in group.runs
    )


def accuracy(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a panel per model: every seed with its interval, the median a bar; training hollow."""
    table, given = prepare_accuracy(groups), marks(groups)
    models = list(dict.fromkeys(table["model"]))
    many = table.groupby("model")["topology"].nunique().max() * len(given) > _NARROW
    wide = PAGE if many or len(models) > 1 else COLUMN
    labels = ("", "whole answers, free (%)")
    figure, axes = panels(range(len(models)), 2.1, labels, 1 if many else 2, wide, share_x=False)
    for panel, model in zip(axes, models, strict=True):
        _panel(panel, table[table["model"] == model], given)
        panel.set_title(model)
    legend(figure, [*kind_handles(given), *_split_handles(), *chance_handles(groups)])
    return {"": figure}


def _split_handles() -> list[Line2D]:
    look: dict[str, Any] = {"color": INK, "marker": "o", "markersize": 4, "linestyle": ""}
    return [
        Line2D([], [], label=name, markerfacecolor="white" if split == "train" else INK, **look)
        for split, name in _SPLITS.items()
    ]


def _panel(axes: Axes, table: pd.DataFrame, given: dict[str, Mark]) -> None:
    topologies = list(dict.fromkeys(table["topology"]))
    for place, topology in enumerate(topologies):
        here = table[table["topology"] == topology]
        for chance in here["chance"].dropna().unique():
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
    """Draw training left of held-out, in each the seeds in their order, and the median over them."""
    share = width / len(_SPLITS)
    for number, split in enumerate(_SPLITS):
        rows = table[table["split"] == split]
        middle = centre - width / 2 + (number + 0.5) * share
        places = [middle + 0.7 * share * ((i + 0.5) / len(rows) - 0.5) for i in range(len(rows))]
        filled = "white" if split == "train" else mark.color
        axes.vlines(places, rows["low"], rows["high"], color=mark.color, linewidth=0.8, zorder=4)
        axes.plot(
            [middle - 0.44 * share, middle + 0.44 * share],
            [rows["median"].iloc[0]] * 2,
            color=mark.color,
            linewidth=3,
            alpha=0.4,
            solid_capstyle="butt",
        )
        axes.scatter(
            places,
            rows["value"],
            s=9,
            marker=mark.marker,
            facecolors=filled,
            edgecolors=mark.color,
            linewidths=0.7,
            zorder=4,
            clip_on=False,
        )
