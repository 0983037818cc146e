"""Studies whose runs end at equal steps, samples, FLOPs or seconds."""

import json
from dataclasses import replace

import pytest

from tests.runs import metrics, newest_weights, stop_at, tiny_run, train
from unforced.cli.main import main
from unforced.errors import UserError
from unforced.expectations import Expectation
from unforced.runs.folder import RunFolder
from unforced.studies import cost
from unforced.studies.budget import at_budget, read_budget, within_budget
from unforced.study import Budget, Study
from unforced.training import timer
from unforced.training.flops import flops_of

RUNS = {
    "plain": tiny_run("epochs=1"),
    "reversed": tiny_run("order=reversed", "batch_size=48"),
    "wide": tiny_run("model.width=32"),
}


def steps(**limits):
    ended = at_budget(RUNS, Budget(**limits))
    assert all(run.epochs is None and run.num_steps == run.max_steps for run in ended.values())
    return [run.num_steps for run in ended.values()]


def test_runs_end_at_equal_steps_samples_or_flops_in_whole_steps():
    assert steps(steps=17) == [17, 17, 17]
    assert steps(samples=1000) == [31, 20, 31]
    work = [flops_of(run) * run.batch_size for run in RUNS.values()]
    assert steps(flops=10 * work[2]) == [int(10 * work[2] / each) for each in work]
    assert steps(flops=work[2])[2] == 1


def test_of_several_limits_a_run_goes_on_to_the_last():
    work = flops_of(RUNS["plain"]) * 32
    by_flops = steps(flops=20.5 * work)
    assert by_flops[0] == 20 > by_flops[2]
    assert steps(steps=15, flops=20.5 * work) == [max(15, each) for each in by_flops]


def test_seconds_leave_the_steps_as_they_are():
    ended = at_budget(RUNS, Budget(seconds=7))
    assert {run.max_seconds for run in ended.values()} == {7.0}
    assert [run.num_steps for run in ended.values()] == [run.num_steps for run in RUNS.values()]


def test_what_a_source_says_is_not_expected_at_another_budget_than_the_studys():
    claim = Expectation(
        group="g", select={}, measure="test.free.exact", relation="about", value=1, source="s"
    )
    study = Study("mine", "a paper", RUNS, [claim])
    assert within_budget(study) is study
    altered = within_budget(study, Budget(steps=3))
    assert (altered.source, altered.expectations) == ("a paper; altered: budget steps=3", ())
    own = replace(study, budget=Budget(steps=3))
    for same in (within_budget(own), within_budget(own, Budget(steps=3))):
        assert (same.source, list(same.expectations)) == ("a paper", [claim])
        assert same.runs == altered.runs


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["flop=3"], "unknown budget 'flop'; did you mean 'flops'?"),
        (["flops"], "--budget flops: '' is not a number; as in --budget flops=2e12"),
        (["flops=many"], "--budget flops=many: 'many' is not a number; as in --budget flops=2e12"),
        (["steps=3", "steps=4"], "--budget steps=4: steps is given twice; drop one"),
        (["samples=0"], "budget: samples=0 is not a number above 0"),
        (["steps=2.5"], "--budget steps=2.5: 2.5 is not a whole number; as in --budget steps=1000"),
        (["flops=nan"], "budget: flops=nan is not a number above 0"),
        (["seconds=-1"], "budget: seconds=-1 is not a number above 0"),
        (["seconds=1", "steps=3"], "budget: seconds go with no other limit; drop one"),
    ],
)
def test_a_bad_budget_is_refused_in_a_line(texts, message):
    with pytest.raises(UserError) as refused:
        read_budget(texts)
    assert str(refused.value) == message


def test_a_budget_below_one_step_is_refused():
    with pytest.raises(UserError, match=r"run plain: one step takes 32 samples, more than the budget of 31"):
        at_budget(RUNS, Budget(samples=31))


def test_budgets_are_read_from_the_command_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "measure_speed", lambda run, threads, at_once: 1e9)
    assert read_budget([]) is None
    assert read_budget(["steps=2e3", "flops=1e9"]) == Budget(steps=2000, flops=1e9)
    command = ["study", "pitfalls_small", "--only", "2x4-*-0", "--out", str(tmp_path / "x"), "--dry-run"]
    with pytest.raises(SystemExit):
        main([*command, "--json", "--budget", "samples=2560"])
    plan = json.loads(capsys.readouterr().out)
    assert {kind["steps"] for kind in plan["kinds"]} == {40}


@pytest.fixture
def slow_clock(monkeypatch):
    """A clock that goes on by a second whenever it is asked, so that times are the same on all machines."""

    class Clock:
        now = 0.0

        def perf_counter(self):
            self.now += 1.0
            return self.now

    monkeypatch.setattr(timer, "time", Clock())


def test_a_run_ends_when_it_has_trained_for_its_seconds(tmp_path, slow_clock):
    run = tiny_run("max_seconds=150", "max_steps=1000", "checkpoint_every=1000")
    assert train(run, tmp_path / "run").reason == "time"
    result = RunFolder(tmp_path / "run").read_result()
    lines = RunFolder(tmp_path / "run").read_metrics()
    assert result["ended_by"] == "time"
    assert 150 <= result["training_seconds"] < result["seconds"]
    assert lines[-1]["step"] == result["steps"] < 1000
    assert [line["step"] for line in lines[:3]] == [0, 10, 20]
    assert newest_weights(tmp_path / "run")[0] == f"step-{result['steps']:08d}"


def test_a_resumed_run_has_the_seconds_that_are_left(tmp_path, slow_clock):
    run = tiny_run("max_seconds=150", "max_steps=1000", "checkpoint_every=10")
    train(run, tmp_path / "run", observer=stop_at(20))
    spent = json.loads((tmp_path / "run/checkpoints/step-00000020/state.json").read_text())
    assert 0 < spent["training_seconds"] < 150
    assert train(run, tmp_path / "run", resume=True).reason == "time"
    result = RunFolder(tmp_path / "run").read_result()
    assert 150 <= result["training_seconds"] < 170
    (tmp_path / "run" / "result.json").unlink()  # as if it had been killed before it was measured
    before = metrics(tmp_path / "run")
    assert train(run, tmp_path / "run", resume=True).reason == "time"
    assert metrics(tmp_path / "run") == before
