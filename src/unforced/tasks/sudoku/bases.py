"""Sudoku puzzles that problems are made from: drawn at random, each with exactly one solution.

A solved grid is filled cell by cell, a random digit in a cell that has the fewest options, and begun anew at
a contradiction; so grids are not quite uniform. Then cells are emptied in random order, each one only if no
other digit can stand there, until as many givens are left as were asked for; if that many are never reached,
another grid is tried.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Int, UInt64

from unforced.tasks.sudoku.grid import Boards, Grid, Options, grid_of, narrow, num_options, solve
from unforced.tasks.sudoku.symmetry import family

FEWEST_GIVENS = {4: 4, 6: 9, 9: 23}
"""The fewest givens that are reached in reasonable time, by size; 4, 8 and 17 are known to be possible."""
_CHUNK = 250


@dataclass(frozen=True)
class Bases:
    """Puzzles (0 is an empty cell), their solutions, and a hash that symmetric puzzles share."""

    givens: Boards
    solutions: Boards
    families: UInt64[np.ndarray, " count"]


@lru_cache(maxsize=8)
def made_bases(size: int, fewest: int, most: int, count: int) -> Bases:
    """Make puzzles with a number of givens that is uniform in fewest..most; always the same ones."""
    grid, parts = grid_of(size), []
    for number in range(-(-count // _CHUNK)):
        seeds = np.random.SeedSequence((size, fewest, most), spawn_key=(number,))
        parts.append(_puzzles(np.random.default_rng(seeds), (fewest, most), grid))
    givens, solutions = (np.concatenate(each)[:count] for each in zip(*parts, strict=True))
    return Bases(givens, solutions, family(givens, grid))


def _puzzles(rng: np.random.Generator, bounds: tuple[int, int], grid: Grid) -> tuple[Boards, Boards]:
    targets = rng.integers(bounds[0], bounds[1] + 1, size=_CHUNK)
    givens, solutions = np.zeros((2, _CHUNK, grid.cells), dtype=np.int8)
    waiting = np.arange(_CHUNK)
    while len(waiting):
        solutions[waiting] = solved(rng, len(waiting), grid)
        givens[waiting] = _emptied(rng, solutions[waiting], targets[waiting], grid)
        waiting = waiting[(givens[waiting] > 0).sum(axis=1) > targets[waiting]]
    return givens, solutions


def solved(rng: np.random.Generator, count: int, grid: Grid) -> Boards:
    """Draw solved grids."""
    options = np.full((count, grid.cells), grid.every, dtype=np.uint16)
    waiting = np.arange(count)
    while len(waiting):
        now, sound = narrow(_guessed(rng, options[waiting], grid), grid)
        now[~sound] = grid.every
        options[waiting] = now
        waiting = waiting[(num_options(now) > 1).any(axis=1)]
    return grid.boards(options)


def _guessed(rng: np.random.Generator, options: Options, grid: Grid) -> Options:
    """Write a random option into one of the cells that have the fewest."""
    count, rows = num_options(options), np.arange(len(options))
    cell = (np.where(count > 1, count, grid.size + 1) + rng.random(count.shape)).argmin(axis=1)
    bits = np.left_shift(1, np.arange(grid.size)).astype(np.uint16)
    there = (options[rows, cell][:, None] & bits) > 0
    guessed = options.copy()
    guessed[rows, cell] = bits[np.where(there, rng.random(there.shape), -1.0).argmax(axis=1)]
    return guessed


def _emptied(
    rng: np.random.Generator, solutions: Boards, targets: Int[np.ndarray, " count"], grid: Grid
) -> Boards:
    """Empty cells as long as no second solution appears and there are more givens than asked for."""
    givens, bits = solutions.copy(), grid.options(solutions)
    order = np.argsort(rng.random(solutions.shape), axis=1)
    for step in range(grid.cells):
        going = np.flatnonzero((givens > 0).sum(axis=1) > targets)
        cells = order[going, step]
        trial = givens[going]
        trial[np.arange(len(going)), cells] = 0
        options = grid.options(trial)
        options[np.arange(len(going)), cells] &= ~bits[going, cells]
        another, _ = solve(options, grid)
        removed = another == 0
        givens[going[removed], cells[removed]] = 0
    return givens
