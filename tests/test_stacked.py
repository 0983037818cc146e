"""Runs that are trained at once: equal, within rounding, to each run trained alone."""

import json
import os
import signal
from typing import Literal

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import load_file
from torch import nn

from tests.every_objective import every_objective
from tests.runs import Silent, rerun, stop_at, tiny_run, train, unchecked
from unforced.bench.plan import trainer_of
from unforced.cli.work import _stacked_codes
from unforced.config.stacking import refusal
from unforced.errors import UserError
from unforced.evaluation.accuracy import measure
from unforced.evaluation.together import measure_together
from unforced.objectives.moment import Moment
from unforced.objectives.next_token import NextToken
from unforced.objectives.view import ANSWER, signature
from unforced.reporting.progress import PlainLines
from unforced.stack import Planned, run_together
from unforced.training.captured import CapturedStep
from unforced.training.loop import Trainer
from unforced.training.optimizer import build_optimizer
from unforced.training.processes import join_processes
from unforced.training.source import SharedFiniteSource
from unforced.training.stacked import Member, StackedStep
from unforced.training.stacked_inputs import StackedInputs, side_by_side
from unforced.training.step import EagerStep, term_weights
from unforced.training.train_module import build_train_module

OBJECTIVES = every_objective()
STEPS = 4
RATES = 1.0, 0.3, 0.1


def members(run):
    """Runs of three seeds and weight decays, each with a module and an optimiser."""
    runs = [run.replace(seed=seed, weight_decay=0.1 * seed) for seed in range(3)]
    modules = [build_train_module(each) for each in runs]
    return [
        Member(each, module, build_optimizer(each, module))
        for each, module in zip(runs, modules, strict=True)
    ]


def parts_of(run, step):
    batch = run.codec.encode(run.task.sample(np.random.default_rng(100 * run.seed + step), 8), run.order)
    parts = run.gradient_accumulation
    return [
        run.objective.view(
            batch.rows(slice(part, None, parts)), Moment(8, slice(part, None, parts), step, STEPS, run.seed)
        )
        for part in range(parts)
    ]


def train_alone(member):
    take, reports = EagerStep(member.run, member.module, member.optimizer, join_processes()), []
    for step in range(STEPS):
        reports.append(take(parts_of(member.run, step), 0.01 * RATES[member.run.seed] / (1 + step)))
    return reports


def train_stacked(stack, captured=lambda step: step, compiler=None):
    take, reports = captured(StackedStep(stack, torch.device("cpu"), compiler)), []
    for step in range(STEPS):
        of_runs = [parts_of(each.run, step) for each in stack]
        rates = [0.01 * RATES[each.run.seed] / (1 + step) for each in stack]
        numbers = [(rate, term_weights(views)) for rate, views in zip(rates, of_runs, strict=True)]
        reports.append(take([side_by_side(views) for views in zip(*of_runs, strict=True)], numbers))
    return reports


def state(member):
    weights = member.module.trained()
    return {
        f"{name} {moment}": value
        for name, parameter in weights.items()
        for moment, value in {"weight": parameter, **member.optimizer.state_of(parameter)}.items()
    }


def assert_close(one, other):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize(
    ("objective", "optimizer"),
    [*((name, "muon") for name in OBJECTIVES), ("scribbled", "adamw")],
)
def test_a_stack_trains_as_each_run_alone(objective, optimizer):
    objective = OBJECTIVES[objective]
    run = tiny_run(f"optimizer={optimizer}", "gradient_accumulation=2", "model.layers=1")
    run = run.replace(objective=objective)
    alone, stacked = members(run), members(run)
    with unchecked():
        expected = [train_alone(member) for member in alone]
        reports = train_stacked(stacked)
    for row, (one, other) in enumerate(zip(alone, stacked, strict=True)):
        assert_close(state(one), state(other))
        for theirs, ours in zip(expected[row], reports, strict=True):
            assert_close(theirs.losses, {name: sums[row] for name, sums in ours.losses.items()})
            torch.testing.assert_close(theirs.grad_norm, ours.grad_norm[row], rtol=1e-3, atol=1e-5)


def test_a_captured_stack_takes_the_steps_of_an_eager_one(monkeypatch):
    """What is captured sends no number from the host, which a CUDA graph could not repeat."""

    def rerun_on_the_device(function):
        def on_the_device():
            with monkeypatch.context() as patched:
                patched.setattr(torch, "tensor", lambda *given, **options: pytest.fail("sends a number"))
                return function()

        return rerun(on_the_device)

    run = tiny_run("optimizer=muon").replace(objective=OBJECTIVES["mixture"])
    eager, captured = members(run), members(run)
    train_stacked(eager)
    train_stacked(captured, lambda stack: CapturedStep(stack, pytest.fail, rerun_on_the_device))
    for one, other in zip(eager, captured, strict=True):
        assert_close(state(one), state(other))


@pytest.mark.parametrize("objective", ["next_token", "masked", "registers", "joint", "stream"])
def test_batches_that_are_laid_out_at_once_are_those_of_each_run_alone(objective, monkeypatch):
    run = tiny_run("gradient_accumulation=2")
    changes = {"stream": True, "num_train": None} if objective == "stream" else {}
    run = run.replace(**changes) if changes else run.replace(objective=OBJECTIVES[objective])
    trainers = [trainer_of(run.replace(seed=seed)) for seed in range(3)]
    lay_out, alone = StackedInputs(trainers), Trainer.inputs
    lay_out()
    monkeypatch.setattr(Trainer, "inputs", lambda self: pytest.fail("lays out run by run"))
    for step in (3, 9, 28, 38):  # some of which straddle two epochs
        for trainer in trainers:
            trainer.progress.step = step
        views, numbers = lay_out()
        expected = [alone(trainer) for trainer in trainers]
        assert numbers == [(rate, term_weights(parts)) for parts, rate in expected]
        for part, view in enumerate(views):
            theirs = side_by_side([parts[part] for parts, _ in expected])
            assert signature(view) == signature(theirs)
            assert all(map(torch.equal, view.tensors, theirs.tensors))


RUNS = [tiny_run(f"seed={seed}", "max_steps=23", "optimizer=muon") for seed in range(3)]


def together(runs, root, observer=None, resume=False):
    """Train runs at once, each into a folder named by its seed; return how each ended, by seed."""
    planned = [Planned(run, root / str(run.seed), observer or Silent(), resume) for run in runs]
    with unchecked():
        return {runs[place].seed: end for place, end in run_together(planned, print)}


def lines_of(path):
    timed = {"seconds", "training_seconds", "samples_per_second"}
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in timed} for line in lines]


def weights_of(path):
    return load_file(path / "checkpoints" / "step-00000023" / "learner.safetensors")


def test_each_run_has_the_folder_of_a_run_alone_and_one_that_diverges_stops_no_other(tmp_path, capsys):
    runs = [*RUNS, RUNS[0].replace(seed=3, learning_rate=1e30)]
    ends = together(runs, tmp_path)
    assert "one after the other" not in capsys.readouterr().out
    assert {seed: end.reason for seed, end in ends.items()} == {
        0: "steps",
        1: "steps",
        2: "steps",
        3: "diverged",
    }
    for run in runs:
        path, alone = tmp_path / str(run.seed), tmp_path / "alone" / str(run.seed)
        train(run, alone)
        assert {each.name for each in path.iterdir()} == {each.name for each in alone.iterdir()}
        for one, other in zip(lines_of(alone), lines_of(path), strict=True):
            assert one.keys() == other.keys()
            for key, value in one.items():
                close = pytest.approx(value, rel=1e-3, abs=1e-5) if isinstance(value, float) else value
                assert other[key] == close, key
    assert_close(weights_of(tmp_path / "alone" / "1"), weights_of(tmp_path / "1"))
    step = json.loads((tmp_path / "1" / "result.json").read_text())["implementation"]["step"]
    assert step == "eager, stacked"


def test_a_stopped_stack_resumes_to_the_same_bytes_and_each_of_its_runs_resumes_alone(tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    together(RUNS, whole)
    ends = together(RUNS, stopped, stop_at(10))
    assert {end.stopped_by for end in ends.values()} == {signal.SIGTERM}
    train(RUNS[0], stopped / "0", resume=True)
    ends = together(RUNS, stopped, resume=True)
    assert {seed: end.reason for seed, end in ends.items()} == {0: "done", 1: "steps", 2: "steps"}
    for seed in (1, 2):
        for name, tensor in weights_of(whole / str(seed)).items():
            assert torch.equal(tensor, weights_of(stopped / str(seed))[name])
    assert_close(weights_of(whole / "0"), weights_of(stopped / "0"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": {"width": 8}}, "they differ in model.width: 16 and 8"),
        ({"batch_size": 16}, "they differ in batch_size: 32 and 16"),
    ],
)
def test_runs_that_compute_something_else_are_refused(changes, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        together([RUNS[0], RUNS[1].replace(**changes)], tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (tiny_run("model.attention=sdpa"), "the kernels of model gpt cannot compute several models at once"),
        (tiny_run("model=mamba"), "the kernels of model mamba cannot"),
        (tiny_run("task=countdown"), "the answers of task countdown vary in length"),
        (tiny_run("max_seconds=5"), "max_seconds are those of a run alone"),
    ],
)
def test_runs_that_no_stack_can_train_are_refused(run, reason):
    assert reason in refusal([run, run])


class Projected(NextToken):
    """Has a head with a random buffer, which each run has its own of."""

    name: Literal["projected"] = "projected"

    def build_heads(self, trunk):
        head = nn.Linear(trunk.width, trunk.vocab_size)
        head.register_buffer("directions", torch.randn(trunk.width))
        return head


class Branching(NextToken):
    """Looks at a number, which `torch.vmap` has not one of."""

    name: Literal["branching"] = "branching"

    def loss(self, model, heads, view):
        losses = super().loss(model, heads, view)
        return losses if losses[ANSWER].sum() > 0 else {}


@pytest.mark.parametrize(
    ("objective", "reason"),
    [
        (Projected(), "the modules have buffers or frozen weights"),
        (Branching(), "branching cannot be computed for several models at once"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_an_objective_that_cannot_be_stacked_is_refused_in_a_line(objective, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        together([run.replace(objective=objective) for run in RUNS], tmp_path)


def test_runs_whose_losses_are_made_of_other_terms_are_refused():
    """As after resuming at different steps: a loss may do without a term of weight 0."""
    run = tiny_run().replace(objective=OBJECTIVES["scribbled"])
    with pytest.raises(UserError, match="terms of weight 0 at different times"):
        side_by_side([view for step in range(3) for view in parts_of(run, 2 * step)])


def test_an_error_of_one_run_stops_no_other(tmp_path, capsys):
    def fail(line):
        if line["step"] == 10:
            raise ZeroDivisionError("a bug")

    planned = [
        Planned(run, tmp_path / str(run.seed), Silent(fail if run.seed else print)) for run in RUNS[:2]
    ]
    with unchecked():
        ends = dict(run_together(planned, print))
    assert ends[0].reason == "steps"
    assert str(ends[1]) == "ZeroDivisionError: a bug"
    assert "in fail" in capsys.readouterr().err


def test_that_a_stack_cannot_be_captured_is_said_once_and_of_no_run_alone(tmp_path, monkeypatch, capsys):
    def refuse(function):
        raise RuntimeError("no graphs here")

    monkeypatch.setattr(
        "unforced.training.together._quickest", lambda stack, say: CapturedStep(stack, say, refuse)
    )
    observer = Silent()
    runs = [*RUNS[:2], RUNS[2].replace(learning_rate=1e30)]  # which leaves the stack, that is captured anew
    ends = together(runs, tmp_path, observer)
    assert [ends[seed].reason for seed in range(3)] == ["steps", "steps", "diverged"]
    assert not any("captured" in line for line in observer.news)
    assert capsys.readouterr().out.count("cannot be captured as a CUDA graph") == 1
    assert json.loads((tmp_path / "0" / "result.json").read_text())["runs_at_once"] == 3


def test_a_run_whose_batch_cannot_be_made_stops_no_other(tmp_path, monkeypatch):
    alone = Trainer.inputs

    def inputs(trainer):
        if (trainer.run.seed, trainer.progress.step) == (1, 5):
            raise RuntimeError("no such problem")
        return alone(trainer)

    def batch(source, step, part):
        raise RuntimeError("none for all")

    monkeypatch.setattr(Trainer, "inputs", inputs)
    monkeypatch.setattr(SharedFiniteSource, "batch", batch)
    ends = together(RUNS[:2], tmp_path)
    assert ends[0].reason == "steps"
    assert str(ends[1]) == "RuntimeError: no such problem"


def test_a_signal_lets_every_run_of_a_stack_write_a_checkpoint(tmp_path, monkeypatch):
    def evaluated(observer, line):
        if (observer.prefix, line["step"]) == ("1: ", 10):  # when the first run has gone on already
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(PlainLines, "evaluated", evaluated)
    left = {tmp_path / str(run.seed): tmp_path / f"{run.seed}.json" for run in RUNS}
    for run, config in zip(RUNS, left.values(), strict=True):
        config.write_text(json.dumps(run.tree()))
    with unchecked(), pytest.raises(typer.Exit) as exit_:
        list(_stacked_codes(dict(left), diagnose=False))
    assert exit_.value.exit_code == 128 + signal.SIGTERM
    assert {max((folder / "checkpoints").iterdir()).name for folder in left} <= {
        "step-00000010",
        "step-00000011",
    }


@pytest.mark.parametrize("objective", ["next_token", "teacherless", "reversed", "masked"])
def test_runs_are_measured_together_as_each_alone(objective):
    changes = {"order": "reversed"} if objective == "reversed" else {"objective": OBJECTIVES[objective]}
    runs = [tiny_run().replace(seed=seed, **changes) for seed in range(3)]
    modules = [build_train_module(run) for run in runs]
    with unchecked():
        together = measure_together(runs, modules, "validation", [40] * 3)
    for run, module, metrics in zip(runs, modules, together, strict=True):
        alone = measure(run, module, "validation", 40)
        assert metrics.keys() == alone.keys()
        for key, value in alone.items():
            close = pytest.approx(value, abs=1e-5) if isinstance(value, float) else value
            assert metrics[key] == close
