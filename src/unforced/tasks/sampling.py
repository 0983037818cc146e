"""Reproducible, disjoint streams of problems.

The problem at (task, seed, split, index) is a pure function of those four. Streams are cut into blocks;
block b of a split draws from `SeedSequence(seed, spawn_key=(split, b))`, so any part can be made
without the parts before it, and neighbouring seeds share nothing. Blocks are kept in memory while there is
room for them, so that evaluating again on the same problems does not make them again.

Splits are disjoint by construction: `Task.owners` (a hash of the problem's *family*: for path-star its graph,
in whatever wording and whatever the goal) decides which split owns it, and each split rejects what it does
not own.
Ownership does not depend on the seed, so a test problem is in no training set of any run, and neither is
its graph with another goal.

Of a split whose problems are a list (`Task.listed`), a stream is that list again and again, in an order drawn
from `SeedSequence(seed, spawn_key=(split, pass))` for each pass.
"""

from collections import OrderedDict
from dataclasses import fields
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, UInt64

from unforced.errors import UserError, unknown
from unforced.tasks.base import Problems, Task

Split = str
_Key = tuple[type[Task], str, int, Split, int]
SPLITS = ("train", "validation", "test")
"""The splits that every task has."""
_SPAWN_KEYS = {name: number for number, name in enumerate(SPLITS)}
_FIRST_OF_OTHERS = 1 << 16  # spawn key of a task's first other split; lower ones are used for training
_MAX_EMPTY_DRAWS = 1 << 20
_MOST_KEPT = 256 << 20  # bytes of blocks
_POOL = 1 << 22  # labels shuffled at once; bounds the memory of a draw


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


def hash_rows(
    rows: Integer[np.ndarray, "count length"], before: UInt64[np.ndarray, " count"] | None = None
) -> UInt64[np.ndarray, " count"]:
    """Hash each row of integers to 64 bits (the splitmix64 finaliser, folded over the columns).

    before: the hashes of columns that stand before these.
    """
    digest = np.full(len(rows), 0x9E3779B97F4A7C15, dtype=np.uint64) if before is None else before
    for column in rows.T.astype(np.uint64):
        digest = _mix(digest ^ (column + np.uint64(1)))
    return digest


def _mix(x: UInt64[np.ndarray, " count"]) -> UInt64[np.ndarray, " count"]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class _Kept:
    """Blocks made before, the latest used of them, up to `most` bytes."""

    def __init__(self, most: int) -> None:
        self.most, self.used = most, 0
        self.blocks: OrderedDict[_Key, Problems] = OrderedDict()

    def get(self, key: _Key) -> Problems | None:
        """Return a block if it is there."""
        if key in self.blocks:
            self.blocks.move_to_end(key)
        return self.blocks.get(key)

    def keep(self, key: _Key, made: Problems) -> None:
        """Keep a block, and drop those that were not used for the longest time if there is no room."""
        self.blocks[key] = made
        self.used += made.nbytes
        while self.used > self.most:
            self.used -= self.blocks.popitem(last=False)[1].nbytes


_kept = _Kept(_MOST_KEPT)


def block(task: Task, seed: int, split: Split, index: int) -> Problems:
    """Return block `index` of a split: `task.block_size` problems, whose arrays must not be changed.

    Raises UserError if the task has no such split, or so few problems that the split owns none.
    """
    key = (type(task), task.model_dump_json(), seed, split, index)
    made = _kept.get(key)
    if made is None:
        made = make_block(task, seed, split, index)
        for field in fields(made):
            getattr(made, field.name).flags.writeable = False
        _kept.keep(key, made)
    return made


def make_block(task: Task, seed: int, split: Split, index: int) -> Problems:
    """Make block `index` of a split; `block` keeps it."""
    number, share = check_split(task, split), task.splits[split]
    spawn = _SPAWN_KEYS.get(split, _FIRST_OF_OTHERS + number)
    listed = task.listed(split)
    if listed is not None:
        return listed.take(_places(len(listed), seed, spawn, index * task.block_size, task.block_size))
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(spawn, index)))
    draws = int(1.05 * task.block_size / share)
    parts: list[Problems] = []
    accepted = drawn = 0
    while accepted < task.block_size:
        candidates = task.sample(rng, draws)
        owned: Bool[np.ndarray, " draws"] = task.owners(candidates) == number
        parts.append(candidates.take(owned))
        accepted += int(owned.sum())
        drawn += draws
        if accepted == 0 and drawn > _MAX_EMPTY_DRAWS:
            raise UserError(f"task: {task} has too few problems: none of them falls to the {split} split")
    return type(parts[0]).concatenate(parts).take(np.arange(task.block_size))


def _places(length: int, seed: int, spawn: int, start: int, count: int) -> Int[np.ndarray, " count"]:
    """Return places in a list of `length` problems, each pass over them in an order of its own."""
    passes, places = np.divmod(np.arange(start, start + count), length)
    chosen = np.empty(count, dtype=np.int64)
    for number in np.unique(passes).tolist():
        here = passes == number
        chosen[here] = _order(length, seed, spawn, number)[places[here]]
    return chosen


@lru_cache(maxsize=8)
def _order(length: int, seed: int, spawn: int, number: int) -> Int[np.ndarray, " length"]:
    order: Int[np.ndarray, " length"] = np.random.default_rng(
        np.random.SeedSequence(seed, spawn_key=(spawn, number))
    ).permutation(length)
    return order


def split_size(task: Task, split: Split) -> int | None:
    """Return how many problems a split has; None where they are drawn without end."""
    check_split(task, split)
    listed = task.listed(split)
    return None if listed is None else len(listed)


def all_problems(task: Task) -> Problems | None:
    """Return all problems of all splits, of a task that lists them; None if it does not."""
    found = [task.listed(split) for split in task.splits]
    parts = [part for part in found if part is not None]
    return type(parts[0]).concatenate(parts) if len(parts) == len(found) else None


def check_split(task: Task, split: Split) -> int:
    """Return the number of a task's split. Raises UserError if it has none of that name."""
    names = list(task.splits)
    if split not in names:
        raise unknown("split", split, names)
    return names.index(split)


def problems(task: Task, seed: int, split: Split, start: int, count: int) -> Problems:
    """Return problems `start` to `start + count - 1` of a split's stream (`count` >= 1)."""
    if start < 0 or count < 1:
        raise ValueError(f"start {start} and count {count} name no problems")
    size = task.block_size
    first, last = start // size, (start + count - 1) // size
    parts = [block(task, seed, split, index) for index in range(first, last + 1)]
    offset = start - first * size
    return type(parts[0]).concatenate(parts).take(slice(offset, offset + count))
