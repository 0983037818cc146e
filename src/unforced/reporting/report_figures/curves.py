"""What is learned when: accuracy of each answer position over training, as curves and as a heat map."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unforced.reporting.collecting import ReportedRun
from unforced.reporting.figures import position_color
from unforced.reporting.grouping import Group
from unforced.reporting.report_figures.style import (
    INK,
    chance_handle,
    legend,
    pages,
    panels,
    percent_axis,
    place,
    wrapped,
)

_ACROSS = 3  # panels side by side
_SAMPLES, _THOUSAND = "training samples (thousands)", 1000


def prepare_tokens(
    each: ReportedRun, mode: str
) -> tuple[Float[np.ndarray, " evaluations"], Float[np.ndarray, "evaluations length"]]:
    """Return the samples seen at each evaluation, and each position's accuracy on validation problems."""
    keys = [f"validation.{mode}.token_{i}" for i in range(each.run.task.answer_length)]
    samples = np.array([line["samples"] for line in each.lines], dtype=float)
    right = [[line[key]["correct"] / line[key]["total"] for key in keys] for line in each.lines]
    return samples, np.array(right, dtype=float).reshape(len(samples), len(keys))


def prepare_cascade(
    group: Group, mode: str = "free"
) -> tuple[Float[np.ndarray, " samples"], Float[np.ndarray, "samples length"]]:
    """Return the samples at which any seed was evaluated, and the median over seeds of each position.

    A run that has ended stays as it ended; between two of its evaluations it stays as at the first.
    """
    curves = [prepare_tokens(each, mode) for each in group.runs if each.lines]
    samples = np.unique(np.concatenate([at for at, _ in curves]))
    held = [right[np.searchsorted(at, samples, side="right") - 1] for at, right in curves]
    return samples, np.median(held, axis=0)


def learning_curves(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a panel per group, free above forced, a thin line per seed; a page per topology and model."""
    drawn = [group for group in groups if any(each.lines for each in group.runs)]
    return {name: _curves(members) for name, members in pages(drawn, _ACROSS)}


def _curves(groups: Sequence[Group]) -> Figure:
    figure, axes = panels(2 * len(groups), 1.6, (_SAMPLES, ""), len(groups))
    length = max(group.runs[0].run.task.answer_length for group in groups)
    for row, mode in enumerate(("free", "forced")):
        for column, group in enumerate(groups):
            panel = axes[row * len(groups) + column]
            _seed_lines(panel, group, mode)
            if row == 0:
                panel.set_title(wrapped(group.kind, 30))
        axes[row * len(groups)].set_ylabel(f"validation, {mode} (%)")
    figure.suptitle(place(groups[0]), fontsize=8, fontweight="bold")
    handles = [Line2D([], [], color=position_color(i, length), label=f"token_{i}") for i in range(length)]
    legend(figure, [*handles, chance_handle()])
    return figure


def _seed_lines(axes: Axes, group: Group, mode: str) -> None:
    for each in group.runs:
        samples, right = prepare_tokens(each, mode)
        for position, curve in enumerate(right.T):
            color = position_color(position, right.shape[1])
            axes.plot(samples / _THOUSAND, curve, color=color, linewidth=0.8, alpha=0.75)
    axes.axhline(group.chance, color=INK, linestyle=(0, (2, 1.5)), linewidth=1, zorder=1)
    percent_axis(axes)


def cascade(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a heat map per group: answer positions against samples, the median over seeds in colour."""
    drawn = [group for group in groups if any(each.lines for each in group.runs)]
    return {name: _heat_maps(members) for name, members in pages(drawn, _ACROSS)}


def _heat_maps(groups: Sequence[Group]) -> Figure:
    figure, axes = panels(len(groups), 1.5, (_SAMPLES, ""), _ACROSS)
    for panel, group in zip(axes, groups, strict=True):
        samples, right = prepare_cascade(group)
        _heat_map(panel, samples / _THOUSAND, right)
        seeds = len(group.runs)
        panel.set_title(f"{wrapped(group.kind, 30)}\n{seeds} seed{'s' if seeds > 1 else ''}")
    figure.suptitle(place(groups[0]), fontsize=8, fontweight="bold")
    scale = ScalarMappable(Normalize(0, 100), "cividis")
    figure.colorbar(scale, ax=axes, label="validation, free (%)", fraction=0.05, pad=0.02)
    return figure


def _heat_map(axes: Axes, samples: Float[np.ndarray, " n"], right: Float[np.ndarray, "n length"]) -> None:
    """Colour from each evaluation to the next; the last one gets the width of the one before it."""
    step = samples[-1] - samples[-2] if len(samples) > 1 else 1.0
    edges, length = [*samples, samples[-1] + step], right.shape[1]
    axes.pcolormesh(
        edges, np.arange(length + 1) - 0.5, right.T, cmap="cividis", vmin=0, vmax=1, rasterized=True
    )
    axes.set_yticks(range(length), [f"token_{i}" for i in range(length)])
    axes.set_ylim(length - 0.5, -0.5)
