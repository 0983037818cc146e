"""The fraction of seeds that are solved."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from unforced.config import SOLVED
from unforced.evaluation.outcomes import outcomes_of
from unforced.evaluation.outcomes import success as success_rate
from unforced.reporting.report_figures.style import PAGE, marks, wrapped
from unforced.runs.groups import Group, closed


def prepare_success(groups: Sequence[Group]) -> pd.DataFrame:
    """Return the fraction of solved seeds with its Wilson interval, a row per group."""
    rows = {}
    for group in groups:
        estimate = success_rate([outcome.solved for outcome in outcomes_of(group, "free.exact").values()])
        rows[group.label] = {"configuration": group.configuration, **estimate}
    return pd.DataFrame.from_dict(rows, orient="index")


def success(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a line per group: the fraction of solved seeds with its interval, and the counts.

    Open-ended tasks are left out: a model that recites its training set is right.
    """
    if not closed(groups):
        return {}
    table, styles = prepare_success(closed(groups)), marks(groups)
    figure = Figure(figsize=(PAGE, 0.6 + 0.25 * len(table)), layout="constrained")
    axes = figure.subplots()
    for row, (_, estimate) in enumerate(table.iterrows()):
        mark = styles[estimate["configuration"]]
        axes.plot([estimate["low"], estimate["high"]], [row, row], color=mark.color, linewidth=1.4)
        axes.plot(estimate["value"], row, mark.marker, color=mark.color, markersize=5, clip_on=False)
        axes.annotate(
            f"{estimate['correct']} of {estimate['total']}",
            (1, row),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
        )
    axes.set_yticks(range(len(table)), [wrapped(str(label), 60) for label in table.index])
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_xlim(-0.01, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    axes.set_xlabel(f"seeds with at least {100 * SOLVED:.0f}% of held-out answers right (%), 95% intervals")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)
    return {"": figure}
