"""Two processes, and batches worked through in parts, train as one process does."""

import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.every_objective import every_objective
from tests.pretrained import save_with_tokenizer
from tests.runs import metrics, newest_weights, tiny_run, train, unchecked
from tests.test_step import assert_same_gradients, gradients_of
from tests.trainer import assert_same, offered
from unforced.evaluation.evaluator import Evaluator, columns
from unforced.files import read_json, write_json
from unforced.runs.folder import RunFolder
from unforced.tasks.sampling import problems
from unforced.training.train_module import build_train_module


@pytest.fixture(scope="module")
def alone(tmp_path_factory, trained):
    return trained(tiny_run(), tmp_path_factory.mktemp("alone") / "run")


TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
# --cpu starts one process, whatever --num_processes says; --multi_gpu without a GPU starts all, on the CPU.
ACCELERATE = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--mixed_precision", "no"]
ACCELERATE += ["--dynamo_backend", "no"]


def start(*arguments):
    """Start a launcher on the CPU."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def finish(started):
    """Wait for a launcher; return what its processes printed."""
    output, errors = started.communicate()
    assert started.returncode == 0, errors
    return output


def launch(*arguments):
    """Run a module in two processes on the CPU."""
    return finish(start(*TORCHRUN, *arguments))


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


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


@pytest.fixture(scope="module")
def uneven(tmp_path_factory, trained):
    """A run of batches that do not halve, trained by one process, and its config."""
    folder = tmp_path_factory.mktemp("uneven")
    write_json(folder / "config.json", tiny_run("batch_size=7").tree())
    trained(tiny_run("batch_size=7"), folder / "run")
    return folder


def test_accelerate_launch_shares_uneven_batches_and_tracks_once(uneven, tmp_path):
    path = tmp_path / "run"
    options = ["--num_machines", 1, "--main_process_port", 0]
    training = ["train", uneven / "config.json", "--out", path, "--tracker", "tensorboard"]
    output = finish(start(*ACCELERATE, *options, "-m", "unforced", *training))
    assert output.count("done: ") == 1
    assert read_json(path / "env.json")["processes"] == 2
    assert_close(path, uneven / "run")
    assert len(list((path / "trackers" / "tensorboard").glob("events.*"))) == 1


def test_accelerate_launch_trains_over_nodes(uneven, tmp_path):
    path = tmp_path / "run"
    place = ["--num_machines", 2, "--main_process_ip", "127.0.0.1", "--main_process_port", free_port()]
    training = ["train", uneven / "config.json", "--out", path]
    nodes = [
        start(*ACCELERATE, *place, "--machine_rank", rank, "-m", "unforced", *training) for rank in (0, 1)
    ]
    assert [finish(node).count("done: ") for node in nodes] == [1, 0]
    assert read_json(path / "env.json")["processes"] == 2
    assert_close(path, uneven / "run")


@pytest.fixture(scope="module")
def of_two(tmp_path_factory, once):
    """What two processes, started once for three tests, leave; the folder of one run is locked meanwhile."""

    def leave(folder):
        folder.mkdir()
        save_with_tokenizer("gpt2", folder / "gpt2")
        with RunFolder(folder / "run").locked():
            launch("tests.two_processes", folder)

    return once("two processes", leave, tmp_path_factory.mktemp("of_two") / "folder")


def test_two_processes_resume_bit_for_bit_in_the_middle_of_an_interval(of_two):
    straight, stopped = of_two / "straight", of_two / "stopped"
    for path in (straight, stopped):
        names = [checkpoint.name for checkpoint in sorted((path / "checkpoints").iterdir())]
        assert names == ["step-00000020", "step-00000040"]
    assert metrics(stopped) == metrics(straight)
    assert newest_weights(stopped) == newest_weights(straight)


def test_both_of_two_processes_hear_that_a_folder_is_taken(of_two):
    refusals = [(of_two / f"refusal of {rank}").read_text() for rank in (0, 1)]
    assert len({*refusals}) == 1
    assert re.fullmatch(r"TransientError: \S+/run: another process is training this run", refusals[0])


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_gradients_are_those_of_the_whole_batch(alone, tmp_path, parts):
    train(tiny_run(f"gradient_accumulation={parts}"), tmp_path / "run")
    assert_close(tmp_path / "run", alone)


def test_two_processes_have_the_gradients_of_one_also_of_a_head_that_a_step_does_not_use(of_two):
    of_ranks = [torch.load(of_two / f"gradients of {rank}") for rank in (0, 1)]
    for name, objective in every_objective().items():
        alone = gradients_of(objective)
        for found in of_ranks:
            assert_same_gradients(found[f"{name}, in 1"], alone)
            assert_same_gradients(found[f"{name}, in 2"], alone)


def test_two_processes_of_the_trainer_have_the_loss_and_the_gradient_of_our_loop_in_one(of_two):
    for rank in (0, 1):
        steps = torch.load(of_two / f"steps of {rank}", weights_only=False)
        assert {*steps} == {*offered(), "a stream"}
        for found, own in steps.values():
            assert_same(found, own)


class OneOf:
    """One of several processes, which are asked one after the other; the last one finds what all have."""

    shares: ClassVar = []

    def __init__(self, index, count):
        self.process_index, self.num_processes = index, count

    def gather_objects(self, parts):
        self.shares.append(parts)
        return self.shares if self.process_index == self.num_processes - 1 else [parts] * self.num_processes


def test_processes_share_the_problems_of_an_evaluation(monkeypatch):
    run = tiny_run()
    alone, asked = Evaluator.of(run, build_train_module(run)), []
    some = problems(run.task, 0, "test", 0, 11)
    monkeypatch.setattr("unforced.evaluation.evaluator._MOST_ROWS", 2)

    def ask(batch):
        asked.append(len(batch))
        return (alone.forced(batch),)

    (expected,) = columns(alone, some, ask)
    assert asked == [2, 2, 2, 2, 2, 1]
    asked.clear()
    with unchecked():
        for index in range(3):
            (found,) = columns(replace(alone, processes=OneOf(index, 3)), some, ask)
    assert asked == [2, 2, 2, 2, 2, 1]
    assert np.array_equal(found, expected)
