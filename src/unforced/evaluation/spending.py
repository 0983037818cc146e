"""What runs spend until they are solved, in steps, samples, FLOPs or seconds; success at equal amounts.

All is read off the lines of metrics.jsonl and the FLOPs of a sample, so that one run answers for each amount
up to its own. A run is solved where `steps_to` says so: at the first of two evaluations in a row with an
exact match of 99% on validation problems. It stays solved beyond its end. One that diverged is never solved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from unforced.evaluation.outcomes import outcomes_of, success
from unforced.evaluation.statistics import Estimate
from unforced.runs.finished import FinishedRun
from unforced.runs.groups import Group
from unforced.runs.history import training_seconds

Axis = Literal["steps", "samples", "flops", "seconds"]
AXES: tuple[Axis, ...] = get_args(Axis)


@dataclass(frozen=True)
class Spending:
    """The amount after which a seed was solved, or up to which it is known not to be (inf: for ever)."""

    amount: int | float
    solved: bool


def flops_per_sample(run: FinishedRun) -> int | float | None:
    """Return the operations of training on a problem; None if they are not recorded."""
    result = run.result
    if "flops_per_sample" not in result and result.get("flops") and result.get("samples"):
        return float(result["flops"] / result["samples"])
    return result.get("flops_per_sample")


def spent(run: FinishedRun, axis: Axis, step: int) -> int | float | None:
    """Return what a run has spent by a step; None if that is not recorded.

    Seconds are those of training, without evaluations and checkpoints; between evaluations they are
    interpolated.
    """
    if axis == "seconds":
        seconds = training_seconds(run.lines)
        return (
            None if seconds is None else float(np.interp(step, [line["step"] for line in run.lines], seconds))
        )
    samples = step * int(run.tree["batch_size"])
    of_one = flops_per_sample(run)
    amounts = {"steps": step, "samples": samples, "flops": None if of_one is None else samples * of_one}
    return amounts[axis]


def spendings(group: Group, axis: Axis) -> list[Spending] | None:
    """Return the spending of each seed, in their order; None if it is not recorded for all."""
    found = []
    for run, outcome in zip(group.runs, outcomes_of(group, "free.exact").values(), strict=True):
        amount = spent(run, axis, outcome.steps)
        if amount is None:
            return None
        found.append(Spending(float("inf") if outcome.failure else amount, outcome.solved_on_the_way))
    return found


def common_amount(groups: Sequence[Group], axis: Axis) -> int | float | None:
    """Return the largest amount at which the outcome of every seed of these groups is known; None: unknown.

    It is the least amount of a seed that was not solved; if all were, the largest after which one was.
    """
    found = [spendings(group, axis) for group in groups]
    seeds = [seed for seeds in found if seeds is not None for seed in seeds]
    if not seeds or None in found:
        return None
    open_ended = [seed.amount for seed in seeds if not seed.solved and np.isfinite(seed.amount)]
    return min(open_ended) if open_ended else max((s.amount for s in seeds if s.solved), default=None)


def success_at(group: Group, axis: Axis, amount: int | float) -> Estimate:
    """Return the fraction of seeds that were solved by an amount, with its Wilson interval."""
    seeds = spendings(group, axis)
    assert seeds is not None
    return success([seed.solved and seed.amount <= amount for seed in seeds])
