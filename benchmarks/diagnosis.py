"""What a diagnosis costs: all that is asked about 20,000 problems against free answers to them.

    python -m benchmarks.diagnosis [dotted.key=value ...]

The model has 6 layers of width 384. The two are measured in turn.
"""

import sys
from collections.abc import Sequence

from unforced.bench.plan import trainer_of
from unforced.bench.timing import ratios, timed
from unforced.evaluation.diagnosis import diagnose
from unforced.evaluation.evaluator import Evaluator, answers
from unforced.evaluation.probe import probe
from unforced.recipes import resolve_run
from unforced.reporting.bench import between
from unforced.training.cpu import keep_freed_memory
from unforced.training.source import split_problems


def main(overrides: Sequence[str], rounds: int = 5, num_problems: int = 20_000) -> None:
    """Measure and print."""
    sizes = ["batch_size=64", "num_train=20000", "model.layers=6"]
    trainer = trainer_of(resolve_run("paper_gpt_mini", [*sizes, *overrides]))
    run = trainer.run
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
    print(f"{what:<43} {sum(ours):5.1f} s, times {between(ratios(ours, free), digits=2)}")


if __name__ == "__main__":
    main(sys.argv[1:])
