"""What a run of a stack holds in memory, against the estimate by which `--stack auto` chooses.

    python -m benchmarks.stack_memory [RECIPE [dotted.key=value ...]]       # quickstart.next_token

Stacks of two sizes are trained for a few steps, each in a process of its own. The difference of what these
hold at their most, over the runs that the larger one has more, is what a run holds. On a processor the
allocator's waste is part of it.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

from unforced.bench.memory import most_held
from unforced.bench.plan import trainer_of
from unforced.config import Run
from unforced.recipes import resolve_run
from unforced.training.cpu import keep_freed_memory
from unforced.training.footprint import bytes_of
from unforced.training.together import stepper

_STEPS = 5
_IN_A_PROCESS = "--held-here"
_MIB = 2**20


def main(recipe: str, overrides: Sequence[str], counts: tuple[int, int] = (2, 6)) -> None:
    """Measure and print."""
    run = resolve_run(recipe, overrides)
    small, large = (_held_by_a_process(run, count) for count in counts)
    each = (large - small) / (counts[1] - counts[0])
    print(f"{run.model.name}, {run.task}, {run.objective.name}, batch {run.batch_size}")
    print(f"a run of a stack holds {each / _MIB:.1f} MiB; by estimate {bytes_of(run) / _MIB:.1f} MiB")


def _held_by_a_process(run: Run, count: int) -> int:
    command = [sys.executable, "-m", "benchmarks.stack_memory", _IN_A_PROCESS]
    asked = json.dumps({"run": run.tree(), "count": count})
    done = subprocess.run(command, input=asked, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


def _held_here(run: Run, count: int) -> int:
    """Train a stack for a few steps; return the bytes that this process has held at its most."""
    keep_freed_memory()
    trainers = [trainer_of(run.replace(seed=seed)) for seed in range(count)]
    for trainer in trainers:
        trainer.select_kernels(run.model.stacked_kernels or {})
    step = stepper(trainers, trainers[0].say)
    for _ in range(_STEPS):
        step()
    return most_held(trainers[0].device) or 0


if __name__ == "__main__":
    if sys.argv[1:] == [_IN_A_PROCESS]:
        asked = json.load(sys.stdin)
        print(_held_here(Run.from_tree(asked["run"]), asked["count"]))
    else:
        main(sys.argv[1] if sys.argv[1:] else "quickstart.next_token", sys.argv[2:])
