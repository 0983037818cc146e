"""Golden files: each recipe's resolved config, and a 20-step loss curve per objective and order.

`make golden` writes them afresh; a change that should move no number leaves them as they are.
"""

import json
from pathlib import Path

from tests.runs import tiny_run, unchecked
from unforced.config import Run, flatten
from unforced.evaluation.glossary import metrics_page
from unforced.recipes import recipe_names, resolve
from unforced.registry import OBJECTIVES
from unforced.training.loop import Trainer, start_accelerator
from unforced.training.store import MemoryStore

FOLDER = Path(__file__).parent


def config_lines(run):
    return "".join(f"{path}: {json.dumps(value)}\n" for path, value in flatten(run.tree()).items())


def configs():
    """The file name and content of each recipe that is one run."""
    for name in recipe_names():
        run = resolve(name, [])
        if isinstance(run, Run):
            yield FOLDER / "configs" / f"{name}.txt", config_lines(run)


def curves():
    """The file and the run of each loss curve."""
    for objective in OBJECTIVES.names():
        for order in ("forward", "reversed"):
            overrides = ["max_steps=20", "evaluate_every=1", f"order={order}"]
            run = tiny_run(f"objective={objective}", *overrides)
            yield FOLDER / "losses" / f"{objective}-{order}.txt", run


def losses(run):
    with unchecked():
        trainer = Trainer(run, MemoryStore(), start_accelerator(run))  # which measures nothing
        trainer.fit()
    return [line["loss"] for line in trainer.store.lines[1:]]


def main():
    for folder in ("configs", "losses"):
        (FOLDER / folder).mkdir(exist_ok=True)
    for file, content in configs():
        file.write_text(content)
    (FOLDER.parent.parent / "docs" / "metrics.md").write_text(metrics_page())
    for file, run in curves():
        file.write_text("".join(f"{loss!r}\n" for loss in losses(run)))


if __name__ == "__main__":
    main()
