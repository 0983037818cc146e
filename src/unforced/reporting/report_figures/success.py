"""How many seeds are solved, and after how many samples."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unforced.config import SOLVED
from unforced.evaluation.seeds import solved_by
from unforced.evaluation.seeds import success as share_solved
from unforced.reporting.grouping import Group
from unforced.reporting.report_figures.style import (
    PAGE,
    Mark,
    kind_handles,
    legend,
    marks,
    pages,
    panels,
    percent_axis,
    place,
    wrapped,
)

_EVERYTHING = 10**6
_THOUSAND = 1000


def prepare_success(groups: Sequence[Group]) -> pd.DataFrame:
    """Return the share of solved seeds with its Wilson interval, a row per group."""
    rows = {}
    for group in groups:
        estimate = share_solved([value >= SOLVED for value in group.values("test.free.exact")])
        rows[group.label] = {"kind": group.kind, **estimate}
    return pd.DataFrame.from_dict(rows, orient="index")


def success(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a line per group: the share of solved seeds, its interval, and the counts beside it."""
    table, given = prepare_success(groups), marks(groups)
    figure = Figure(figsize=(PAGE, 0.6 + 0.25 * len(table)), layout="constrained")
    axes = figure.subplots()
    for row, (_, each) in enumerate(table.iterrows()):
        mark = given[each["kind"]]
        axes.plot([each["low"], each["high"]], [row, row], color=mark.color, linewidth=1.4)
        axes.plot(each["value"], row, mark.marker, color=mark.color, markersize=5, clip_on=False)
        axes.annotate(
            f"{each['correct']} of {each['total']}",
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


def prepare_solved_by(group: Group) -> pd.DataFrame:
    """Return the Kaplan-Meier share of seeds solved by so many samples, with its interval."""
    outcomes = [each.finished.outcome("free.exact") for each in group.runs]
    samples = [
        outcome.steps * each.run.batch_size for outcome, each in zip(outcomes, group.runs, strict=True)
    ]
    table = pd.DataFrame(solved_by(samples, [outcome.solved_on_the_way for outcome in outcomes]))
    return table.rename(columns={"steps": "samples"})


def solved_by_samples(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a panel per topology and model: the share of seeds that is solved by so many samples."""
    given = marks(groups)
    members = [part for _, part in pages(groups, _EVERYTHING)]
    labels = ("training samples (thousands)", "seeds solved (%)")
    figure, axes = panels(len(members), 1.7, labels, share_x=False)
    for panel, part in zip(axes, members, strict=True):
        for hidden, group in zip(range(len(part), 0, -1), reversed(part), strict=True):
            _steps(panel, prepare_solved_by(group), given[group.kind], hidden)
        panel.set_title(place(part[0]))
        percent_axis(panel)
    legend(figure, kind_handles(given))
    return {"": figure}


def _steps(axes: Axes, table: pd.DataFrame, mark: Mark, hidden: int) -> None:
    """Draw a curve that the next ones may lie upon: wider, so that its edges still show."""
    samples = table["samples"] / _THOUSAND
    axes.fill_between(
        samples, table["low"], table["high"], step="post", color=mark.color, alpha=0.12, linewidth=0
    )
    axes.step(samples, table["share"], where="post", color=mark.color, linewidth=0.6 + 0.8 * hidden)
    axes.plot(
        samples.iloc[-1],
        table["share"].iloc[-1],
        mark.marker,
        color=mark.color,
        markersize=2.5 + 1.2 * hidden,
    )
