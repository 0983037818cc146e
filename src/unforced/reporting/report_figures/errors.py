"""The kinds of errors in free-running answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from unforced.reporting.report_figures.style import OKABE_ITO, PAGE, wrapped
from unforced.runs.groups import Group

_COLORS = [OKABE_ITO[name] for name in ("vermillion", "orange", "purple", "sky", "yellow", "blue", "black")]
_HATCHES = ("", "////", "....")

_TIGHT: dict[str, Any] = {"columnspacing": 1.2, "handlelength": 1.4}


def prepare_errors(groups: Sequence[Group]) -> pd.DataFrame:
    """Return the fraction of held-out free-running answers of each kind, a row per group and seed.

    "correct" is the first column; the index holds the group's label and the seed.
    """
    counts = {
        (group.label, run.seed): run.result["test.free.errors"]
        for group in groups
        for run in group.runs
        if sum(run.result.get("test.free.errors", {}).values())
    }
    table = pd.DataFrame(list(counts.values()), index=pd.MultiIndex.from_tuples(counts) if counts else None)
    first = [kind for kind in table.columns if kind == "correct"]
    table = table[[*first, *(kind for kind in table.columns if kind not in first)]].fillna(0)
    return table.div(table.sum(axis=1), axis=0)


def median_seed(seeds: pd.DataFrame) -> "pd.Series[float]":
    """Return the row with the median of correct answers, the lower one of two."""
    order = seeds.get("correct", seeds.sum(axis=1)).argsort(kind="stable")
    return seeds.iloc[order.iloc[(len(seeds) - 1) // 2]]


def error_kinds(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a bar per group: the kinds of its median seed's answers, and a tick per seed at "correct"."""
    table = prepare_errors(groups)
    if table.empty:
        return {}
    styles = _styles(table)
    table = table.loc[:, table.sum() > 0]
    labels = list(dict.fromkeys(table.index.get_level_values(0)))
    figure = Figure(figsize=(PAGE, 0.9 + 0.22 * len(labels)), layout="constrained")
    axes = figure.subplots()
    for row, label in enumerate(labels):
        _bar(axes, row, table.loc[label], styles)
    axes.set_yticks(range(len(labels)), [wrapped(label, 60) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    axes.set_xlabel("held-out free-running answers of the median seed (%)")
    axes.tick_params(axis="y", length=0)
    right = _right(groups)
    seeds = Line2D([], [], color="black", marker="|", linestyle="", label=f"{right}, each seed")
    names = {"correct": right}
    kinds = [Patch(**styles[kind], label=names.get(kind, kind.replace("_", " "))) for kind in table.columns]
    handles: list[Artist] = [*kinds, seeds]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, **_TIGHT)
    return {"": figure}


def _right(groups: Sequence[Group]) -> str:
    """Name the answers that the verifier accepts: where tasks are open-ended, they are coherent."""
    is_open = {group.open_ended for group in groups}
    return "correct" if True not in is_open else "right" if False in is_open else "coherent"


def _styles(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Assign a colour to every kind of answer, also to those that did not occur, as in every other report.

    If several tasks together have more kinds than there are colours, hatches distinguish the later ones.
    """
    wrong = [kind for kind in table.columns if kind != "correct"]
    styles = {}
    for i, kind in enumerate(wrong):
        again, color = divmod(i, len(_COLORS))
        styles[kind] = {
            "facecolor": _COLORS[color],
            "edgecolor": "white" if again else _COLORS[color],
            "hatch": _HATCHES[again % len(_HATCHES)],
            "linewidth": 0,
        }
    return styles | {"correct": {"facecolor": "0.82"}}


def _bar(axes: Axes, row: int, seeds: pd.DataFrame, styles: Mapping[str, dict[str, Any]]) -> None:
    start = 0.0
    for kind, share in median_seed(seeds).items():
        axes.barh(row, share, left=start, height=0.7, **styles[str(kind)])
        start += share
    if "correct" in seeds:
        axes.plot(seeds["correct"], [row] * len(seeds), "|", color="black", markersize=5, clip_on=False)
    words = f"{len(seeds)} seed{'s' * (len(seeds) > 1)}"
    position: dict[str, Any] = {
        "xytext": (6, 0),
        "textcoords": "offset points",
        "va": "center",
        "annotation_clip": False,
    }
    axes.annotate(words, (1, row), fontsize=7, **position)
