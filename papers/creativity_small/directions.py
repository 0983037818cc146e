"""Count creative answers of finished runs of `circle` or `line` again, with the directions of edges ignored.

python papers/creativity_small/directions.py runs/creativity_small/line-*
"""

import sys
from pathlib import Path

from unforced.evaluation.creativity import Creativity, forms_of
from unforced.evaluation.evaluator import Evaluator, answers
from unforced.experiment import load_run
from unforced.training.source import split_problems


def count_again(folder: Path) -> str:
    """Return a row of the table: creative answers in percent, with directions kept and ignored."""
    loaded = load_run(folder)
    run = loaded.run
    evaluator = Evaluator.of(run, loaded.train_module)
    asked, trained = split_problems(run, "test", run.num_test), split_problems(run, "train", run.num_train)
    said = answers(evaluator, asked, evaluator.free)
    shares = []
    for directions in ("kept", "ignored"):
        task = run.task.model_copy(update={"directions": directions})
        known, coherent = forms_of(task, task.answers(trained)), task.score(asked, said).exact
        found = Creativity.of(task.of_a_set, said, coherent, known)
        shares.append(f"{100 * found.creative / found.total:.1f}")
    return f"| {folder.name} | {' | '.join(shares)} |"


if __name__ == "__main__":
    print("| run | directions kept | ignored |", "|---|---|---|", sep="\n")
    for name in sys.argv[1:]:
        print(count_again(Path(name)), flush=True)
