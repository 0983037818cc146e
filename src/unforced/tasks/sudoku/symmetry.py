"""What leaves a sudoku a sudoku: other digits, other orders of rows, columns, bands and stacks, a transpose.

A 9x9 puzzle has up to 9! x 6^8 x 2 = 1.2e12 such variants, a 6x6 one 2.5 million, a 4x4 one 3,072.
"""

import numpy as np
from jaxtyping import Int, UInt64

from unforced.tasks.sampling import hash_rows
from unforced.tasks.sudoku.grid import BOXES, Boards, Grid

_ROUNDS = 3
Colours = UInt64[np.ndarray, "count nodes"]


def varied(rng: np.random.Generator, boards: tuple[Boards, Boards], grid: Grid) -> tuple[Boards, Boards]:
    """Apply a random symmetry to each puzzle and to its solution."""
    count, size = len(boards[0]), grid.size
    high, wide = BOXES[size]
    rows, columns = _line_order(rng, count, wide, high), _line_order(rng, count, high, wide)
    cells = rows[:, :, None] * size + columns[:, None, :]
    if high == wide:
        turned = rng.random(count) < 0.5
        cells[turned] = cells[turned].transpose(0, 2, 1)
    digits = np.zeros((count, size + 1), dtype=np.int8)
    digits[:, 1:] = np.argsort(rng.random((count, size)), axis=1) + 1
    cells = cells.reshape(count, -1)
    moved = [np.take_along_axis(each, cells, axis=1).astype(np.int64) for each in boards]
    puzzle, solution = (np.take_along_axis(digits, each, axis=1) for each in moved)
    return puzzle, solution


def _line_order(
    rng: np.random.Generator, count: int, groups: int, lines: int
) -> Int[np.ndarray, "count size"]:
    """Shuffle groups of lines (bands of rows, stacks of columns), and the lines of each."""
    outer = np.argsort(rng.random((count, groups)), axis=1)
    inner = np.argsort(rng.random((count, groups, lines)), axis=2)
    order: Int[np.ndarray, "count size"] = (outer[:, :, None] * lines + inner).reshape(count, groups * lines)
    return order


def family(givens: Boards, grid: Grid) -> UInt64[np.ndarray, " count"]:
    """Hash puzzles so that all symmetric variants of one have one hash.

    Cells get colours from the colours of what they are in (row, column, box, band, stack, digit), a few times
    over; the hash is of all colours, in whatever order. Puzzles that are not variants of each other may share
    a hash, too, but seldom do.
    """
    high, wide = BOXES[grid.size]
    given = givens > 0
    cells = _mixed(given.astype(np.uint64))
    for _ in range(_ROUNDS):
        units = _mixed(cells[:, grid.units].sum(axis=2, dtype=np.uint64))
        rows, columns, boxes = np.split(units, 3, axis=1)
        rows, columns = _within(rows, high), _within(columns, wide)
        by_unit = np.concatenate([rows, columns, boxes + np.uint64(1)], axis=1)
        around = _mixed(by_unit)[:, grid.units_of].sum(axis=2, dtype=np.uint64)
        digits = np.stack(
            [np.where(givens == digit, cells, 0).sum(axis=1) for digit in range(1, grid.size + 1)], axis=1
        )
        alike = np.take_along_axis(_mixed(digits), np.maximum(givens - 1, 0).astype(np.int64), axis=1)
        cells = _mixed(cells * np.uint64(3) + around * np.uint64(5) + np.where(given, alike, 0))
    return hash_rows(cells.sum(axis=1, dtype=np.uint64)[:, None])


def _within(lines: Colours, together: int) -> Colours:
    """Colour lines by what they are in: bands of rows, stacks of columns."""
    groups = _mixed(lines.reshape(len(lines), -1, together).sum(axis=2, dtype=np.uint64))
    return lines * np.uint64(7) + np.repeat(groups, together, axis=1)


def _mixed(colours: Colours) -> Colours:
    return hash_rows(colours.reshape(-1, 1)).reshape(colours.shape)
