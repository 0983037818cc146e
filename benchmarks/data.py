"""How fast problems are made: G(2,5), N=50, on one core.

    OMP_NUM_THREADS=1 python -m benchmarks.data

Counts everything between nothing and token ids: sampling, hashing, rejection of what other splits own,
prompts and answers. Beside it: a plain argsort of as many random numbers, so that machines compare.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np

from unforced.tasks.path_star import PathStar
from unforced.tasks.sampling import SPLITS, make_block


def main(rounds: int = 9) -> None:
    """Measure and print."""
    task = PathStar(degree=2, path_length=5, num_nodes=50)
    rng = np.random.default_rng(0)
    for split in SPLITS:
        rates, argsorts = [], []
        for index in range(rounds):
            argsorts.append(
                rate(lambda: np.argsort(rng.random((PathStar.block_size, task.num_nodes)), axis=1))
            )
            rates.append(rate(lambda split=split, index=index: generate(task, split, index)))
        ratio = statistics.median(ours / theirs for ours, theirs in zip(rates, argsorts, strict=True))
        print(
            f"{task}, {split:<10} {statistics.median(rates):10,.0f} problems/s, "
            f"{ratio:.2f} x an argsort of {task.num_nodes} random numbers a problem"
        )


def generate(task: PathStar, split: str, index: int) -> None:
    """Make one block of problems and write prompts and answers."""
    problems = make_block(task, 0, split, index)
    task.prompts(problems)
    task.answers(problems)


def rate(function: Callable[[], object]) -> float:
    """Return rows of a block per second."""
    started = time.perf_counter()
    function()
    return PathStar.block_size / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
