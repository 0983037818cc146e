"""Reproducible, disjoint streams of problems.

The problem at (task, seed, split, index) is a pure function of those four. Streams are cut into blocks;
block b of a split draws from `SeedSequence(seed, spawn_key=(split, b))`, so any part can be made
without the parts before it, and neighbouring seeds share nothing.

Splits are disjoint by construction: a hash of the problem's *family* (path-star: its graph, in whatever
wording and whatever the goal) decides which split owns it, and each split rejects what it does not own.
Ownership does not depend on the seed, so a test problem is in no training set of any run, and neither is
its graph with another goal.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, UInt64

from unforced.errors import UserError
from unforced.tasks.base import Problems, Task

Split = Literal["train", "validation", "test"]
SPLITS: dict[Split, int] = {"train": 0, "validation": 1, "test": 2}
BLOCK = 4096
_SHARES = np.array([0.8, 0.1, 0.1])
_MAX_EMPTY_DRAWS = 1 << 20
_POOL = 1 << 22  # labels shuffled at once; bounds the memory of a draw


def owner(families: UInt64[np.ndarray, " count"]) -> Int[np.ndarray, " count"]:
    """Return the number of the split that owns each family: 80% train, 10% validation, 10% test."""
    bounds = np.cumsum(_SHARES)[:-1] * 2.0**64
    return np.searchsorted(bounds.astype(np.uint64), families, side="right")


def draw_distinct(
    rng: np.random.Generator, high: int, size: tuple[int, int]
) -> Int[np.ndarray, "count chosen"]:
    """Draw rows of distinct integers from {0..high-1}, uniformly: a partial Fisher-Yates shuffle."""
    count, chosen = size
    uniforms = rng.random((chosen, count))
    drawn = np.empty((chosen, count), dtype=np.int32)
    rows_at_once = max(1, _POOL // high)
    for first in range(0, count, rows_at_once):
        rows = slice(first, first + rows_at_once)
        drawn[:, rows] = _shuffle(high, uniforms[:, rows])
    return drawn.T


def _shuffle(high: int, uniforms: Float[np.ndarray, "chosen count"]) -> Int[np.ndarray, "chosen count"]:
    chosen, count = uniforms.shape
    pool = np.tile(np.arange(high, dtype=np.int32), count)
    row = np.arange(count, dtype=np.int64) * high
    drawn = np.empty((chosen, count), dtype=np.int32)
    for i, uniform in enumerate(uniforms):
        other = row + i + (uniform * (high - i)).astype(np.int64)
        drawn[i] = pool[other]
        pool[other] = pool[row + i]
    return drawn


def hash_rows(rows: Integer[np.ndarray, "count length"]) -> UInt64[np.ndarray, " count"]:
    """Hash each row of integers to 64 bits (the splitmix64 finaliser, folded over the columns)."""
    digest = np.full(len(rows), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in rows.T.astype(np.uint64):
        digest = _mix(digest ^ (column + np.uint64(1)))
    return digest


def _mix(x: UInt64[np.ndarray, " count"]) -> UInt64[np.ndarray, " count"]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def block(task: Task, seed: int, split: Split, index: int) -> Problems:
    """Generate block `index` of a split: `BLOCK` problems.

    Raises UserError if the task has so few problems that the split owns none.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(SPLITS[split], index)))
    draws = int(1.05 * BLOCK / _SHARES[SPLITS[split]])
    parts: list[Problems] = []
    accepted = drawn = 0
    while accepted < BLOCK:
        candidates = task.sample(rng, draws)
        owned: Bool[np.ndarray, " draws"] = owner(task.families(candidates)) == SPLITS[split]
        parts.append(candidates.take(owned))
        accepted += int(owned.sum())
        drawn += draws
        if accepted == 0 and drawn > _MAX_EMPTY_DRAWS:
            raise UserError(f"task: {task} has too few problems: none of them falls to the {split} split")
    return type(parts[0]).concatenate(parts).take(slice(BLOCK))


def problems(task: Task, seed: int, split: Split, start: int, count: int) -> Problems:
    """Generate problems `start` to `start + count - 1` of a split's stream (`count` >= 1)."""
    if start < 0 or count < 1:
        raise ValueError(f"start {start} and count {count} name no problems")
    first, last = start // BLOCK, (start + count - 1) // BLOCK
    parts = [block(task, seed, split, index) for index in range(first, last + 1)]
    offset = start - first * BLOCK
    return type(parts[0]).concatenate(parts).take(slice(offset, offset + count))
