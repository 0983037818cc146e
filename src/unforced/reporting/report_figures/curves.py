"""What is learned when, as curves: each answer position on validation problems, and the training set."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unforced.reporting.report_figures.style import (
    CHANCE,
    INK,
    across,
    chance_handles,
    legend,
    pages,
    panels,
    percent_axis,
    place,
    position_color,
    titled,
    wrapped,
)
from unforced.runs.finished import FinishedRun
from unforced.runs.groups import Group

SAMPLES, THOUSAND = "samples (thousands)", 1000
_MODES = ("free", "forced")
_WHOLE: dict[str, Any] = {"color": INK, "linestyle": (0, (4, 1.5)), "linewidth": 0.9, "alpha": 0.75}


def prepare_tokens(
    each: FinishedRun, mode: str
) -> tuple[Float[np.ndarray, " evaluations"], Float[np.ndarray, "evaluations length"]]:
    """Return the samples seen at each evaluation, and each position's accuracy on validation problems."""
    keys = [f"validation.{mode}.token_{i}" for i in range(each.length)]
    samples = np.array([line["samples"] for line in each.lines], dtype=float)
    right = [[_share(line.get(key)) for key in keys] for line in each.lines]
    return samples, np.array(right, dtype=float).reshape(len(samples), len(keys))


def _share(count: Mapping[str, int] | None) -> float:
    """Return the share of a count; NaN, which is not drawn, where nothing was counted."""
    return count["correct"] / count["total"] if count and count["total"] else math.nan


def prepare_whole(each: FinishedRun, mode: str) -> Float[np.ndarray, " evaluations"]:
    """Return the accuracy of whole answers at each evaluation, on problems of the training set."""
    counts = [line[f"train.{mode}.exact"] for line in each.lines]
    return np.array([count["correct"] / count["total"] for count in counts], dtype=float)


def trained(groups: Sequence[Group]) -> list[Group]:
    """Return the groups in which a run was evaluated after training had begun."""
    return [group for group in groups if any(line["samples"] for each in group.runs for line in each.lines)]


def learning_curves(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a panel per group, free above forced, a thin line per seed; a page per topology and model."""
    return {name: _curves(members) for name, members in pages(trained(groups))}


def _curves(groups: Sequence[Group]) -> Figure:
    columns, length = across(len(groups)), max(each.length for group in groups for each in group.runs)
    cells = [
        (len(_MODES) * (i // columns) + row) * columns + i % columns
        for row in range(len(_MODES))
        for i in range(len(groups))
    ]
    figure, axes = panels(cells, 1.4, (SAMPLES, ""), columns)
    drawn = [(mode, group) for mode in _MODES for group in groups]
    for cell, panel, (mode, group) in zip(cells, axes, drawn, strict=True):
        _panel(panel, group, mode, length)
        if mode == _MODES[0]:
            panel.set_title(titled(group, columns))
        if cell % columns == 0:
            panel.set_ylabel(f"{mode} (%)")
    figure.suptitle(place(groups[0]), fontsize=8, fontweight="bold")
    legend(figure, [*_token_handles(length), _whole_handle(), *chance_handles(groups)])
    return figure


def _token_handles(length: int) -> list[Line2D]:
    return [
        Line2D([], [], color=position_color(i, length), label=f"validation, token_{i}") for i in range(length)
    ]


def _whole_handle() -> Line2D:
    return Line2D([], [], label="training, whole answers", **_WHOLE)


def _panel(axes: Axes, group: Group, mode: str, length: int) -> None:
    """Draw the lines of every seed; a note instead where forced is not what the objective trains."""
    note = group.runs[0].forced_note if mode == "forced" else ""
    if note:
        middle: dict[str, Any] = {"ha": "center", "va": "center", "transform": axes.transAxes}
        axes.text(0.5, 0.5, wrapped(f"not drawn: {note}"), fontsize=7, **middle)
    else:
        for each in group.runs:
            _seed_lines(axes, each, mode, length)
        if group.chance is not None:
            axes.axhline(group.chance, **CHANCE)
    percent_axis(axes)


def _seed_lines(axes: Axes, each: FinishedRun, mode: str, length: int) -> None:
    samples, right = prepare_tokens(each, mode)
    for position, curve in enumerate(right.T):
        color = position_color(position, length)
        axes.plot(samples / THOUSAND, curve, color=color, linewidth=0.8, alpha=0.75)
    axes.plot(samples / THOUSAND, prepare_whole(each, mode), **_WHOLE)
