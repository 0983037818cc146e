"""How fast problems are made, on one thread.

Counts everything between nothing and symbols: sampling, hashing, rejection of what other splits own, prompts
and answers. Beside it, an argsort of a row of random numbers per problem, so that machines compare.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from unforced.bench.plan import Plan
from unforced.bench.timing import ratios, spread
from unforced.tasks.base import Task
from unforced.tasks.sampling import SPLITS, make_block

_SORTED = 50
"""Random numbers in a row."""


def measure_data(plan: Plan, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return a row per task and split; ratio: problems made in the time of an argsort of a row."""
    rows = []
    for task in plan.tasks:
        for split in SPLITS:
            say(f"problems: {task}, {split}")
            rows.append(_row(task, split, plan.rounds))
    return rows


def _row(task: Task, split: str, rounds: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    made, sorted_ = [], []
    for index in range(rounds):
        numbers = rng.random((task.block_size, _SORTED))
        sorted_.append(_rate(partial(np.argsort, numbers, axis=1), task.block_size))
        made.append(_rate(partial(_make, task, split, index), task.block_size))
    return {
        "task": str(task),
        "split": split,
        "problems_per_second": spread(made),
        "over_argsort": ratios(made, sorted_),
    }


def _make(task: Task, split: str, index: int) -> None:
    problems = make_block(task, 0, split, index)
    task.prompts(problems)
    task.answers(problems)


def _rate(function: Callable[[], object], amount: int) -> float:
    started = time.perf_counter()
    function()
    return amount / (time.perf_counter() - started)
