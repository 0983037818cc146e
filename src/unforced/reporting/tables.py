"""Tables of accuracies, for a terminal and for Markdown."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from unforced.config import Run

MET, MISSED = "✓", "✗"
SPLIT_NAMES = {"train": "train", "validation": "validation", "test": "held-out", "file": "file"}


def percent(proportion: Mapping[str, Any]) -> str:
    """Write a proportion with its interval: `49.8% [48.4, 51.2]`."""
    value, low, high = (100 * proportion[key] for key in ("value", "low", "high"))
    return f"{value:.1f}% [{low:.1f}, {high:.1f}]"


def percent_alone(proportion: Mapping[str, Any]) -> str:
    """Write a proportion without its interval: `49.8%`."""
    return f"{100 * proportion['value']:.1f}%"


def spread(values: Mapping[str, Any]) -> str:
    """Write a median with its range, in percent: `49.8 (48.4 to 51.2)`."""
    middle, low, high = (100 * values[key] for key in ("median", "low", "high"))
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def accuracy_table(result: Mapping[str, Any], chance: float) -> pd.DataFrame:
    """Put forced and free accuracies side by side: a row per split and mode, a column per measure."""
    rows: dict[str, dict[str, str]] = {}
    for split, name in SPLIT_NAMES.items():
        for mode in ("forced", "free"):
            for key, value in result.items():
                measure = key.removeprefix(f"{split}.{mode}.")
                if measure != key and "total" in value:
                    shown = percent(value) if measure == "exact" else percent_alone(value)
                    rows.setdefault(f"{name}, {mode}", {})[measure] = shown
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = f"chance {100 * chance:.1f}%"
    return table


def error_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Count the free answers of each kind: a row per split."""
    rows = {
        f"{name}, free": {kind.replace("_", " "): f"{count:,}" for kind, count in result[key].items()}
        for split, name in SPLIT_NAMES.items()
        if (key := f"{split}.free.errors") in result
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "answers"
    return table


def show(table: pd.DataFrame, note: str = "", console: Console | None = None) -> None:
    """Print a table, and a note below it."""
    drawn = Table(box=None, padding=(0, 2, 0, 0))
    drawn.add_column(str(table.index.name or ""), no_wrap=True, min_width=max(map(len, table.index)))
    for column in table.columns:
        drawn.add_column(str(column), justify="right")
    for name, row in table.iterrows():
        drawn.add_row(str(name), *map(str, row))
    console = console or Console()
    console.print(drawn)
    if note:
        console.print(f"note: {note}", markup=False, highlight=False)


def show_accuracy(result: Mapping[str, Any], run: Run) -> None:
    """Print what a run gets right, forced and free, and the kinds of its free answers."""
    show(accuracy_table(result, run.task.chance), run.objective.forced_note)
    print()
    show(error_table(result))


def markdown(table: pd.DataFrame) -> str:
    """Write a table as Markdown."""
    header = [str(table.index.name or ""), *map(str, table.columns)]
    rows = [[str(name), *map(str, row)] for name, row in table.iterrows()]
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def latex(table: pd.DataFrame, note: str = "") -> str:
    """Write a table as LaTeX for the packages booktabs and amssymb, with a note in a comment above it."""
    styler = table.reset_index().style.hide(axis="index")
    styler = styler.format(escape="latex").format_index(escape="latex", axis=1)
    body = styler.to_latex(hrules=True, column_format="l" * (1 + len(table.columns)))
    for symbol, command in _LATEX.items():
        body = body.replace(symbol, command)
    return f"% needs \\usepackage{{booktabs,amssymb}}\n% {note}\n{body}"


_LATEX = {MET: r"$\checkmark$", MISSED: r"$\times$", "±": r"$\pm$", "–": "--", "≥": r"$\geq$"}
