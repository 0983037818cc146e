"""Teacher-forced and free-running accuracy by position, and where first errors sit, as diagnoses say."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unforced.reporting.positions import FIRST_ERROR, FORCED, FREE, by_position
from unforced.reporting.report_figures.style import (
    OKABE_ITO,
    across,
    legend,
    pages,
    panels,
    percent_axis,
    titled,
)
from unforced.runs.groups import Group

_LINES: Mapping[str, dict[str, Any]] = {
    FORCED: {"color": OKABE_ITO["blue"], "marker": "o", "label": "teacher-forced"},
    FREE: {"color": OKABE_ITO["vermillion"], "marker": "s", "linestyle": "--", "label": "free-running"},
}
_BAR: dict[str, Any] = {"color": "0.82", "label": "first error, of answers without one before"}
_ASIDE = 0.06  # of both lines from the middle of a position, so that equal values stay apart


def prepare_positions(groups: Sequence[Group]) -> pd.DataFrame:
    """Return a row per diagnosed run and position: the shares of each measure; NaN where it has none.

    Positions of a run are in their order.
    """
    return pd.DataFrame(
        {
            "label": group.label,
            "seed": run.seed,
            "position": position,
            **{name: estimates[name]["value"] for name in (FORCED, FREE, FIRST_ERROR) if name in estimates},
        }
        for group in groups
        for run in group.runs
        for position, estimates in by_position(run.diagnosis).items()
    )


def positions(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a panel per group: medians of both accuracies over seeds, marks of seeds, first errors as bars."""
    measured = [group for group in groups if any(by_position(run.diagnosis) for run in group.runs)]
    return {name: _panels(members) for name, members in pages(measured)}


def _panels(groups: Sequence[Group]) -> Figure:
    columns = across(len(groups))
    labels = ("answer position", "held-out problems (%)")
    figure, axes = panels(range(len(groups)), 1.6, labels, columns, share_x=False)
    for panel, group in zip(axes, groups, strict=True):
        _panel(panel, prepare_positions([group]))
        panel.set_title(titled(group, columns))
    figure.suptitle(groups[0].facet, fontsize=8, fontweight="bold")
    bar = Line2D([], [], linewidth=7, **_BAR)
    legend(figure, [*(Line2D([], [], markersize=4, **look) for look in _LINES.values()), bar])
    return figure


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    names = list(dict.fromkeys(table["position"]))
    places = table["position"].map(names.index)
    medians = table.drop(columns=["label", "seed", "position"]).groupby(places).median()
    if FIRST_ERROR in medians:
        axes.bar(medians.index, medians[FIRST_ERROR], width=0.5, color=_BAR["color"], zorder=1)
    for name, look in _LINES.items():
        aside = _ASIDE if name == FREE else -_ASIDE
        seed: dict[str, Any] = {"color": look["color"], "marker": look["marker"], "s": 9, "linewidths": 0.7}
        axes.plot(medians.index + aside, medians[name], color=look["color"], linestyle=look.get("linestyle"))
        axes.scatter(places + aside, table[name], clip_on=False, zorder=3, **seed)
    axes.set_xticks(range(len(names)), names, rotation=90 if any("–" in name for name in names) else 0)
    axes.set_xlim(-0.6, len(names) - 0.4)
    percent_axis(axes)
