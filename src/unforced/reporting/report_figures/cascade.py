"""What is learned when, as a heat map: the median accuracy of each answer position over training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from unforced.reporting.report_figures.curves import SAMPLES, THOUSAND, prepare_tokens, trained
from unforced.reporting.report_figures.style import across, pages, panels, place, titled
from unforced.runs.groups import Group


def prepare_cascade(
    group: Group, mode: str = "free"
) -> tuple[Float[np.ndarray, " edges"], Float[np.ndarray, "intervals length"]]:
    """Return the samples at which any seed was evaluated, from 0 on, and each position between two of them.

    An interval is as the evaluation at its end found it, the median over seeds: what a model was before
    training is no interval. A run that has ended stays as it ended. NaN where a seed has no such position.
    """
    curves = [prepare_tokens(each, mode) for each in group.runs if each.lines]
    edges = np.unique(np.concatenate([[0.0], *(at for at, _ in curves)]))
    held = [right[np.minimum(np.searchsorted(at, edges[1:]), len(at) - 1)] for at, right in curves]
    longest = max(right.shape[1] for right in held)
    padded = [
        np.pad(right, ((0, 0), (0, longest - right.shape[1])), constant_values=np.nan) for right in held
    ]
    return edges, np.median(padded, axis=0)


def cascade(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a heat map per group: answer positions against samples, the median over seeds in colour."""
    return {name: _heat_maps(members) for name, members in pages(trained(groups))}


def _heat_maps(groups: Sequence[Group]) -> Figure:
    columns = across(len(groups))
    figure, axes = panels(range(len(groups)), 1.5, (SAMPLES, ""), columns)
    for panel, group in zip(axes, groups, strict=True):
        _heat_map(panel, *prepare_cascade(group))
        seeds = len(group.runs)
        panel.set_title(f"{titled(group, columns)}\n{seeds} seed{'s' if seeds > 1 else ''}")
    figure.suptitle(place(groups[0]), fontsize=8, fontweight="bold")
    scale = ScalarMappable(Normalize(0, 100), "cividis")
    label = "validation, free (%),\nmedian over seeds"
    figure.colorbar(scale, ax=axes, label=label, fraction=0.05, pad=0.02)
    return figure


def _heat_map(axes: Axes, edges: Float[np.ndarray, " n"], right: Float[np.ndarray, "m length"]) -> None:
    length = right.shape[1]
    places = np.arange(length + 1) - 0.5
    look: dict[str, Any] = {"cmap": "cividis", "vmin": 0, "vmax": 1, "rasterized": True}
    axes.pcolormesh(edges / THOUSAND, places, right.T, **look)
    axes.set_yticks(range(length), [f"token_{i}" for i in range(length)])
    axes.set_ylim(length - 0.5, -0.5)
