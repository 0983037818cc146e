"""Tables of accuracies, for a terminal and for Markdown."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from unforced.evaluation.statistics import percent, percent_alone
from unforced.reporting.markdown import plain, table
from unforced.reporting.terminal import print_lines, print_table

if TYPE_CHECKING:  # a run brings torch, which a report does without
    from unforced.config import Run

MET, MISSED, NONE = "✓", "✗", "–"
_MOST_COLUMNS = 8
_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")
SPLIT_NAMES = {"train": "train", "validation": "validation", "test": "held-out", "file": "file"}
MODE_NAMES = {"forced": "teacher-forced", "free": "free-running", "one_pass": "in one pass"}

OF_A_SET = ("creative", "coherent", "original", "unique")
"""Measures of a set of free answers, where a task is open-ended."""

SEVERAL = "problems have several right answers: tokens and forced rows are agreement with one of them"

WHOLE_ANSWERS = {
    "training, teacher-forced": "train.forced.exact",
    "training, free-running": "train.free.exact",
    "held-out, teacher-forced": "test.forced.exact",
    "held-out, free-running": "test.free.exact",
}


def in_percent(share: float | None, digits: int = 1, sign: str = "") -> str:
    """Write a share in percent; `unknown` for None."""
    return "unknown" if share is None else f"{100 * share:.{digits}f}{sign}"


def spread(values: Mapping[str, Any]) -> str:
    """Write a median with its range, in percent: `49.8 (48.4 to 51.2)`."""
    middle, low, high = (100 * values[key] for key in ("median", "low", "high"))
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def _split_names(result: Mapping[str, Any]) -> dict[str, str]:
    """Name the splits in a result: those that all tasks have, and then the task's own."""
    ending = ".free.exact"
    splits = [key.removesuffix(ending) for key in result if key.endswith(ending) and key.count(".") == 2]
    return SPLIT_NAMES | {split: split for split in splits if split not in SPLIT_NAMES}


def cost_line(result: Mapping[str, Any]) -> str:
    """Say what training and answering took; empty where operations could not be counted."""
    if "flops_per_sample" not in result:
        return ""
    sample, answer = (f"{in_units(result[f'flops_per_{part}'])}FLOP" for part in ("sample", "answer"))
    total = f"{in_units(result['flops'])}FLOP"
    return f"cost: {sample} to train on a problem, {total} in all; {answer} to answer one"


def in_units(number: int | float) -> str:
    """Write a number with three digits and a prefix of the SI, as in `1.23 M`."""
    power = min(max(int(math.log10(number)) // 3, 0), len(_PREFIXES) - 1) if number else 0
    return f"{number / 1000**power:.3g} {_PREFIXES[power]}"


def slice_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Put whole free answers in each slice of the problems in a table: a row per slice, a column a split."""
    rows: dict[str, dict[str, str]] = {}
    for key, value in result.items():
        split, *path = key.split(".")
        if len(path) == 4 and path[0] == "slice":
            column = f"{SPLIT_NAMES.get(split, split)}, free"
            rows.setdefault(path[1].replace("_", " "), {})[column] = percent(value)
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "whole answers"
    return table.fillna("")


def accuracy_table(result: Mapping[str, Any], chance: float | None) -> pd.DataFrame:
    """Put forced and free accuracies side by side: a row per split and mode, a column per measure.

    It is empty where a task is open-ended, and no accuracy says more than `set_table`.
    """
    rows: dict[str, dict[str, str]] = {}
    if is_open_ended(result):
        return pd.DataFrame()
    for split, name in _split_names(result).items():
        for mode in ("forced", "free", "one_pass"):
            for key, value in result.items():
                measure = key.removeprefix(f"{split}.{mode}.")
                if measure != key and measure not in OF_A_SET and "total" in value:
                    shown = percent(value) if measure == "exact" else percent_alone(value)
                    rows.setdefault(f"{name}, {mode.replace('_', ' ')}", {})[measure] = shown
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = f"chance {in_percent(chance, sign='%')}"
    return table.fillna("")


def is_open_ended(result: Mapping[str, Any]) -> bool:
    """Whether any coherent answer is right: a result then counts creative ones."""
    return any(key.endswith(".free.creative") for key in result)


def set_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Say how much is new of the free answers as a set: a row per split; empty for most tasks."""
    rows = {
        f"{name}, free": {measure: percent(result[key]) for measure, key in measures.items() if key in result}
        for split, name in _split_names(result).items()
        for measures in [{measure: f"{split}.free.{measure}" for measure in OF_A_SET}]
    }
    table = pd.DataFrame.from_dict({name: row for name, row in rows.items() if row}, orient="index")
    table.index.name = "answers as a set"
    return table.fillna("")


def _narrow(table: pd.DataFrame) -> pd.DataFrame:
    """Let measures stand below each other, where there are too many for a terminal's width."""
    if len(table.columns) <= _MOST_COLUMNS:
        return table
    turned = table.T
    turned.index.name = table.index.name
    return turned


def error_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Count the free answers of each kind: a row per kind, a column per split."""
    names = {"correct": "coherent"} if is_open_ended(result) else {}
    columns = {
        f"{name}, free": {
            names.get(kind, kind).replace("_", " "): f"{count:,}" for kind, count in result[key].items()
        }
        for split, name in _split_names(result).items()
        if (key := f"{split}.free.errors") in result
    }
    table = pd.DataFrame(columns)
    table.index.name = "answers"
    return table


def show(frame: pd.DataFrame, note: str = "") -> None:
    """Print a table, and a note below it."""
    header = [str(frame.index.name or ""), *map(str, frame.columns)]
    rows = [[str(name), *map(str, row)] for name, row in frame.iterrows()]
    print_table(header, rows, numbers=True)
    if note:
        print_lines(f"note: {note}")


def show_accuracy(result: Mapping[str, Any], run: "Run") -> None:
    """Print what a run gets right, forced and free, by which decoder, and the kinds of its free answers."""
    several = "" if run.task.unique_answer else SEVERAL
    accuracies = accuracy_table(result, run.task.chance)
    if len(accuracies):
        show(_narrow(accuracies), "; ".join(filter(None, (run.forced_note, several))))
    print_lines(f"decoder: {run.decoding}", "")
    for frame in (slice_table(result), set_table(result)):
        if len(frame):
            show(frame)
            print()
    show(error_table(result))


def markdown(frame: pd.DataFrame) -> str:
    """Write a table as Markdown; what its cells say is escaped."""
    header = [str(frame.index.name or ""), *map(str, frame.columns)]
    rows = [[str(name), *map(str, row)] for name, row in frame.iterrows()]
    return table(list(map(plain, header)), [list(map(plain, row)) for row in rows])


def latex(table: pd.DataFrame, note: str = "") -> str:
    """Write a table as LaTeX for the packages booktabs and amssymb, with a note below it.

    Numbers stand below each other, with a range or an interval in a column of its own; the first column
    says what is the same in the rows below only once.
    """
    first = [str(name) for name in table.index]
    columns = [_column(str(name), [*map(str, table[name])]) for name in table.columns]
    columns = [_column(str(table.index.name or ""), _once(first)), *columns]
    header, *rows = (" & ".join(cells) + r" \\" for cells in zip(*(c.cells for c in columns), strict=True))
    blocks = len(set(first)) < len(first)
    gaps = [r"\addlinespace" if blocks and i and first[i] != first[i - 1] else "" for i in range(len(first))]
    body = [line for pair in zip(gaps, rows, strict=True) for line in pair if line]
    lines = [
        r"% needs \usepackage{booktabs,amssymb}",
        r"\begingroup\small\setlength{\tabcolsep}{3pt}%",
        rf"\begin{{tabular}}{{@{{}}{''.join(column.layout for column in columns)}@{{}}}}",
        *(r"\toprule", header, r"\midrule", *body, r"\bottomrule"),
        r"\end{tabular}\par\smallskip",
        rf"\parbox{{\linewidth}}{{\footnotesize {_escaped(note)}}}\par" if note else "",
        r"\endgroup",
    ]
    return "\n".join(filter(None, lines)) + "\n"


@dataclass(frozen=True)
class _Column:
    """A column of a LaTeX table: how it stands, and its header and cells."""

    layout: str
    cells: Sequence[str]


def _column(name: str, cells: Sequence[str]) -> _Column:
    filled = [cell for cell in cells if cell != NONE]
    if filled and all(map(_RANGED.fullmatch, filled)):
        parts = [cell.partition(" ") for cell in cells]
        pairs = [f"{_escaped(value)} & {_escaped(rest)}" for value, _, rest in parts]
        return _Column(r"r@{\,}l", [rf"\multicolumn{{2}}{{c}}{{{_escaped(name)}}}", *pairs])
    layout = "r" if filled and all(map(_NUMBER.fullmatch, filled)) else "l"
    if max(map(len, cells)) > _WIDE:
        layout = rf"p{{{_WIDE // 2}em}}"
    return _Column(layout, [*map(_escaped, [name, *cells])])


def _once(cells: Sequence[str]) -> list[str]:
    """Leave out what the row above says already."""
    return ["" if i and cell == cells[i - 1] else cell for i, cell in enumerate(cells)]


def _escaped(text: str) -> str:
    return text.translate(_LATEX)


_NUMBER = re.compile(r"[\d,.]+%?")
_RANGED = re.compile(r"[\d,.]+%? [(\[].*")  # 49.8 (48.4–51.2), 20.0% [3.6, 62.4]
_WIDE = 30  # letters from which text is broken into lines
_LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {
        "`": r"\textasciigrave{}",
        MET: r"$\checkmark$",
        MISSED: r"$\times$",
        "±": r"$\pm$",
        "–": "--",
        "≥": r"$\geq$",
    }
    | {"<": "$<$", ">": "$>$", "|": "$|$"}
)
