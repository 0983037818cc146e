"""Accuracy against what it cost to get."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from unforced.reporting.grouping import Group
from unforced.reporting.report_figures.style import (
    INK,
    chance_handle,
    kind_handles,
    legend,
    marks,
    panels,
    percent_axis,
)


def prepare_compute(groups: Sequence[Group]) -> pd.DataFrame:
    """Return a row per run that has counted its FLOPs: those, and held-out free accuracy with interval."""
    return pd.DataFrame(
        {
            "place": f"{group.topology}, {group.model}",
            "kind": group.kind,
            "seed": each.run.seed,
            "flops": each.result["flops"],
            "chance": group.chance,
            **{key: each.result["test.free.exact"][key] for key in ("value", "low", "high")},
        }
        for group in groups
        for each in group.runs
        if each.result.get("flops")
    )


def compute(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a panel per topology and model: every seed a dot with its interval, FLOPs on a log axis."""
    table, given = prepare_compute(groups), marks(groups)
    if table.empty:
        return {}
    places = list(dict.fromkeys(table["place"]))
    figure, axes = panels(len(places), 1.8, ("training compute (FLOPs)", "held-out, free (%)"))
    decades = np.log10([table["flops"].min(), table["flops"].max() * 1.001])
    low, high = 10 ** np.floor(decades[0]), 10 ** np.ceil(decades[1])
    for panel, name in zip(axes, places, strict=True):
        here = table[table["place"] == name]
        panel.axhline(here["chance"].iloc[0], color=INK, linestyle=(0, (2, 1.5)), linewidth=1, zorder=1)
        panel.set_xscale("log")
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xlim(low, high)
        for kind, rows in here.groupby("kind"):
            mark = given[str(kind)]
            panel.vlines(rows["flops"], rows["low"], rows["high"], color=mark.color, linewidth=0.8)
            panel.scatter(
                rows["flops"],
                rows["value"],
                s=14,
                marker=mark.marker,
                color=mark.color,
                linewidths=0,
                alpha=0.8,
            )
        panel.set_title(name)
        percent_axis(panel)
    legend(figure, [*kind_handles(given), chance_handle()])
    return {"": figure}
