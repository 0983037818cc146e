"""The margin of decisive tokens over training: which failed seeds are undecided, and which surely wrong."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unforced.reporting.curves import margin_curves, trained
from unforced.reporting.report_figures.curves import SAMPLES_LABEL, THOUSAND
from unforced.reporting.report_figures.style import (
    FAINT,
    across,
    legend,
    pages,
    panels,
    position_color,
    titled,
)
from unforced.runs.groups import Group


def decision_margins(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a panel per group: the mean margin on validation problems, a line per seed and decisive token."""
    measured = [group for group in trained(groups) if any(len(margin_curves(run)) for run in group.runs)]
    return {name: _panels(members) for name, members in pages(measured)}


def _panels(groups: Sequence[Group]) -> Figure:
    columns, length = across(len(groups)), max(run.length for group in groups for run in group.runs)
    figure, axes = panels(range(len(groups)), 1.5, (SAMPLES_LABEL, "margin (logits)"), columns)
    tokens: set[str] = set()
    for panel, group in zip(axes, groups, strict=True):
        tokens |= _lines(panel, group, length)
        panel.set_title(titled(group, columns))
    figure.suptitle(groups[0].facet, fontsize=8, fontweight="bold")
    handles = [
        Line2D([], [], color=_color(token, length), label=f"validation, {token}")
        for token in sorted(tokens, key=_position)
    ]
    legend(figure, handles)
    return figure


def _lines(axes: Axes, group: Group, length: int) -> set[str]:
    """Draw every seed; return the decisive tokens."""
    axes.axhline(0, color=FAINT, linewidth=0.7, zorder=1)
    tokens: set[str] = set()
    for run in group.runs:
        curves = margin_curves(run)
        tokens |= set(curves.columns)
        for token, values in curves.items():
            width = 0.8 if len(group.runs) > 1 else 1.3
            axes.plot(values.index / THOUSAND, values, color=_color(str(token), length), linewidth=width)
    return tokens


def _color(token: str, length: int) -> tuple[float, float, float, float]:
    return position_color(_position(token), length)


def _position(token: str) -> int:
    return int(token.removeprefix("token_"))
