"""Learning curves: each answer position on validation problems, and exact match on training problems."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unforced.reporting.curves import TRAIN, creative_curve, run_curves, token_measures, trained
from unforced.reporting.report_figures.style import (
    CHANCE,
    INK,
    OKABE_ITO,
    across,
    chance_handles,
    legend,
    pages,
    panels,
    percent_axis,
    position_color,
    titled,
    wrapped,
)
from unforced.runs.finished import FinishedRun
from unforced.runs.groups import Group

SAMPLES_LABEL, THOUSAND = "samples (thousands)", 1000
_MODES = {"free": "free-running", "forced": "teacher-forced"}
_WHOLE: dict[str, Any] = {"color": INK, "linestyle": (0, (4, 1.5)), "linewidth": 0.9, "alpha": 0.75}

_CREATIVE: dict[str, Any] = {"color": OKABE_ITO["vermillion"], "linewidth": 1.6}


def learning_curves(groups: Sequence[Group], modes: Sequence[str] = tuple(_MODES)) -> dict[str, Figure]:
    """Draw a panel per mode and group, free-running above teacher-forced, a line per seed and measure."""
    return {name: _curves(members, modes) for name, members in pages(trained(groups))}


def _curves(groups: Sequence[Group], modes: Sequence[str]) -> Figure:
    columns, length = across(len(groups)), max(run.length for group in groups for run in group.runs)
    open_ended = all(group.open_ended for group in groups)
    cells = [
        (len(modes) * (i // columns) + row) * columns + i % columns
        for row in range(len(modes))
        for i in range(len(groups))
    ]
    figure, axes = panels(cells, 1.4 if len(modes) > 1 else 1.9, (SAMPLES_LABEL, ""), columns)
    drawn = [(mode, group) for mode in modes for group in groups]
    for cell, panel, (mode, group) in zip(cells, axes, drawn, strict=True):
        _panel(panel, group, mode, length)
        if mode == modes[0]:
            panel.set_title(titled(group, columns))
        if cell % columns == 0:
            panel.set_ylabel(f"{_MODES[mode]} (%)")
    figure.suptitle(groups[0].facet, fontsize=8, fontweight="bold")
    legend(
        figure,
        [
            *_token_handles(0 if open_ended else length),
            _whole_handle(open_ended),
            *_creative_handles(groups),
            *chance_handles(groups),
        ],
    )
    return figure


def _creative_handles(groups: Sequence[Group]) -> list[Line2D]:
    found = any(len(creative_curve(run)) for group in groups for run in group.runs)
    return [Line2D([], [], label="validation, creative answers", **_CREATIVE)] if found else []


def _token_handles(length: int) -> list[Line2D]:
    return [
        Line2D([], [], color=position_color(i, length), label=f"validation, token_{i}") for i in range(length)
    ]


def _whole_handle(open_ended: bool) -> Line2D:
    return Line2D([], [], label=f"training, {'coherent' if open_ended else 'exact match'}", **_WHOLE)


def _panel(axes: Axes, group: Group, mode: str, length: int) -> None:
    """Draw the lines of every seed, or a note if teacher-forced inputs are not those of training."""
    note = _forced_note(group) if mode == "forced" else ""
    if note:
        middle: dict[str, Any] = {"ha": "center", "va": "center", "transform": axes.transAxes}
        axes.text(0.5, 0.5, wrapped(f"not drawn: {note}"), fontsize=7, **middle)
    else:
        for run in group.runs:
            _seed_lines(axes, run, mode, length, 0.8 if len(group.runs) > 1 else 1.3)
        if group.chance is not None:
            axes.axhline(group.chance, **CHANCE)
    percent_axis(axes)


def _forced_note(group: Group) -> str:
    """Say why teacher-forced accuracies are not drawn; empty where they are."""
    return "any coherent answer is right" if group.open_ended else group.runs[0].forced_note


def _seed_lines(axes: Axes, run: FinishedRun, mode: str, length: int, width: float) -> None:
    curves = run_curves(run, mode)
    thousands = curves.index / THOUSAND
    for position, measure in enumerate([] if run.open_ended else token_measures(run.length)):
        color = position_color(position, length)
        axes.plot(thousands, curves[measure], color=color, linewidth=width, alpha=0.75)
    axes.plot(thousands, curves[TRAIN], **_WHOLE)
    creative = creative_curve(run)
    if mode == "free" and len(creative):
        axes.plot(creative.index / THOUSAND, creative, **_CREATIVE)
