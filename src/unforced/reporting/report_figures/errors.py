"""How free answers go wrong: shares of each kind of error."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from unforced.reporting.grouping import Group
from unforced.reporting.report_figures.style import OKABE_ITO, PAGE, wrapped

_COLORS = [OKABE_ITO[name] for name in ("vermillion", "orange", "purple", "sky", "yellow", "blue", "black")]


def prepare_errors(groups: Sequence[Group]) -> pd.DataFrame:
    """Return the share of held-out free answers of each kind, a row per group, all its seeds together.

    "correct" stands first.
    """
    counts = {
        group.label: pd.DataFrame([each.result.get("test.free.errors", {}) for each in group.runs]).sum()
        for group in groups
    }
    table = pd.DataFrame.from_dict(counts, orient="index").fillna(0)
    table = table.loc[table.sum(axis=1) > 0]
    first = [kind for kind in table.columns if kind == "correct"]
    table = table[[*first, *(kind for kind in table.columns if kind not in first)]]
    return table.div(table.sum(axis=1), axis=0)


def error_kinds(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw a bar per group, stacked from the kinds of its answers that occur at all."""
    table = prepare_errors(groups)
    if table.empty:
        return {}
    figure = Figure(figsize=(PAGE, 0.9 + 0.27 * len(table)), layout="constrained")
    axes = figure.subplots()
    wrong = [kind for kind in table.columns if kind != "correct"]
    colors = {kind: _COLORS[i % len(_COLORS)] for i, kind in enumerate(wrong)} | {"correct": "0.82"}
    table = table.loc[:, table.sum() > 0]
    start = pd.Series(0.0, index=table.index)
    for kind in table.columns:
        axes.barh(range(len(table)), table[kind], left=start, height=0.7, color=colors[kind])
        start = start + table[kind]
    axes.set_yticks(range(len(table)), [wrapped(label, 60) for label in table.index])
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    axes.set_xlabel("held-out free answers (%)")
    axes.tick_params(axis="y", length=0)
    handles = [Patch(color=colors[kind], label=kind.replace("_", " ")) for kind in table.columns]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    return {"": figure}
