"""The order in which answer positions are learned, as a heat map of their median accuracy over training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from unforced.reporting.curves import group_curves, token_measures, trained
from unforced.reporting.report_figures.curves import SAMPLES_LABEL, THOUSAND
from unforced.reporting.report_figures.style import across, pages, panels, titled
from unforced.runs.groups import Group, closed


def prepare_cascade(group: Group) -> pd.DataFrame:
    """Return the median free-running accuracy over seeds: a row per evaluation, a column per position.

    The first row is at 0 samples; a seed that has ended counts with its last evaluation.
    """
    curves = group_curves(group)
    tokens = token_measures(max(run.length for run in group.runs))
    medians = pd.DataFrame({token: curves[token]["median"] for token in tokens})
    return medians if medians.index[0] == 0 else medians.reindex([0, *medians.index])


def cascade(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a heat map per group: answer positions against samples, coloured by the median over seeds."""
    return {name: _heat_maps(members) for name, members in pages(trained(closed(groups)))}


def _heat_maps(groups: Sequence[Group]) -> Figure:
    columns = across(len(groups))
    figure, axes = panels(range(len(groups)), 1.5, (SAMPLES_LABEL, ""), columns)
    for panel, group in zip(axes, groups, strict=True):
        _heat_map(panel, prepare_cascade(group))
        seeds = len(group.runs)
        panel.set_title(f"{titled(group, columns)}\n{seeds} seed{'s' if seeds > 1 else ''}")
    figure.suptitle(groups[0].facet, fontsize=8, fontweight="bold")
    scale = ScalarMappable(Normalize(0, 100), "cividis")
    label = "validation, free-running (%),\nmedian over seeds"
    figure.colorbar(scale, ax=axes, label=label, fraction=0.05, pad=0.02)
    return figure


def _heat_map(axes: Axes, medians: pd.DataFrame) -> None:
    """Paint each interval between two evaluations in the accuracy at its end."""
    length = len(medians.columns)
    boundaries = np.arange(length + 1) - 0.5
    look: dict[str, Any] = {"cmap": "cividis", "vmin": 0, "vmax": 1, "rasterized": True}
    axes.pcolormesh(medians.index / THOUSAND, boundaries, medians.to_numpy()[1:].T, **look)
    axes.set_yticks(range(length), list(medians.columns))
    axes.set_ylim(length - 0.5, -0.5)
