"""Run in two processes by test_distributed.py: `resume`, a run straight on, and one stopped on its way; and
`refused`, a run into a folder that is locked.
"""

import os
import sys
from pathlib import Path
from unittest import mock

from tests.runs import Silent, stop_at, tiny_run, train
from unforced.errors import UserError
from unforced.training import loop


def resume(folder):
    run = tiny_run("evaluate_every=15", "checkpoint_every=1000")
    always = {"_SECONDS_BETWEEN_CHECKPOINTS": 0.0, "_TRAINING_PER_SAVING": 0.0}
    with mock.patch.multiple(loop, **always):  # at every step that all can agree on
        train(run, folder / "straight")
    second = os.environ["RANK"] == "1"
    train(run, folder / "stopped", observer=stop_at(15) if second else Silent())
    train(run, folder / "stopped", resume=True)


def refused(folder):
    try:
        train(tiny_run(), folder / "run")
    except UserError as error:
        (folder / f"refusal of {os.environ['RANK']}").write_text(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    {"resume": resume, "refused": refused}[sys.argv[1]](Path(sys.argv[2]))
