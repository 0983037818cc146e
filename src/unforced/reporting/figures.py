"""The figure of the quickstart: a run a panel, in thick lines. Reports have figures of many runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

from unforced.reporting.report_figures.curves import THOUSAND, prepare_tokens, prepare_whole
from unforced.reporting.report_figures.style import position_color
from unforced.runs.finished import FinishedRun
from unforced.runs.folder import RunFolder
from unforced.runs.index import read_finished

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes


def learning_curves(folders: Mapping[str, RunFolder], path: Path) -> None:
    """Draw held-out free accuracy of each answer position over training, a panel per run, to a PNG."""
    figure, panels = plt.subplots(
        1, len(folders), figsize=(4 * len(folders), 3.4), sharey=True, sharex=True, squeeze=False
    )
    for axes, (name, folder) in zip(panels[0], folders.items(), strict=True):
        _panel(axes, read_finished(folder.path))
        axes.set_title(name)
        axes.set_xlabel("problems trained on (thousands)")
    panels[0][0].set_ylabel("accuracy on held-out problems")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.set_layout_engine("constrained")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(axes: Axes, run: FinishedRun) -> None:
    samples, right = prepare_tokens(run, "free")
    for position, accuracy in enumerate(right.T):
        label = f"token_{position}" + (" (decisive)" if position in run.decisive else "")
        look: dict[str, Any] = {"color": position_color(position, run.length), "linewidth": 1.8}
        axes.plot(samples / THOUSAND, accuracy, label=label, **look)
    whole: dict[str, Any] = {
        "color": "0.45",
        "linestyle": "--",
        "linewidth": 1.2,
        "label": "whole answer, training problems",
    }
    axes.plot(samples / THOUSAND, prepare_whole(run, "free"), **whole)
    if run.chance is not None:
        axes.axhline(run.chance, color="crimson", linestyle=":", linewidth=1.2, label="chance")
    axes.set_ylim(-0.02, 1.03)
    axes.spines[["top", "right"]].set_visible(False)
