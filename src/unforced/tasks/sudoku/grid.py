"""Sudoku grids, and a solver that works on many boards at once.

A board is a row of size² cells, row by row. Its *options* are a set of digits per cell, as bits: bit d - 1
stands for the digit d. Two rules narrow them: a digit that is alone in its cell leaves the other cells of its
row, column and box; a digit that has one cell left in one of these takes it. Where these do not decide, the
solver tries each option of a cell that has the fewest.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Bool, Int, Int8, UInt8, UInt16

BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}
"""Rows and columns of a box, by the size of the grid."""
Boards = Int8[np.ndarray, "count cells"]
Options = UInt16[np.ndarray, "count cells"]
_AT_ONCE = 64, 4096  # boards of a search at a time: depth first for a few, bounded in memory for many
_BITS = np.array([number.bit_count() for number in range(1 << max(BOXES))], dtype=np.uint8)


@dataclass(frozen=True)
class Grid:
    """The rows, columns and boxes of a grid."""

    size: int

    @property
    def cells(self) -> int:
        """Cells of a board."""
        return self.size**2

    @property
    def every(self) -> int:
        """The options of a cell of which nothing is known."""
        return (1 << self.size) - 1

    @cached_property
    def units(self) -> Int[np.ndarray, "units size"]:
        """The cells of each row, then of each column, then of each box."""
        cells = np.arange(self.cells).reshape(self.size, self.size)
        high, wide = BOXES[self.size]
        boxes = cells.reshape(wide, high, high, wide).transpose(0, 2, 1, 3).reshape(self.size, self.size)
        return np.concatenate([cells, cells.T, boxes])

    @cached_property
    def units_of(self) -> Int[np.ndarray, "cells 3"]:
        """The row, the column and the box of each cell."""
        return np.argsort(self.units.reshape(-1), kind="stable").reshape(self.cells, 3) // self.size

    def repeated(self, boards: Boards) -> Bool[np.ndarray, "count units"]:
        """Mark the rows, columns and boxes in which a digit stands twice; 0 is no digit."""
        inside = np.sort(boards[:, self.units], axis=2)
        twice: Bool[np.ndarray, "count units"] = np.any(
            (inside[:, :, 1:] == inside[:, :, :-1]) & (inside[:, :, 1:] > 0), axis=2
        )
        return twice

    def options(self, boards: Boards) -> Options:
        """Return one option where there is a digit, and all where there is 0."""
        bits = np.left_shift(1, np.maximum(boards.astype(np.int64) - 1, 0))
        return np.where(boards > 0, bits, self.every).astype(np.uint16)

    def boards(self, options: Options) -> Boards:
        """Return the digits of boards that are solved."""
        return (_BITS[options - 1] + 1).astype(np.int8)


@lru_cache
def grid_of(size: int) -> Grid:
    """Return the grid of a size."""
    return Grid(size)


def num_options(options: Options) -> UInt8[np.ndarray, "count cells"]:
    """Count the options of each cell."""
    return _BITS[options]


def narrow(options: Options, grid: Grid) -> tuple[Options, Bool[np.ndarray, " count"]]:
    """Apply both rules until they change nothing; say which boards are not contradictory."""
    options, sound = options.copy(), np.ones(len(options), dtype=np.bool_)
    going = np.arange(len(options))
    while len(going):
        before = options[going]
        after, holds = _narrow_once(before, grid)
        options[going] = after
        sound[going] = holds
        going = going[holds & (after != before).any(axis=1)]
    return options, sound


def _narrow_once(options: Options, grid: Grid) -> tuple[Options, Bool[np.ndarray, " count"]]:
    known = num_options(options) == 1
    placed = np.where(known, options, 0).astype(np.uint16)[:, grid.units]
    used = np.bitwise_or.reduce(placed, axis=2)
    clash = _BITS[used] != known[:, grid.units].sum(axis=2)
    taken = np.bitwise_or.reduce(used[:, grid.units_of], axis=2)
    left = np.where(known, options, options & ~taken)
    inside = left[:, grid.units]
    once, twice = np.zeros_like(used), np.zeros_like(used)
    for place in range(grid.size):
        twice |= once & inside[:, :, place]
        once |= inside[:, :, place]
    alone = np.bitwise_or.reduce((once & ~twice)[:, grid.units_of], axis=2) & left
    bad = clash.any(axis=1) | (once != grid.every).any(axis=1) | (_BITS[alone] > 1).any(axis=1)
    return np.where(alone > 0, alone, left), ~bad


def solve(options: Options, grid: Grid, most: int = 1) -> tuple[Int[np.ndarray, " count"], Options]:
    """Count the solutions of each board, up to `most`; return the first that was found of each, too."""
    counts, found = np.zeros(len(options), dtype=np.int64), options.copy()
    waiting, whose = options, np.arange(len(options))
    width = int(np.clip(2 * len(options), *_AT_ONCE))
    while len(waiting):
        now, owner = waiting[-width:], whose[-width:]
        waiting, whose = waiting[:-width], whose[:-width]
        open_ = counts[owner] < most
        now, sound = narrow(now[open_], grid)
        now, owner = now[sound], owner[open_][sound]
        done = (num_options(now) == 1).all(axis=1)
        found[owner[done]] = now[done]
        np.add.at(counts, owner[done], 1)
        children, parents = _branch(now[~done], grid)
        waiting = np.concatenate([waiting, children])
        whose = np.concatenate([whose, owner[~done][parents]])
    return np.minimum(counts, most), found


def _branch(
    options: Options, grid: Grid
) -> tuple[UInt16[np.ndarray, "children cells"], Int[np.ndarray, " children"]]:
    """Try each option of a cell that has the fewest; return the boards, and the numbers of their parents."""
    count = num_options(options)
    cell = np.where(count > 1, count, grid.size + 1).argmin(axis=1)
    rows = np.arange(len(options))
    bits = np.left_shift(1, np.arange(grid.size)).astype(np.uint16)
    parents, digits = np.nonzero(options[rows, cell][:, None] & bits)
    children = options[parents]
    children[np.arange(len(parents)), cell[parents]] = bits[digits]
    return children, parents
