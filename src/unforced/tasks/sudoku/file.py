"""Sudoku puzzles from a CSV file that someone brings, as the public set Sudoku-Extreme has it.

    source,question,answer,rating
    puzzles0_kaggle,..4.83..2[...],964183572[...],0

A question is a grid row by row, with a dot or 0 for an empty cell; an answer is its solution. Other columns
are not read. Source: huggingface.co/datasets/sapientinc/sudoku-extreme.
"""

import csv
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from unforced.errors import UserError
from unforced.paths import data_sha256
from unforced.tasks.sudoku.bases import Bases
from unforced.tasks.sudoku.grid import Boards, Grid, grid_of, solve
from unforced.tasks.sudoku.symmetry import family

_COLUMNS = ("question", "answer")
_AT_ONCE = 1 << 16  # puzzles; bounds memory
_NUM_SOLVED = 1000
"""Puzzles of a file that are solved, to see whether they have one solution; the hardest take 10 ms each."""


def bases_of(file: str, sha256: str, size: int, count: int) -> Bases:
    """Read the first `count` puzzles of a file. Raises UserError that names file, line and what is wrong.

    sha256: what the file had when it was named, if that is known; a file that has changed is refused.
    """
    path = Path(file)
    if not path.is_file():
        raise UserError(f"task.file: {file} is not a file; give a CSV file with {' and '.join(_COLUMNS)}")
    changed = path.stat()
    return _read(path, sha256, (size, count), (changed.st_mtime_ns, changed.st_size))


@lru_cache(maxsize=4)
def _read(path: Path, sha256: str, shape: tuple[int, int], changed: tuple[int, int]) -> Bases:
    """shape: size and count. changed: when the file was, so that one that was written anew is read anew."""
    (size, count), lines, texts = shape, [], []
    grid = grid_of(size)
    if sha256 and data_sha256(str(path)) != sha256:
        raise UserError(
            f"{path}: it has changed since it was named: its SHA-256 is not {sha256[:12]}...; bring that "
            "file back, or name this one anew"
        )
    for line, question, answer in _rows(path):
        texts.append((_digits(path, line, question, grid, ".0"), _digits(path, line, answer, grid, "")))
        lines.append(line)
        if len(texts) == count:
            break
    if not texts:
        raise UserError(f"{path}: no puzzles in it")
    questions, answers = (b"".join(each) for each in zip(*texts, strict=True))
    givens, solutions = (
        np.frombuffer(each, dtype=np.int8).reshape(-1, grid.cells) for each in (questions, answers)
    )
    families = []
    for start in range(0, len(givens), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        _check(path, lines[part], (givens[part], solutions[part]), grid)
        families.append(family(givens[part], grid))
    _check_unique(path, lines, givens[:_NUM_SOLVED], grid)
    return Bases(givens, solutions, np.concatenate(families))


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line, question and answer."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if missing := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
                there = ", ".join(rows.fieldnames or ()) or "nothing"
                raise UserError(f"{path}: no column {missing[0]!r}; its columns are {there}")
            for row in rows:
                yield rows.line_num, row["question"] or "", row["answer"] or ""
    except UnicodeDecodeError:
        raise UserError(f"{path}: it is not UTF-8 text") from None
    except csv.Error as error:
        raise UserError(f"{path}: not a CSV file: {error}") from None


def _digits(path: Path, line: int, text: str, grid: Grid, empty: str) -> bytes:
    what = "question" if empty else "answer"
    if len(text) != grid.cells:
        raise UserError(
            f"{path}:{line}: the {what} has {len(text)} cells, and the task has {grid.cells} "
            f"(size={grid.size})"
        )
    known = {str(digit): digit for digit in range(1, grid.size + 1)} | dict.fromkeys(empty, 0)
    if strange := [sign for sign in text if sign not in known]:
        holes = ", and . or 0 for an empty cell" if empty else ""
        raise UserError(
            f"{path}:{line}: {strange[0]!r} in the {what}; it has the digits 1 to {grid.size}{holes}"
        )
    return bytes(known[sign] for sign in text)


def _check(path: Path, lines: list[int], boards: tuple[Boards, Boards], grid: Grid) -> None:
    """Raise UserError unless each answer is a solution of its question."""
    givens, solutions = boards
    faults = {
        "the answer has a digit twice in a row, column or box": grid.repeated(solutions).any(axis=1),
        "the answer changes a given": ((givens > 0) & (givens != solutions)).any(axis=1),
    }
    for words, marks in faults.items():
        if marks.any():
            raise UserError(f"{path}:{lines[int(marks.argmax())]}: {words}")


def _check_unique(path: Path, lines: list[int], givens: Boards, grid: Grid) -> None:
    counts, _ = solve(grid.options(givens), grid, most=2)
    if (counts > 1).any():
        line = lines[int((counts > 1).argmax())]
        raise UserError(f"{path}:{line}: the question has more than one solution")
