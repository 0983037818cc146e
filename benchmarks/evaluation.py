"""What evaluation costs: free answers to 20,000 problems against training on 20,000.

    python -m benchmarks.evaluation [dotted.key=value ...]

The model is that of benchmarks.training. The two are measured in turn.
"""

import statistics
import sys
from pathlib import Path

from benchmarks.training import timed
from unforced.cli.progress import PlainLines
from unforced.evaluation.accuracy import measure
from unforced.evaluation.subject import Subject, answers
from unforced.recipes import resolve_run
from unforced.training.folder import RunFolder
from unforced.training.loop import Trainer, start_accelerator
from unforced.training.processor import flushed_denormals, keep_freed_memory
from unforced.training.source import split_problems

ROUNDS, PROBLEMS = 5, 20_000


def main() -> None:
    """Measure and print."""
    run = resolve_run("paper_gpt_mini", ["batch_size=64", "num_train=20000", "model.layers=6", *sys.argv[1:]])
    trainer = Trainer(
        run, RunFolder(Path("nowhere")), start_accelerator(run), measure, PlainLines(quiet=True)
    )
    trainer.tune({})
    keep_freed_memory()
    trainer.step()
    subject = Subject.of(run, trainer.learner)
    problems = split_problems(run, "test", PROBLEMS // ROUNDS)
    steps = PROBLEMS // ROUNDS // run.batch_size
    training, free = [], []
    for _ in range(ROUNDS):
        with flushed_denormals():
            training.append(timed(lambda: [trainer.step() for _ in range(steps)], trainer.device))
        free.append(timed(lambda: answers(subject, problems, subject.decode), trainer.device))
    ratios = [ours / theirs for ours, theirs in zip(free, training, strict=True)]
    print(f"{run.task}, {run.objective.name}, {trainer.device}")
    print(f"training on {PROBLEMS:,} problems      {sum(training):8.1f} s")
    print(f"free answers to {PROBLEMS:,} problems  {sum(free):8.1f} s")
    print(
        f"evaluation / training  {statistics.median(ratios):8.2f}   ({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
