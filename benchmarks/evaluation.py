"""What evaluation costs: free answers to 20,000 problems against training on 20,000.

    python -m benchmarks.evaluation [dotted.key=value ...]

The model is that of benchmarks.training. The two are measured in turn.
"""

import statistics
import sys
from collections.abc import Sequence

from benchmarks.training import paper_trainer, timed
from unforced.evaluation.evaluator import Evaluator, answers
from unforced.training.cpu import flushed_denormals, keep_freed_memory
from unforced.training.source import split_problems


def main(overrides: Sequence[str], rounds: int = 5, num_problems: int = 20_000) -> None:
    """Measure and print."""
    trainer = paper_trainer(overrides)
    run = trainer.run
    trainer.select_kernels({})
    keep_freed_memory()
    trainer.step()
    evaluator = Evaluator.of(run, trainer.train_module)
    problems = split_problems(run, "test", num_problems // rounds)
    steps = num_problems // rounds // run.batch_size
    training, free = [], []
    for _ in range(rounds):
        with flushed_denormals():
            training.append(timed(lambda: [trainer.step() for _ in range(steps)], trainer.device))
        free.append(timed(lambda: answers(evaluator, problems, evaluator.free), trainer.device))
    ratios = [ours / theirs for ours, theirs in zip(free, training, strict=True)]
    print(f"{run.task}, {run.objective.name}, {trainer.device}")
    print(f"training on {num_problems:,} problems      {sum(training):8.1f} s")
    print(f"free answers to {num_problems:,} problems  {sum(free):8.1f} s")
    print(
        f"evaluation / training  {statistics.median(ratios):8.2f}   ({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
