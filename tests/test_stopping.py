"""When a run ends: after all its steps, or by what it has reached, and train_past_stop beyond."""

import pytest

from tests.runs import metrics, newest_weights, stop_at, tiny_run, train
from unforced.training.stopping import StoppingRule

EASY = ["num_train=4", "batch_size=4", "max_steps=300", "checkpoint_every=7", "stop_when=fitted"]


def heard(run, *right):
    """What a run makes of evaluations, 10 steps apart, with so many of 100 answers right."""
    rule = StoppingRule(run)
    for step, correct in zip(range(0, 1000, 10), right, strict=False):
        count = {"correct": correct, "total": 100}
        rule.update({"step": step, "train.free.exact": count, "validation.free.exact": count})
    return rule.step, rule.reason


@pytest.mark.parametrize("wish", ["solved", "fitted"])
@pytest.mark.parametrize(
    ("factor", "right", "step"),
    [
        ("1.0", [0, 99, 99], 20),
        ("1.0", [0, 99, 0, 99, 98, 99, 100], 60),
        ("1.0", [0, 99, 99, 0, 99, 99], 20),
        ("1.1", [0, 99, 99], 22),
        ("1.1", [99, 99], 11),
        ("1.11", [99, 99], 12),
        ("2.5", [0, 99, 99, 0, 0, 0], 50),
    ],
)
def test_a_run_ends_overtrain_times_after_two_good_evaluations_in_a_row(wish, factor, right, step):
    run = tiny_run(f"stop_when={wish}", f"train_past_stop={factor}", "max_steps=1000")
    assert heard(run, *right) == (step, wish)


@pytest.mark.parametrize(
    ("overrides", "right"),
    [
        (["stop_when=never", "train_past_stop=2"], [99, 99, 99]),
        (["stop_when=solved"], [0, 99, 0, 99, 0]),
        (["stop_when=solved", "train_past_stop=5"], [0, 99, 99, 99]),
        (["stop_when=solved", "train_past_stop=1e308"], [99, 99]),
        (["stop_when=solved"], [0, 0, 0, 99, 99]),
    ],
)
def test_a_run_takes_no_more_than_all_its_steps(overrides, right):
    assert heard(tiny_run(*overrides), *right) == (40, "steps")


def test_overtraining_goes_on_from_where_the_run_would_have_stopped(tmp_path):
    for factor in (1, 1.35):
        assert train(tiny_run(*EASY, f"train_past_stop={factor}"), tmp_path / str(factor)).reason == "fitted"
    plain, over = (metrics(tmp_path / name) for name in ("1", "1.35"))
    assert over[: len(plain)] == plain
    assert over[-1]["step"] == -(-plain[-1]["step"] * 135 // 100)
    assert newest_weights(tmp_path / "1.35")[0] == f"step-{over[-1]['step']:08d}"


@pytest.mark.parametrize("intervals", [-1, 0, 1])
def test_overtraining_resumes_bit_for_bit(tmp_path, intervals):
    run = tiny_run(*EASY, "train_past_stop=1.5")
    train(run, tmp_path / "straight")
    reached = int(metrics(tmp_path / "straight")[-1]["step"] / 1.5)
    stopped = train(run, tmp_path / "stopped", observer=stop_at(reached + 10 * intervals))
    assert stopped.reason == "stopped"
    assert train(run, tmp_path / "stopped", resume=True).reason == "fitted"
    assert metrics(tmp_path / "stopped") == metrics(tmp_path / "straight")
    assert newest_weights(tmp_path / "stopped") == newest_weights(tmp_path / "straight")
