"""Training speed of several runs at once, against one.

    python -m benchmarks.stacked [dotted.key=value ...]

The quickstart's model and problems; runs that differ in their seeds, in one process. The numbers of runs are
measured in turn, several times; printed are medians of samples/s of all runs together, and the ratio to a
single run's with the least and the most.
"""

import statistics
import sys
from collections.abc import Callable, Sequence

from benchmarks.training import timed
from unforced.config import Run
from unforced.recipes import resolve_run
from unforced.training.captured import CapturedStep
from unforced.training.loop import Trainer, start_accelerator
from unforced.training.stacked import Member, StackedStep
from unforced.training.store import MemoryStore


def main(
    overrides: Sequence[str], sizes: Sequence[int] = (1, 4, 16, 64), rounds: int = 5, steps: int = 20
) -> None:
    """Measure and print."""
    run = resolve_run("quickstart.next_token", ["model.attention=math", *overrides])
    trainers = [_trainer(run.replace(seed=seed)) for seed in range(max(sizes))]
    device = trainers[0].device
    takers = {size: _taker(trainers[:size]) for size in sizes}
    speeds: dict[int, list[float]] = {size: [] for size in sizes}
    for size in sizes:
        takers[size](4)  # until the step is captured, where it is
    for _ in range(rounds):
        for size, take in takers.items():
            seconds = timed(lambda take=take: take(steps), device)
            speeds[size].append(size * steps * run.batch_size / seconds)
    print(f"{run.title}, batch {run.batch_size}, {device}")
    print("runs   samples/s of all   against one run alone")
    for size in sizes:
        ratios = [one / alone for one, alone in zip(speeds[size], speeds[sizes[0]], strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{size:4}   {statistics.median(speeds[size]):16,.0f}   {spread}")


def _trainer(run: Run) -> Trainer:
    return Trainer(run, MemoryStore(), start_accelerator(run))


def _taker(trainers: Sequence[Trainer]) -> Callable[[int], None]:
    """Return what takes some steps of all trainers: alone as usual, several as a stack."""
    if len(trainers) == 1:
        return lambda steps: [trainers[0].step() for _ in range(steps)] and None
    fresh = [_trainer(trainer.run) for trainer in trainers]
    members = [Member(trainer.run, trainer.train_module, trainer.optimizer) for trainer in fresh]
    stack = StackedStep(members, fresh[0].device)
    step = CapturedStep(stack, print) if stack.device.type == "cuda" else stack

    def take(steps: int) -> None:
        for _ in range(steps):
            inputs = [trainer.inputs() for trainer in fresh]
            step([view for views, _ in inputs for view in views], [rate for _, rate in inputs])
            for trainer in fresh:
                trainer.progress.step += 1

    return take


if __name__ == "__main__":
    main(sys.argv[1:])
