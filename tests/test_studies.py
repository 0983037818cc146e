"""Runs side by side: whose folder it is, what stops them, and how they go on."""

import os
import signal
import sys
import time

import pytest

from tests.runs import command, metrics, tiny_run, train
from unforced.cli.main import main
from unforced.errors import UserError
from unforced.studies.folder import claim
from unforced.studies.local import run_side_by_side
from unforced.training.folder import RunFolder

NAMES = ("next_token", "reversed", "teacherless")
STOPPABLE = ["model.layers=1", "model.width=16", "model.heads=2", "batch_size=8", "max_steps=150"]
STOPPABLE += ["evaluate_every=25", "num_evaluate=20", "num_test=50"]


def quickstart_mistake(out, capsys):
    """The one line with which the quickstart refuses `out`."""
    with pytest.raises(SystemExit) as exit_:
        main(["quickstart", "max_steps=1", "--out", str(out)])
    assert exit_.value.code == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    return errors.removeprefix("unforced: ").rstrip("\n")


def side_by_side(out, **runs):
    return run_side_by_side(runs, out, workers=2, watch=lambda states: None)


@pytest.mark.parametrize("mine", ["table.md", "teacherless/mine.txt"])
def test_a_folder_with_files_of_others_is_refused_untouched(tmp_path, capsys, mine):
    (tmp_path / mine).parent.mkdir(exist_ok=True)
    (tmp_path / mine).write_text("mine")
    assert quickstart_mistake(tmp_path, capsys) == (
        f"{tmp_path} exists and is not the folder of a study; choose another --out"
    )
    assert (tmp_path / mine).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_folder_of_a_run_is_refused_untouched(tmp_path, capsys):
    train(tiny_run("max_steps=1"), tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    assert "is not the folder of a study" in quickstart_mistake(tmp_path / "run", capsys)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_or_a_place_below_one_is_refused(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("mine")
    assert "is not the folder of a study" in quickstart_mistake(file, capsys)
    assert quickstart_mistake(file / "below", capsys) == f"{file / 'below'}: Not a directory"
    assert file.read_text() == "mine"


def test_an_empty_folder_is_claimed_once(tmp_path):
    claim(tmp_path, {"a": tiny_run()})
    claim(tmp_path, {"a": tiny_run("checkpoint_every=3")})
    for other in ({"a": tiny_run("seed=1")}, {"a": tiny_run(), "b": tiny_run()}, {"b": tiny_run()}):
        with pytest.raises(UserError, match="holds another study"):
            claim(tmp_path, other)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Let a shell script run in place of each child."""

    def stand_in(script):
        path = tmp_path / "stand_in"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return stand_in


def test_children_keep_to_the_processor_and_share_its_cores(tmp_path, stand_in):
    stand_in("env")
    assert side_by_side(tmp_path / "out", a=tiny_run()) is None
    environment = (tmp_path / "out" / "logs" / "a.log").read_text().splitlines()
    assert "ACCELERATE_USE_CPU=true" in environment
    assert f"OMP_NUM_THREADS={max(1, (os.cpu_count() or 1) // 2)}" in environment


def test_a_failing_run_is_one_line_with_its_log(tmp_path, stand_in):
    stand_in("echo it began; echo it broke; exit 3")
    with pytest.raises(UserError) as error:
        side_by_side(tmp_path / "out", a=tiny_run())
    log = tmp_path / "out" / "logs" / "a.log"
    assert str(error.value) == f"run a failed (exit code 3): it broke (see {log})"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_every_run_and_the_same_command_goes_on(tmp_path, number):
    out = tmp_path / "out"
    study = command("quickstart", *STOPPABLE, "--out", out, start_new_session=True)
    while not all((out / name / "metrics.jsonl").exists() for name in NAMES):
        assert study.poll() is None, study.communicate()
        time.sleep(0.05)
    if number == signal.SIGTERM:
        study.terminate()
    else:
        os.killpg(study.pid, number)  # as a terminal sends Ctrl-C
    output, errors = study.communicate(timeout=60)
    assert study.returncode == 128 + number
    assert output == (
        f"stopped by {number.name}; checkpoints are in {out}, the same command goes on from them\n"
    )
    assert "Traceback" not in errors
    assert "failed" not in errors
    with pytest.raises(ProcessLookupError):
        os.killpg(study.pid, 0)  # nobody is left
    assert not all(RunFolder(out / name).done for name in NAMES)
    if number == signal.SIGTERM:
        assert any(0 < newest_step(out / name) < 150 for name in NAMES)
        again = command("quickstart", *STOPPABLE, "--out", out)
        assert again.wait(timeout=120) == 0, again.communicate()
        assert all(RunFolder(out / name).done for name in NAMES)
        assert [line["step"] for line in metrics(out / "next_token")] == list(range(0, 151, 25))


def newest_step(path):
    names = [checkpoint.name for checkpoint in (path / "checkpoints").iterdir()]
    return max((int("".join(filter(str.isdigit, name))) for name in names), default=0)
