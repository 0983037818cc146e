"""The number of samples after which seeds are solved."""

import itertools
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unforced.evaluation.outcomes import outcomes_of, solved_by
from unforced.reporting.report_figures.style import (
    Mark,
    configuration_handles,
    legend,
    marks,
    panels,
    percent_axis,
)
from unforced.runs.groups import Group

_THOUSAND = 1000


def prepare_solved_by(group: Group) -> pd.DataFrame:
    """Return the Kaplan-Meier estimate of the fraction of seeds solved by each number of samples."""
    outcomes = outcomes_of(group, "free.exact").values()
    horizon, batch = max(outcome.steps for outcome in outcomes), group.runs[0].tree["batch_size"]
    samples = [outcome.until(horizon) * batch for outcome in outcomes]
    table = pd.DataFrame(solved_by(samples, [outcome.solved_on_the_way for outcome in outcomes]))
    return table.rename(columns={"steps": "samples"})


def solved_by_samples(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a panel per topology and model: the fraction of seeds solved against samples."""
    styles = marks(groups)
    members = [list(part) for _, part in itertools.groupby(groups, key=lambda group: group.facet)]
    labels = ("samples (thousands)", "seeds solved (%)")
    figure, axes = panels(range(len(members)), 1.7, labels, share_x=False)
    for panel, part in zip(axes, members, strict=True):
        for hidden, group in zip(range(len(part), 0, -1), reversed(part), strict=True):
            _steps(panel, prepare_solved_by(group), styles[group.configuration], hidden)
        panel.set_title(part[0].facet)
        percent_axis(panel)
    legend(figure, configuration_handles(styles))
    return {"": figure}


def _steps(axes: Axes, table: pd.DataFrame, mark: Mark, hidden: int) -> None:
    """Draw a curve, the wider the more curves may cover it (`hidden`), so that its edges stay visible."""
    samples = table["samples"] / _THOUSAND
    axes.fill_between(
        samples, table["low"], table["high"], step="post", color=mark.color, alpha=0.1, linewidth=0
    )
    last = table.iloc[-1]
    axes.vlines(samples.iloc[-1], last["low"], last["high"], color=mark.color, linewidth=1)
    axes.step(samples, table["share"], where="post", color=mark.color, linewidth=0.6 + 0.8 * hidden)
    axes.plot(
        samples.iloc[-1],
        last["share"],
        mark.marker,
        color=mark.color,
        markersize=2.5 + 1.2 * hidden,
        clip_on=False,
    )
