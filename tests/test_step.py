"""A step of the optimiser: whose gradient it follows, and what it leaves as it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.every_objective import every_objective
from tests.objectives import Scribbled
from tests.runs import rerun, tiny_run
from unforced.objectives.moment import Moment
from unforced.objectives.view import Term
from unforced.training.captured import CapturedStep
from unforced.training.checkpoint import TrainState, mean_losses
from unforced.training.loop import Trainer, start_accelerator
from unforced.training.optimizer import build_optimizer
from unforced.training.step import EagerStep
from unforced.training.store import MemoryStore
from unforced.training.train_module import build_train_module, loss_of

OBJECTIVES = every_objective()


def stepper(*overrides, waits=None, **parts):
    """A step of a run, and a view to take it on."""
    run = tiny_run(*overrides).replace(**parts)
    train_module, accelerator = build_train_module(run), start_accelerator(run)
    step = EagerStep(run, train_module, build_optimizer(run, train_module), accelerator, waits)
    batch = run.codec.encode(run.task.sample(np.random.default_rng(0), 8), run.order)
    return step, run.objective.view(batch, Moment(8))


def state(step):
    """Weights and moments, as they are now."""
    train_module = step.train_module
    moments = [step.optimizer.state_of(p).values() for p in train_module.trained().values()]
    return [t.clone() for t in [*train_module.state_dict().values(), *(m for each in moments for m in each)]]


def same(one, other):
    return len(one) == len(other) and all(map(torch.equal, one, other))


def scaled(view, factor):
    """The same view, whose first term counts `factor` times as much."""
    terms = {name: Term(term.count * factor, term.weight) for name, term in view.terms.items()}
    return replace(view, terms=terms)


def without_targets(view):
    return replace(scaled(view, 0.0), weights=torch.zeros_like(view.targets, dtype=torch.bool))


def not_finite(view):
    """A view whose loss is infinite."""
    return replace(view, weights=torch.full(view.targets.shape, torch.inf))


every_way = pytest.mark.parametrize("waits", [True, False], ids=["on the host", "on the device"])
every_optimizer = pytest.mark.parametrize("optimizer", ["adamw", "muon"])


@every_way
@every_optimizer
def test_a_step_without_targets_changes_nothing_and_is_counted(waits, optimizer):
    step, view = stepper(f"optimizer={optimizer}", waits=waits)
    step([view], 0.01)
    before = state(step)
    report = step([without_targets(view)], 0.01)
    assert same(state(step), before)
    assert (report.ok.item(), step.idle.item(), step.lost.item()) == (False, 1, 0)
    assert report.losses["answer"].tolist() == [0, 0, 0]
    assert step([view], 0.01).ok
    assert not same(state(step), before)


@every_way
@every_optimizer
def test_from_a_step_that_is_not_finite_on_nothing_changes(waits, optimizer):
    step, view = stepper(f"optimizer={optimizer}", waits=waits)
    step([view], 0.01)
    before = state(step)
    for lost in (1, 2, 3):
        report = step([not_finite(view) if lost < 3 else view], 0.01)
        assert same(state(step), before)
        assert (report.ok.item(), step.lost.item()) == (False, lost)
        assert report.losses["answer"].tolist() == [0, 0, 0]
    assert all(tensor.isfinite().all() for tensor in before)


@every_optimizer
def test_both_ways_train_alike(optimizer):
    ends = []
    for waits in (True, False):
        step, view = stepper(f"optimizer={optimizer}", waits=waits)
        for _ in range(3):
            step([view], 0.01)
        ends.append(state(step))
    assert same(*ends)


@pytest.mark.parametrize("clip_norm", ["null", "0.1"])
def test_the_gradient_is_that_of_the_weighted_means(clip_norm):
    step, view = stepper(f"clip_norm={clip_norm}", objective=Scribbled())
    loss_of(step.train_module, view).backward()
    gradients = [p.grad.clone() for p in step.train_module.parameters()]
    norm = torch.nn.utils.get_total_norm(gradients)
    step.train_module.zero_grad()
    report = step([view], 0.01)
    assert report.grad_norm.item() == pytest.approx(norm.item(), rel=1e-5)
    scale = 1 if clip_norm == "null" else 0.1 / norm
    for gradient, parameter in zip(gradients, step.train_module.parameters(), strict=True):
        moved = step.optimizer.state_of(parameter)["exp_avg"]
        torch.testing.assert_close(moved, 0.1 * scale * gradient, rtol=1e-4, atol=1e-7)


def test_a_term_is_averaged_over_its_own_count():
    step, view = stepper()
    report = step([scaled(view, 0.5)], 0.0)
    other = step([view], 0.0)
    assert report.grad_norm.item() == pytest.approx(2 * other.grad_norm.item(), rel=1e-6)
    total, weighted, count = report.losses["answer"].tolist()
    assert (total, count) == (weighted, 0.5 * view.targets.numel())


def test_the_loss_of_a_line_is_weighted_and_its_terms_are_not():
    progress = TrainState()
    assert mean_losses(progress.losses) == {"loss": None}
    progress.add({"answer": torch.tensor([6.0, 6.0, 2.0])})
    assert mean_losses(progress.losses) == {"loss": 3.0}
    progress.add({"head": torch.tensor([10.0, 5.0, 5.0]), "none": torch.zeros(3)})
    expected = {"loss": 4.0, "loss.answer": 3.0, "loss.head": 2.0, "loss.none": None}
    assert mean_losses(progress.losses) == expected


def test_a_run_in_memory_keeps_its_lines_and_tells_of_each_term(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tiny_run("max_steps=4", "evaluate_every=2").replace(objective=Scribbled())
    store = MemoryStore()
    trainer = Trainer(run, store, start_accelerator(run))
    assert trainer.fit().reason == "steps"
    assert [line["step"] for line in store.lines] == [0, 2, 4]
    assert store.lines[0]["loss"] is None
    for line, weight in zip(store.lines[1:], (0.3, 0.0), strict=True):
        assert line["loss"] == pytest.approx(line["loss.answer"] + weight * line["loss.head"])
    assert not list(tmp_path.iterdir())


def gradients_of(objective, *overrides):
    """The average gradient after two steps of two, in the second of which the head of Scribbled is unused."""
    run = tiny_run("max_steps=2", "batch_size=8", *overrides).replace(objective=objective)
    trainer = Trainer(run, MemoryStore(), start_accelerator(run))
    trainer.step()
    trainer.step()
    return {
        name: moments["exp_avg"].clone()
        for name, p in trainer.train_module.trained().items()
        if (moments := trainer.optimizer.state_of(p))  # some heads have parameters that they never use
    }


def assert_same_gradients(found, expected):
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_parts_of_a_batch_have_the_gradient_of_the_whole(name):
    whole = gradients_of(OBJECTIVES[name])
    assert any(gradient.abs().max() > 0 for gradient in whole.values())
    assert_same_gradients(gradients_of(OBJECTIVES[name], "gradient_accumulation=4"), whole)


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_a_captured_step_trains_as_the_eager_one(objective):
    """Views, weights and rate that change from step to step reach the recording; so does another shape."""
    ends, sums = [], []
    for captured in (False, True):
        step, _ = stepper("optimizer=muon", waits=False, objective=objective)
        take = CapturedStep(step, pytest.fail, rerun) if captured else step
        run, reports = step.run, []
        for number in range(8):
            batch = run.codec.encode(run.task.sample(np.random.default_rng(number), 8), run.order)
            rows = batch if number != 5 else batch.rows(slice(0, 4))
            view = run.objective.view(rows, Moment(len(rows), step=number, num_steps=8))
            reports.append(take([view], 0.01 / (1 + number)))
        assert take.kind == ("captured" if captured else "eager")
        ends.append(state(step))
        sums.append([tensor for report in reports for tensor in report.losses.values()])
    for one, other in zip(ends[0] + sums[0], ends[1] + sums[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_step_that_cannot_be_captured_is_taken_eagerly_and_says_so():
    def refuse(function):
        raise RuntimeError("operation not permitted when stream is capturing")

    step, view = stepper(waits=False)
    news = []
    take = CapturedStep(step, news.append, refuse)
    for _ in range(3):
        take([view], 0.0)
    before = state(step)
    assert take([view], 0.01).ok
    assert take([view], 0.01).ok
    assert not same(state(step), before)
    assert take.kind == "eager"
    assert news == [
        "the step cannot be captured as a CUDA graph, and is taken eagerly "
        "(operation not permitted when stream is capturing)"
    ]
