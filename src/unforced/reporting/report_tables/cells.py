"""What tables of a report have in common: the names of a group, values over seeds, caveats, notes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from unforced.reporting.tables import NONE
from unforced.runs.groups import Group, spread

_ONCE = ("study", "model", "token", "seeds")


@dataclass(frozen=True)
class ReportTable:
    """A table, whose index is its first column, and the note below it."""

    frame: pd.DataFrame
    note: str


def as_table(rows: Sequence[Mapping[str, str]], *notes: str) -> ReportTable:
    """Make a table of rows; values that are the same in all of them move to the note."""
    frame = pd.DataFrame(rows)
    frame = frame.loc[:, (frame != "").any()]
    same = {name: frame.pop(name).iloc[0] for name in _ONCE if name in frame and frame[name].nunique() == 1}
    throughout = "; ".join(f"{name} {value}" for name, value in same.items())
    notes = (*notes, f"In every row: {throughout}.") if throughout else notes
    return ReportTable(frame.set_index(frame.columns[0]), " ".join(filter(None, notes)))


def names(group: Group) -> dict[str, str]:
    """Return the columns that name a group."""
    return {
        "topology": group.topology,
        "model": group.model,
        "configuration": group.configuration,
    }


def over_seeds(values: Sequence[float]) -> str:
    """Write the median of shares over seeds with their range, in percent: `49.8 (48.4–51.2)`."""
    if not values:
        return NONE
    if len(values) == 1:
        return f"{100 * values[0]:.1f} (one seed)"
    middle, low, high = (100 * share for share in spread(values).values())
    return f"{middle:.1f} ({low:.1f}–{high:.1f})"


def caveats(group: Group) -> dict[str, str]:
    """Return why the seeds may not be comparable; a column that is empty in every row is left out."""
    return {"failed": group.failures, "kernels": group.mixed_kernels}


def about_failures(groups: Sequence[Group]) -> str:
    """Explain the column `failed`; empty where there is none."""
    if not any(group.failures for group in groups):
        return ""
    return (
        "Failed: seeds whose training ended early; they count as not solved, with the "
        "accuracies of their last finite weights."
    )


def about_kernels(groups: Sequence[Group]) -> str:
    """Explain the column `kernels`; empty where there is none."""
    if not any(group.mixed_kernels for group in groups):
        return ""
    return (
        "Kernels: where the seeds of a row ran on different implementations or autocast dtypes, how many on "
        "which; these round differently, and outcomes near a plateau depend on rounding."
    )
