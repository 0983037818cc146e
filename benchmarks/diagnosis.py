"""What a diagnosis costs: all that is asked about 20,000 problems against free answers to them.

    python -m benchmarks.diagnosis [dotted.key=value ...]

The model is that of benchmarks.training. The two are measured in turn.
"""

import statistics
import sys
from collections.abc import Sequence

from benchmarks.training import paper_trainer, timed
from unforced.evaluation.diagnosis import diagnose
from unforced.evaluation.evaluator import Evaluator, answers
from unforced.evaluation.probe import probe
from unforced.training.cpu import keep_freed_memory
from unforced.training.source import split_problems


def main(overrides: Sequence[str], rounds: int = 5, num_problems: int = 20_000) -> None:
    """Measure and print."""
    trainer = paper_trainer(overrides)
    run = trainer.run
    trainer.select_kernels({})
    keep_freed_memory()
    evaluator = Evaluator.of(run, trainer.train_module)
    held_out, train = (split_problems(run, split, num_problems // rounds) for split in ("test", "train"))
    free, probed, whole = [], [], []
    for _ in range(rounds):
        free.append(timed(lambda: answers(evaluator, held_out, evaluator.free), trainer.device))
        probed.append(timed(lambda: probe(evaluator, held_out), trainer.device))
        whole.append(timed(lambda: diagnose(evaluator, train, held_out), trainer.device))
    print(f"{run.task}, {run.objective.name}, {trainer.device}")
    print(f"free answers to {num_problems:,} problems            {sum(free):8.1f} s")
    show(f"all questions about {num_problems:,} held-out ones", probed, free)
    show(f"a whole diagnosis, {num_problems:,} training ones too", whole, free)


def show(what: str, ours: list[float], free: list[float]) -> None:
    """Print a time, and its ratio to that of free answers."""
    ratios = [mine / other for mine, other in zip(ours, free, strict=True)]
    print(
        f"{what:<43} {sum(ours):5.1f} s, {statistics.median(ratios):.2f} times "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
