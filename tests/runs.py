"""A run that trains in a second, and ways to start it."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import config

from unforced.config import Run
from unforced.experiment import run_experiment
from unforced.models.gpt import GPT
from unforced.objectives.next_token import NextToken
from unforced.tasks.path_star import PathStar
from unforced.training.step import StepReport
from unforced.training.timer import USUAL

TIMES = ("seconds", "training_seconds", "samples_per_second")


def tiny_run(*overrides):
    run = Run(
        task=PathStar(degree=2, path_length=3, num_nodes=12),
        model=GPT(layers=2, width=16, heads=2, attention="math"),
        objective=NextToken(),
        num_train=300,
        batch_size=32,
        max_steps=40,
        learning_rate=1e-2,
        precision="fp32",
        evaluate_every=10,
        num_evaluate=50,
        num_test=60,
        checkpoint_every=15,
    )
    return run.override(overrides)


class Silent:
    """An observer that remembers what it is told."""

    def __init__(self, on_evaluation=lambda line: None):
        self.news, self.on_evaluation = [], on_evaluation

    def say(self, text):
        self.news.append(text)

    def update(self, step, loss, samples_per_second):
        pass

    def evaluated(self, line):
        self.on_evaluation(line)


def stop_at(step, number=signal.SIGTERM):
    """An observer that sends this process a signal when it first hears of the evaluation at `step`."""
    sent = []

    def on_evaluation(line):
        if line["step"] == step and not sent:
            sent.append(number)
            os.kill(os.getpid(), number)

    return Silent(on_evaluation)


def rerun(function):
    """Record a step by taking it again: what a CUDA graph does, without one."""
    report = StepReport({}, torch.empty(()), torch.empty((), dtype=torch.bool))

    def replay():
        vars(report).update(vars(function()))

    return replay, report


@contextmanager
def unchecked():
    """Do without the checks of types and shapes, which tests have by default (pyproject.toml).

    Whole runs and verbs would take nearly twice as long with them; their parts are checked where tests call
    these themselves.
    """
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", before)


def train(run, path, resume=False, observer=None, rhythm=USUAL):
    with unchecked():
        return run_experiment(run, Path(path), observer or Silent(), resume, rhythm)


def command(*arguments, **options):
    """Start `unforced` in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "unforced", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def metrics(path):
    """The lines of metrics.jsonl without wall times."""
    lines = [json.loads(line) for line in (Path(path) / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def newest_weights(path):
    newest = sorted((Path(path) / "checkpoints").iterdir())[-1]
    return newest.name, (newest / "learner.safetensors").read_bytes()
