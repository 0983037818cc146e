"""Two processes, and batches worked through in parts, train as one process does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.runs import metrics, newest_weights, tiny_run, train
from unforced.files import read_json, write_json


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    path = tmp_path_factory.mktemp("alone") / "run"
    train(tiny_run(), path)
    return path


def launch(*arguments):
    """Run a module in two processes on the CPU."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    finished = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, env=environment
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def assert_close(one, other):
    for ours, theirs in zip(metrics(one)[1:], metrics(other)[1:], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
    weights = [load_file(newest(path) / "learner.safetensors") for path in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for name, weight in weights[0].items():
        assert weight.numpy() == pytest.approx(weights[1][name].numpy(), rel=1e-2, abs=1e-4), name


def newest(path):
    return sorted((Path(path) / "checkpoints").iterdir())[-1]


def test_two_processes_train_as_one_and_speak_once(alone, tmp_path):
    config = tmp_path / "config.json"
    write_json(config, tiny_run().tree())
    output = launch("unforced", "train", config, "--out", tmp_path / "run")
    assert output.count("done: ") == 1
    assert read_json(tmp_path / "run" / "env.json")["processes"] == 2
    assert_close(tmp_path / "run", alone)


def test_two_processes_resume_bit_for_bit_in_the_middle_of_an_interval(tmp_path):
    launch("tests.two_processes", tmp_path)
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    for path in (straight, stopped):
        names = [checkpoint.name for checkpoint in sorted((path / "checkpoints").iterdir())]
        assert names == ["step-00000020", "step-00000040"]
    assert metrics(stopped) == metrics(straight)
    assert newest_weights(stopped) == newest_weights(straight)


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_gradients_are_those_of_the_whole_batch(alone, tmp_path, parts):
    train(tiny_run(f"gradient_accumulation={parts}"), tmp_path / "run")
    assert_close(tmp_path / "run", alone)
