"""The steps, samples, FLOPs or seconds after which seeds are solved."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unforced.evaluation.outcomes import solved_by as estimate
from unforced.evaluation.spending import Axis, spendings
from unforced.reporting.report_figures.style import (
    MOST,
    PAGE,
    Mark,
    configuration_handles,
    legend,
    marks,
    panels,
    percent_axis,
    slug,
)
from unforced.runs.groups import Group, closed

_AXES: dict[Axis, tuple[str, float]] = {
    "steps": ("steps (thousands)", 1e3),
    "samples": ("samples (thousands)", 1e3),
    "flops": ("training (TFLOP)", 1e12),
    "seconds": ("training (minutes)", 60.0),
}
"""By axis: its label, and how much its unit is."""
_WIDEST = 5.0  # points that a curve is wider than the narrowest
_ROWS = 6  # topologies and models in a figure
_BANDS = 3  # curves in a panel up to which their intervals are shaded, too


def prepare_solved_by(group: Group, axis: Axis = "samples") -> pd.DataFrame | None:
    """Return the Kaplan-Meier estimate of the fraction of seeds solved by each amount; None: not recorded.

    Seeds that failed count as unsolved up to the largest amount of the others.
    """
    seeds = spendings(group, axis)
    if seeds is None:
        return None
    horizon = max((seed.amount for seed in seeds if math.isfinite(seed.amount)), default=0)
    table = pd.DataFrame(
        estimate([min(seed.amount, horizon) for seed in seeds], [seed.solved for seed in seeds])
    )
    return table.rename(columns={"steps": axis})


def solved_by(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a row per topology and model: the fraction of seeds solved, against each of the axes.

    Figures hold few configurations and few rows each. Open-ended tasks are left out.
    """
    groups = closed(groups)
    styles, figures = marks(groups), {}
    for some in _chunks(list(styles), MOST):
        shown = [group for group in groups if group.configuration in some]
        facets = [list(part) for _, part in itertools.groupby(shown, key=lambda group: group.facet)]
        for rows in _chunks(facets, _ROWS):
            label = f"{_span([part[0].facet for part in rows], facets)} {_span(some, styles)}"
            figures[slug(label)] = _rows(rows, {name: styles[name] for name in some})
    return figures


def _chunks(items: Sequence[Any], most: int) -> list[list[Any]]:
    """Cut a sequence into parts of about the same length, at most `most`."""
    size = -(-len(items) // -(-len(items) // most)) if items else 1
    return [list(items[i : i + size]) for i in range(0, len(items), size)]


def _span(names: Sequence[str], all_: Sequence[Any] | Mapping[str, Any]) -> str:
    """Say which of all names these are; nothing, if they are all."""
    return f"{names[0]} to {names[-1]}" if len(names) < len(all_) else ""


def _rows(members: Sequence[Sequence[Group]], styles: Mapping[str, Mark]) -> Figure:
    cells = range(len(_AXES) * len(members))
    figure, flat = panels(cells, 1.6, ("", "seeds solved (%)"), len(_AXES), PAGE, share_x=False)
    for cell, ((groups, axis), panel) in enumerate(zip(itertools.product(members, _AXES), flat, strict=True)):
        _panel(panel, groups, axis, styles)
        panel.set_xlabel(_AXES[axis][0] if cell + len(_AXES) not in cells else "")
        if cell % len(_AXES) == 0:
            panel.set_title(groups[0].facet, loc="left")
    legend(figure, configuration_handles(styles))
    return figure


def _panel(panel: Axes, groups: Sequence[Group], axis: Axis, styles: Mapping[str, Mark]) -> None:
    """Draw the curves of the groups whose amounts are recorded."""
    tables = {group.configuration: prepare_solved_by(group, axis) for group in groups}
    widening = min(0.8, _WIDEST / len(groups))
    for hidden, (name, table) in enumerate(reversed(tables.items()), 1):
        if table is not None:
            _curve(panel, table, axis, styles[name], (len(groups) + 1 - hidden) * widening)
            if len(groups) <= _BANDS:
                _band(panel, table, axis, styles[name])
    if all(table is None for table in tables.values()):
        middle: dict[str, Any] = {"ha": "center", "va": "center", "transform": panel.transAxes}
        panel.text(0.5, 0.5, "not recorded", fontsize=7, **middle)
    percent_axis(panel)


def _curve(axes: Axes, table: pd.DataFrame, axis: Axis, mark: Mark, wider: float) -> None:
    """Draw a curve, `wider` the more curves may cover it, so that its edges stay visible."""
    amounts = table[axis] / _AXES[axis][1]
    last = table.iloc[-1]
    axes.vlines(amounts.iloc[-1], last["low"], last["high"], color=mark.color, linewidth=1)
    axes.step(amounts, table["share"], where="post", color=mark.color, linewidth=0.6 + wider)
    axes.plot(
        amounts.iloc[-1],
        last["share"],
        mark.marker,
        color=mark.color,
        markersize=2.5 + 1.5 * wider,
        clip_on=False,
    )


def _band(axes: Axes, table: pd.DataFrame, axis: Axis, mark: Mark) -> None:
    """Shade the intervals of a curve."""
    amounts = table[axis] / _AXES[axis][1]
    axes.fill_between(
        amounts, table["low"], table["high"], step="post", color=mark.color, alpha=0.1, linewidth=0
    )
