"""Training speed of several runs at once, against one."""

from collections.abc import Callable, Sequence
from typing import Any

from unforced.bench.plan import Plan, title, trainer_of
from unforced.bench.timing import Take, in_turn, rates, ratios, taker
from unforced.training.cpu import flushed_denormals
from unforced.training.loop import Trainer
from unforced.training.together import stepper


def measure_stacked(plan: Plan, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return a row per number of runs, which differ in their seeds; samples/s are those of all together."""
    run = plan.stacked
    say(f"several runs at once: {title(run)}")
    takers = {
        str(count): _taker([trainer_of(run.replace(seed=seed)) for seed in range(count)])
        for count in plan.stacks
    }
    with flushed_denormals():
        seconds = in_turn(takers, plan.rounds, plan.seconds, plan.device)
    each = {count: [taken / count for taken in seconds[str(count)]] for count in plan.stacks}
    return [
        {
            "runs": count,
            "samples_per_second": rates(run.batch_size, each[count]),
            "ratio": ratios(each[plan.stacks[0]], each[count]),
        }
        for count in plan.stacks
    ]


def _taker(trainers: Sequence[Trainer]) -> Take:
    """Return what takes steps of all trainers: of one as usual, of several as a stack."""
    device = trainers[0].device
    if len(trainers) == 1:
        return taker(trainers[0].step, device)
    return taker(stepper(trainers, trainers[0].say), device)
