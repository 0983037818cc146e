"""Run in two processes by test_distributed.py: a run straight on, and one stopped on its way; a run into a
folder that is locked; gradients of every objective, in our loop and in transformers' Trainer.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import IterableDataset

from tests.every_objective import every_objective
from tests.runs import Silent, stop_at, tiny_run, train
from tests.test_step import gradients_of
from tests.trainer import ROWS, offered, problem, step
from unforced.data import ProblemDataset
from unforced.errors import UserError
from unforced.objectives.next_token import NextToken
from unforced.tasks.path_star import PathStar
from unforced.training.timer import Rhythm


def resume(folder):
    run = tiny_run("evaluate_every=15", "checkpoint_every=1000")
    at_every_agreement = Rhythm(seconds_between_checkpoints=0.0, training_per_saving=0.0)
    train(run, folder / "straight", rhythm=at_every_agreement)
    second = os.environ["RANK"] == "1"
    train(run, folder / "stopped", observer=stop_at(15) if second else Silent())
    train(run, folder / "stopped", resume=True)


def refused(folder):
    try:
        train(tiny_run(), folder / "run")
    except UserError as error:
        (folder / f"refusal of {os.environ['RANK']}").write_text(f"{type(error).__name__}: {error}")


def gradients(folder):
    found = {
        f"{name}, in {parts}": gradients_of(objective, f"gradient_accumulation={parts}")
        for name, objective in every_objective().items()
        for parts in (1, 2)
    }
    torch.save(found, folder / f"gradients of {os.environ['RANK']}")


class Stream(IterableDataset):
    """Rows of different lengths that have no number."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


def steps_of_the_trainer(folder):
    found = {}
    for name, objective in offered().items():
        asked = problem(objective, folder=str(folder / "gpt2"))
        found[name] = step(asked, ROWS // 4, 2), asked.own
    asked = problem(NextToken(), folder=str(folder / "gpt2"))
    found["a stream"] = step(replace(asked, rows=Stream(asked.rows)), ROWS // 4, 2), asked.own
    with pytest.raises(UserError, match=r"train_dataset: .* shard=Shard\(\)"):
        step(replace(asked, rows=ProblemDataset(PathStar())), ROWS // 4, 2)
    torch.save(found, folder / f"steps of {os.environ['RANK']}")


if __name__ == "__main__":
    for task in (resume, refused, gradients, steps_of_the_trainer):
        task(Path(sys.argv[1]))
