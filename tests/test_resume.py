"""Stop anywhere, resume, and get the same bytes."""

import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load, save

from tests.runs import Silent, command, metrics, newest_weights, stop_at, tiny_run, train
from unforced import experiment
from unforced.errors import UserError
from unforced.files import read_json
from unforced.runs.folder import RunFolder
from unforced.training.precision import sum_dtype
from unforced.training.signals import stop_requests
from unforced.training.timer import Rhythm


def assert_same(one, other):
    assert metrics(one) == metrics(other)
    assert newest_weights(one) == newest_weights(other)


@pytest.fixture(scope="module")
def straight(tmp_path_factory, trained):
    return trained(tiny_run(), tmp_path_factory.mktemp("straight") / "run")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("step", [0, 10, 30])
def test_a_signal_leaves_a_checkpoint_and_resuming_gives_the_same_bytes(straight, tmp_path, step, number):
    path = tmp_path / "run"
    outcome = train(tiny_run(), path, observer=stop_at(step, number))
    assert outcome.stopped_by == number
    assert not RunFolder(path).done
    assert train(tiny_run(), path, resume=True).reason == "steps"
    assert_same(path, straight)


def test_a_second_sigterm_changes_nothing_and_a_second_ctrl_c_interrupts():
    with stop_requests() as request:
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
        assert request.signal == signal.SIGTERM
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    "overrides", [["stream=true"], ["objective=teacherless"], ["gradient_accumulation=4"], ["optimizer=muon"]]
)
def test_resuming_is_exact_for_streams_other_objectives_and_accumulation(tmp_path, overrides):
    run = tiny_run(*overrides)
    train(run, tmp_path / "straight")
    train(run, tmp_path / "stopped", observer=stop_at(20))
    train(run, tmp_path / "stopped", resume=True)
    assert_same(tmp_path / "stopped", tmp_path / "straight")


def alone(module, *arguments, threads=1):
    """Run a module of the tests in a process of its own; return what it prints."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_threads_flush_denormals_and_resume_to_the_same_bytes(tmp_path):
    alone("tests.two_threads", tmp_path, threads=2)


def test_a_checkpoint_of_150_mib_is_written_from_where_it_lies(tmp_path):
    assert float(alone("tests.saving", tmp_path)) < 20
    [path] = tmp_path.iterdir()
    state = read_json(path / "state.json")
    for name in ("learner.safetensors", "optimizer.safetensors"):
        content = (path / name).read_bytes()  # as one piece it is what earlier versions wrote
        assert state["sha256"][name] == hashlib.sha256(content).hexdigest()
        assert save(load(content)) == content


def test_checkpoints_are_written_as_time_passes_and_change_nothing(straight, tmp_path):
    run = tiny_run("checkpoint_every=1000", "keep_checkpoints=100")
    train(run, tmp_path / "run", rhythm=Rhythm(0.5, 0.0, 0.0))
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 40
    assert_same(tmp_path / "run", straight)


def test_a_checkpoint_that_takes_long_is_not_written_all_the_time(tmp_path):
    run = tiny_run("checkpoint_every=1000", "keep_checkpoints=100")
    train(run, tmp_path / "run", rhythm=Rhythm(0.5, 0.0, 1e6))
    written = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert written == {"step-00000001", "step-00000040"}


def test_what_a_killed_process_left_of_a_checkpoint_is_cleared_away(tmp_path, trained):
    trained(tiny_run(), tmp_path / "run", stopped_at=10)
    left = tmp_path / "run" / "checkpoints" / ".step-00000015.99999"
    left.mkdir()
    (left / "learner.safetensors").write_bytes(b"half")
    train(tiny_run(), tmp_path / "run", resume=True)
    assert not left.exists()


def test_a_run_stopped_before_its_first_step_has_a_checkpoint(tmp_path):
    train(tiny_run(), tmp_path / "run", observer=stop_at(0))
    assert newest_weights(tmp_path / "run")[0] == "step-00000000"


def test_killed_with_sigkill_at_a_random_step_and_resumed(tmp_path, call):
    arguments = ["train", "paper_gpt_mini", "model.layers=1", "model.width=64", "task.path_length=3"]
    arguments += [
        "batch_size=32",
        "max_steps=120",
        "evaluate_every=20",
        "checkpoint_every=7",
        "num_train=2000",
    ]
    arguments += ["num_evaluate=50", "num_test=50", "--out"]
    first, straight = tmp_path / "killed", tmp_path / "straight"
    process = command(*arguments, first)
    at_least = random.randint(1, 5)
    while not (first / "metrics.jsonl").exists() or len(metrics(first)) < at_least:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not RunFolder(first).done
    assert call(*arguments, first, "--resume")[0] == 0
    assert call(*arguments, straight)[0] == 0
    assert_same(first, straight)


def test_sigterm_to_the_command_exits_with_143_and_says_how_to_go_on(tmp_path):
    path = tmp_path / "run"
    process = command("train", "quickstart.next_token", "evaluate_every=5", "num_evaluate=20", "--out", path)
    while not (path / "metrics.jsonl").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.terminate()
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert output == f"stopped by SIGTERM; the checkpoint is in {path}, continue it with --resume\n"
    assert "Traceback" not in errors
    assert newest_weights(path)


def test_resuming_a_finished_run_changes_nothing(straight):
    before = newest_weights(straight), metrics(straight)
    assert train(tiny_run(), straight, resume=True).reason == "done"
    assert (newest_weights(straight), metrics(straight)) == before


@pytest.mark.parametrize("damage", ["truncate", "flip", "foreign", "no state", "not json"])
def test_a_damaged_checkpoint_is_refused_by_name_and_the_one_before_it_used(
    straight, tmp_path, damage, trained
):
    path = tmp_path / "run"
    trained(tiny_run(), path, stopped_at=30)
    newest = sorted((path / "checkpoints").iterdir())[-1]
    reason = spoil(newest, damage)
    observer = Silent()
    train(tiny_run(), path, resume=True, observer=observer)
    assert len(observer.news) == 1
    assert str(newest) in observer.news[0]
    assert reason in observer.news[0]
    assert_same(path, straight)


def spoil(checkpoint, damage):
    weights, state = checkpoint / "learner.safetensors", checkpoint / "state.json"
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:-100])
        return "cut short"
    if damage == "flip":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        return "SHA-256"
    if damage == "foreign":
        other = {"run": "0" * 16, "config": tiny_run("seed=1").tree()}
        state.write_text(json.dumps(json.loads(state.read_text()) | other))
        return "belongs to run 0000000000000000, which has another seed"
    if damage == "no state":
        state.unlink()
        return "No such file"
    state.write_text("{")
    return "not JSON"


def test_no_usable_checkpoint_is_an_error_not_a_fresh_start(tmp_path, trained):
    path = tmp_path / "run"
    trained(tiny_run(), path, stopped_at=10)
    for checkpoint in (path / "checkpoints").iterdir():
        spoil(checkpoint, "truncate")
    with pytest.raises(UserError, match="no other checkpoint is usable"):
        train(tiny_run(), path, resume=True)


def test_killed_before_the_first_checkpoint_starts_over(straight, tmp_path, trained):
    path = tmp_path / "run"
    trained(tiny_run(), path, stopped_at=10)
    for checkpoint in (path / "checkpoints").iterdir():
        for file in checkpoint.iterdir():
            file.unlink()
        checkpoint.rmdir()
    train(tiny_run(), path, resume=True)
    assert_same(path, straight)


def test_a_full_disk_is_one_line_and_loses_nothing_written(straight, tmp_path, trained):
    path = tmp_path / "run"
    trained(tiny_run(), path, stopped_at=20)
    before = newest_weights(path), metrics(path)
    script = "import sys; from tests.runs import *; train(tiny_run(), sys.argv[1], resume=True)"
    largest = len(newest_weights(path)[1]) // 2
    full = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)),
    )
    assert full.returncode != 0
    assert "TransientError" in full.stderr
    assert "continue with resume=True" in full.stderr
    assert newest_weights(path) == before[0]
    assert metrics(path)[: len(before[1])] == before[1]
    train(tiny_run(), path, resume=True)
    assert_same(path, straight)


def test_two_processes_cannot_train_one_folder(tmp_path, trained):
    path = tmp_path / "run"
    trained(tiny_run(), path, stopped_at=10)
    with RunFolder(path).locked(), pytest.raises(UserError, match="another process is training this run"):
        train(tiny_run(), path, resume=True)


def test_of_two_that_start_at_once_the_first_keeps_the_folder(tmp_path, monkeypatch):
    path, build = tmp_path / "run", experiment.Trainer

    def build_slowly(*arguments):
        monkeypatch.setattr(experiment, "Trainer", build)
        train(tiny_run("seed=1"), path)
        return build(*arguments)

    monkeypatch.setattr(experiment, "Trainer", build_slowly)
    with pytest.raises(UserError, match="holds another run already"):
        train(tiny_run("seed=2"), path)
    assert RunFolder(path).run() == tiny_run("seed=1")
    assert train(tiny_run("seed=1"), path, resume=True).reason == "done"


def test_a_torn_last_line_of_metrics_is_dropped(straight, tmp_path, trained):
    path = tmp_path / "run"
    trained(tiny_run(), path, stopped_at=20)
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 30, "lo')
    train(tiny_run(), path, resume=True)
    assert_same(path, straight)


@pytest.mark.parametrize(("device", "dtype"), [("cpu", torch.float64), ("mps", torch.float32)])
def test_losses_add_up_as_widely_as_the_device_can(device, dtype):
    assert sum_dtype(torch.device(device)) == dtype
