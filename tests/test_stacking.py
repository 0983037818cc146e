"""How many runs of a study a process trains at once."""

import json

import pytest

import unforced as uf
from tests.runs import tiny_run
from unforced.cli.work import _groups
from unforced.errors import UserError
from unforced.studies.local import LocalEngine
from unforced.studies.plan import make_plan
from unforced.studies.stacking import ALONE, check_stack, choose_stacks, read_stack
from unforced.study import Study, over_seeds
from unforced.training.footprint import bytes_of, stack_size
from unforced.training.stack_trial import stack_differs
from unforced.training.stacked import StackedStep
from unforced.training.train_module import build_train_module

RUNS = over_seeds({"wide": tiny_run(), "narrow": tiny_run("model.width=8")}, range(6))
RUNS |= {"mamba": tiny_run("model=mamba", "model.width=8"), "alone": tiny_run("batch_size=16")}
NAMES = [name for name in RUNS if name.startswith(("wide", "narrow"))]


class Card(LocalEngine):
    """This machine with a GPU that has so many bytes to spare."""

    def __init__(self, free, workers=1):
        super().__init__(workers)
        self.free = free

    @property
    def free_memory(self):
        return self.free


def test_a_gpu_trains_as_many_runs_at_once_as_its_memory_holds():
    each = bytes_of(RUNS["wide-0"])
    stacks = choose_stacks(RUNS, "auto", Card(5 * each))
    assert stacks.sizes["wide-0"] == 4  # four fifths of what is free
    assert stacks.sizes["narrow-0"] > 4
    assert stacks.sizes.keys() == stacks.keys.keys() == {*NAMES}
    assert "wide-0 and those like it: up to 4 at once, of " in stacks.notes[0]
    shares = stacks.shares([*NAMES, "mamba"], workers=2)
    assert (shares["wide-0"], shares["narrow-5"], shares["mamba"]) == (3, 3, 1)
    assert choose_stacks(RUNS, "auto", Card(each // 2)).sizes.keys().isdisjoint({"wide-0"})
    assert stack_size(10**12, 1) == 64


def test_without_a_gpu_runs_are_trained_one_after_the_other(tmp_path):
    assert choose_stacks(RUNS, "auto", Card(None)) is ALONE
    assert choose_stacks(RUNS, 1, Card(10**12)) is ALONE
    assert _groups({tmp_path / name: tmp_path / name for name in "ab"}, [], "1") == []


def test_a_process_forms_the_groups_that_it_is_told_or_that_its_gpu_has_room_for(tmp_path, monkeypatch):
    left = {tmp_path / name: tmp_path / f"{name}.json" for name in RUNS}
    for folder, config in left.items():
        config.write_text(json.dumps(RUNS[folder.name].tree()))
    assert [len(group) for group in _groups(left, [], "8")] == [8, 6]
    assert _groups(left, [], "auto") == []
    monkeypatch.setattr(LocalEngine, "free_memory", 5 * bytes_of(RUNS["wide-0"]))
    groups = [[folder.name for folder in group] for group in _groups(left, [], "auto")]
    assert groups[:2] == [[f"wide-{seed}" for seed in range(4)], ["wide-4", "wide-5"]]
    assert sorted(name for group in groups for name in group) == sorted(NAMES)


def test_an_estimate_counts_weights_batch_and_training_set():
    run = tiny_run("stream=true", "num_train=null", "epochs=null", "max_steps=5", "batch_size=32")
    halved, finite = run.replace(gradient_accumulation=2), run.replace(stream=False, num_train=1000)
    of_batch = 2 * (bytes_of(run) - bytes_of(halved))
    weights = sum(parameter.numel() for parameter in build_train_module(run).parameters())
    assert bytes_of(run) == pytest.approx(of_batch + 9 * 4 * weights, rel=0.01)
    tokens = run.codec.prompt_length + run.codec.answer_length
    assert bytes_of(finite) - bytes_of(run) == 2 * 1000 * 8 * (tokens + 2)


def test_what_is_asked_for_is_a_number_or_auto():
    assert (read_stack("auto"), read_stack("12")) == ("auto", 12)
    for text in ("0", "-3", "2.5", "many"):
        with pytest.raises(UserError, match=f"stack: '{text}' is neither auto nor a number from 1"):
            read_stack(text)
    assert check_stack("auto", ["tensorboard"]) == 1
    with pytest.raises(UserError, match="a tracker follows one run of a process"):
        check_stack(2, ["tensorboard"])


def test_runs_that_cannot_be_trained_at_once_say_what_differs():
    stacks = choose_stacks({name: RUNS[name] for name in ("wide-0", "alone", "narrow-0")}, 4, Card(None))
    assert not stacks.sizes
    assert stacks.notes == [
        "stack=4: no two of the runs can be trained at once: they differ in batch_size: 32 and 16"
    ]


def test_a_plan_counts_a_run_as_its_part_of_a_stack(monkeypatch):
    speeds = {1: 1e6, 4: 3e6}
    monkeypatch.setattr("unforced.studies.cost.measure_speed", lambda run, threads, at_once: speeds[at_once])
    runs = {name: RUNS[name] for name in (*(f"wide-{seed}" for seed in range(4)), "mamba")}
    study, left = Study("mine", "nobody", runs), dict.fromkeys(runs, 1.0)
    engine = Card(None)
    plan = make_plan(study, left, engine, True, choose_stacks(runs, 8, engine))
    wide, mamba = plan.kinds["wide"], plan.kinds["mamba"]
    assert (wide.at_once, wide.jobs, mamba.at_once, mamba.jobs) == (4, 1, 1, 1)
    assert wide.seconds == pytest.approx(wide.operations / 3e6)
    assert plan.seconds == pytest.approx(4 * wide.seconds + mamba.seconds)


def test_a_study_in_python_trains_runs_at_once(tmp_path):
    runs = over_seeds({"tiny": tiny_run("max_steps=2", "evaluate_every=2")}, range(2))
    done = uf.study(runs).run(tmp_path, workers=1, stack=2)
    assert not done.failed
    for name in runs:
        assert json.loads((tmp_path / name / "result.json").read_text())["runs_at_once"] == 2


def test_a_device_that_computes_stacks_otherwise_is_found_out(monkeypatch):
    run = tiny_run("optimizer=muon")
    assert stack_differs(run) == ""
    update = StackedStep._muon
    monkeypatch.setattr(
        StackedStep,
        "_muon",
        lambda self, slots, columns, g, rates, ok: update(self, slots, columns, g, 2 * rates, ok),
    )
    assert stack_differs(run) == "in fp32 they come out otherwise than alone"
