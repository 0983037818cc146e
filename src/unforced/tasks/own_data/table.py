"""Own data as they were read: the problems, and the symbols that they are made of."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped

from unforced.errors import UserError, shortened
from unforced.paths import data_sha256
from unforced.tasks.own_data.columns import Columns
from unforced.tasks.own_data.lengths import Lengths
from unforced.tasks.own_data.rows import Row, read_rows
from unforced.tasks.own_data.settings import SPLIT, DataFile, OwnSettings
from unforced.tasks.own_data.splits import SPLITS, Choices, keep, normalised
from unforced.tasks.own_data.symbols import Cut, cutter
from unforced.tasks.problems import Problems
from unforced.wording import typed


@dataclass(frozen=True)
class OwnProblems(Problems):
    """Rows of own data: texts, the place and the split (-1: none) of each.

    right: a tuple of right answers, the reference first; empty where none is known.
    """

    prompt: Shaped[np.ndarray, " count"]
    right: Shaped[np.ndarray, " count"]
    row: Int[np.ndarray, " count"]
    split: Int[np.ndarray, " count"]


@dataclass(frozen=True, eq=False)
class Data:
    """Own data as they were read.

    lengths: symbols of prompts and answers. right: every right answer, after normalisation. unseen: the rows
    of held-out problems with a symbol that no training problem has, by symbol.
    """

    problems: OwnProblems
    places: Sequence[str]
    dropped: Mapping[str, int]
    cut: Cut
    alphabet: tuple[str, ...]
    answer_symbols: int
    lengths: Lengths
    unique: bool
    right: frozenset[str]
    begin_blank: bool
    unseen: Mapping[str, Sequence[int]]
    number_of: Mapping[str, int]

    def numbers(self, pieces: Sequence[str], text: str) -> list[int]:
        """Turn pieces into symbols. Raises UserError for one that the data do not have."""
        try:
            return [self.number_of[piece] for piece in pieces]
        except KeyError as error:
            raise UserError(
                f"{shortened(text, 40)!r}: {error.args[0]!r} is none of the symbols of the data"
            ) from None


@lru_cache(maxsize=4)
def load(task: OwnSettings) -> Data:
    """Read the data of a task. Raises UserError."""
    if not task.path:
        raise UserError("task.path: name your data, a .jsonl, .csv or .parquet file, or a folder of datasets")
    for path, digest in task.file_fields.items():
        _check_unchanged(getattr(task, path), getattr(task, digest))
    needs_split = task.split_column not in (None, SPLIT)
    columns = Columns(task.prompt_column, task.answer_column, task.split_column, needs_split)
    rows = [row for file in task.files for row in _rows_of(file, columns)]
    if task.test_path:
        rows = [replace(row, split=row.split or SPLITS[0]) for row in rows]
    whole = {file.split: file.name for file in task.files if file.split is not None}
    names = whole if len(whole) == len(task.files) else None
    choices = Choices(task.normalise, task.held_out, task.conflicts, task.overlaps, task.test_path, names)
    kept = keep(rows, choices, task.path)
    right = [
        tuple(answer if task.normalise == "none" else answer.rstrip() for answer in row.answers)
        for row in kept.rows
    ]
    splits = np.array([SPLITS.index(split) for split in kept.splits], dtype=np.int64)
    prompts = [row.prompt for row in kept.rows]
    problems = problems_of(prompts, right, np.arange(len(prompts)), splits)
    places = [row.place for row in kept.rows]
    if not task.separator and names is None:  # else the model is trained, whatever the data are like
        _check_apart(problems, places)
    return _with_symbols(task, problems, places, dict(kept.dropped))


def _check_apart(problems: OwnProblems, places: Sequence[str]) -> None:
    """Refuse a prompt that is another one and the beginning of its answer: a model cannot tell the two apart.

    Raises UserError.
    """
    row_of = {prompt: row for row, prompt in enumerate(problems.prompt)}
    lengths = sorted({*map(len, row_of)})
    for prompt, row in row_of.items():
        for length in lengths[: bisect_left(lengths, len(prompt))]:
            other = row_of.get(prompt[:length])
            if other is not None and problems.right[other][0].startswith(prompt[length:]):
                raise UserError(
                    f"{places[row]}: its prompt is that of {places[other]} and the beginning of its answer; "
                    f"give a {typed('task.separator')} between prompts and answers"
                )


def _rows_of(file: DataFile, columns: Columns) -> list[Row]:
    path = Path(file.path)
    if file.split is None:
        return read_rows(path, columns, file.name)
    rows = read_rows(path, replace(columns, split=None, needs_split=False), file.name)
    return [replace(row, split=file.split) for row in rows]


def _check_unchanged(path: str | None, recorded: str) -> None:
    """Raise UserError if data or a tokenizer are not what a run was begun with; of none, nothing is asked."""
    present = data_sha256(path) if path and recorded else ""
    if present and present != recorded:
        raise UserError(
            f"{path} has changed: its SHA-256 is {present[:12]}, and was {recorded[:12]} when the "
            f"run was begun; restore it, or begin a new run with another {typed('out')}"
        )


def _with_symbols(
    task: OwnSettings, problems: OwnProblems, places: Sequence[str], dropped: dict[str, int]
) -> Data:
    """Cut all texts into symbols, and see which ones there are."""
    cut = cutter(task.tokenizer)
    separator = next(iter(cut([task.separator])))
    prompts = list(cut(problems.prompt.tolist()))
    flat = [answer for right in problems.right for answer in right]
    pieces = iter(cut(flat))
    answers = [[next(pieces) for _ in right] for right in problems.right]
    unseen = _unseen(problems, prompts, answers, {*separator})
    if task.unseen == "drop" and unseen:
        strange = {row for rows in unseen.values() for row in rows}
        stay = np.array([row not in strange for row in range(len(problems))])
        dropped["unseen"] = len(strange)
        kept = [place for place, stays in zip(places, stay, strict=True) if stays]
        some = problems.take(stay)
        if {*some.split.tolist()} != {*problems.split.tolist()}:
            raise UserError(f"{task.path}: task.unseen=drop leaves a split empty; use task.unseen=keep")
        return _with_symbols(task, replace(some, row=np.arange(len(some))), kept, dropped)
    of_answers = sorted({symbol for each in answers for symbols in each for symbol in symbols})
    others = {symbol for symbols in prompts for symbol in symbols} | {*separator}
    alphabet = (*of_answers, *sorted(others - {*of_answers}))
    rights = [frozenset(normalised(each, task.normalise) for each in right) for right in problems.right]
    lengths = Lengths([*map(len, prompts)], [max(map(len, each)) for each in answers], len(separator))
    return Data(
        problems,
        places,
        dropped,
        cut,
        alphabet,
        len(of_answers),
        lengths,
        all(len(right) == 1 for right in rights),
        frozenset().union(*rights),
        any(answer[:1].isspace() for answer in flat),
        unseen,
        {symbol: number for number, symbol in enumerate(alphabet)},
    )


def _unseen(
    problems: OwnProblems,
    prompts: Sequence[Sequence[str]],
    answers: Sequence[Sequence[Sequence[str]]],
    seen: set[str],
) -> dict[str, list[int]]:
    """Return the rows of held-out problems with a symbol that no training problem has, by symbol.

    None where no training problems are known.
    """
    if SPLITS.index("train") not in problems.split:
        return {}
    symbols = [{*prompt, *answer[0]} for prompt, answer in zip(prompts, answers, strict=True)]
    trains = problems.split == SPLITS.index("train")
    known = seen.union(*(each for each, train in zip(symbols, trains, strict=True) if train))
    unseen: dict[str, list[int]] = {}
    for row in np.flatnonzero(~trains).tolist():
        for symbol in sorted(symbols[row] - known):
            unseen.setdefault(symbol, []).append(row)
    return unseen


def problems_of(
    prompts: Sequence[str],
    right: Sequence[tuple[str, ...]],
    rows: Int[np.ndarray, " count"],
    splits: Int[np.ndarray, " count"],
) -> OwnProblems:
    """Put texts, right answers, rows and splits together."""
    texts, answers = np.empty(len(prompts), dtype=object), np.empty(len(prompts), dtype=object)
    texts[:] = prompts
    for row, each in enumerate(right):
        answers[row] = each
    return OwnProblems(texts, answers, rows, splits)
