"""Figures, from the files of run folders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

from unforced.config import Run
from unforced.reporting.report_figures.style import position_color
from unforced.runs.folder import RunFolder

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes


def learning_curves(folders: Mapping[str, RunFolder], path: Path) -> None:
    """Draw held-out free accuracy of each answer position over training, a panel per run, to a PNG."""
    figure, panels = plt.subplots(
        1, len(folders), figsize=(4 * len(folders), 3.4), sharey=True, sharex=True, squeeze=False
    )
    for axes, (name, folder) in zip(panels[0], folders.items(), strict=True):
        _panel(axes, folder.run(), folder.read_metrics())
        axes.set_title(name)
        axes.set_xlabel("problems trained on (thousands)")
    panels[0][0].set_ylabel("accuracy on held-out problems")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.set_layout_engine("constrained")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(axes: Axes, run: Run, lines: list[dict[str, Any]]) -> None:
    samples = [line["samples"] / 1000 for line in lines]
    length = run.task.answer_length
    for position in range(length):
        counts = [line[f"validation.free.token_{position}"] for line in lines]
        accuracy = [count["correct"] / count["total"] for count in counts]
        label = f"token_{position}" + (" (decisive)" if position in run.task.decisive_positions else "")
        axes.plot(samples, accuracy, color=position_color(position, length), label=label, linewidth=1.8)
    train = [line["train.free.exact"]["correct"] / line["train.free.exact"]["total"] for line in lines]
    axes.plot(
        samples, train, color="0.45", linestyle="--", linewidth=1.2, label="whole answer, training problems"
    )
    if run.task.chance is not None:
        axes.axhline(run.task.chance, color="crimson", linestyle=":", linewidth=1.2, label="chance")
    axes.set_ylim(-0.02, 1.03)
    axes.spines[["top", "right"]].set_visible(False)
