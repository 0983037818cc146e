"""What env.json says of the code that ran, and variables of the environment that others set."""

import subprocess

import pytest

from tests.runs import newest_weights, tiny_run, train
from unforced.files import write_json
from unforced.training import environment


def git(folder, *arguments):
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@nowhere"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


def test_a_repository_that_the_package_merely_lies_in_is_not_its_own(tmp_path, monkeypatch):
    file = tmp_path / "site-packages" / "environment.py"
    file.parent.mkdir()
    file.write_text("")
    monkeypatch.setattr(environment, "__file__", str(file))
    assert environment.git_commit() is None
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "--message", "somebody's")
    assert environment.git_commit() is None
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message", "with the package")
    commit = environment.git_commit()
    assert commit is not None
    assert len(commit) == 40
    file.write_text("changed")
    assert environment.git_commit() == f"{commit}+"


LEFT_OVER = [
    ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "8"}, "=8: unset it, and give gradient_accumulation=STEPS"),
    ({"ACCELERATE_USE_DEEPSPEED": "true"}, "=true: training does not use it; unset the variable"),
    ({"ACCELERATE_USE_FSDP": "1"}, "=1: training does not use it; unset the variable"),
    ({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, "=INDUCTOR: a run is not compiled by accelerate; unset it"),
    (
        {"WORLD_SIZE": "2"},
        "=2 is left over from a launcher, which sets RANK, LOCAL_RANK, MASTER_ADDR, MASTER_",
    ),
    (
        {"LOCAL_RANK": "0"},
        "=0 is left over from a launcher, which sets WORLD_SIZE, RANK, MASTER_ADDR, MASTER",
    ),
    (
        {"RANK": "1"},
        "=1 is left over from a launcher, which sets WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_",
    ),
    (
        {"PMI_SIZE": "2"},
        "=2 is left over from a launcher, which sets PMI_RANK, MASTER_ADDR, too; unset PMI_SI",
    ),
    ({"WORLD_SIZE": "many"}, "=many is not a number of processes; unset WORLD_SIZE"),
]


@pytest.mark.parametrize(("variables", "said"), LEFT_OVER)
def test_what_accelerate_would_read_for_itself_is_refused_in_one_line(
    variables, said, tmp_path, call, monkeypatch
):
    config = tmp_path / "config.json"
    write_json(config, tiny_run().tree())
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code, _, errors = call("train", config, "--out", tmp_path / "run")
    assert code == 2
    assert errors.startswith(f"unforced: environment: {next(iter(variables))}{said}")
    assert errors.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_variables_that_ask_for_nothing_and_accelerates_precision_change_no_weight(
    tmp_path, trained, monkeypatch
):
    run = tiny_run("max_steps=3")
    trained(run, tmp_path / "plain")
    quiet = {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1", "ACCELERATE_DYNAMO_BACKEND": "NO"}
    quiet |= {"ACCELERATE_USE_FSDP": "false", "ACCELERATE_MIXED_PRECISION": "bf16", "PMI_SIZE": "1"}
    for name, value in quiet.items():
        monkeypatch.setenv(name, value)
    train(run, tmp_path / "run")
    assert newest_weights(tmp_path / "run") == newest_weights(tmp_path / "plain")
