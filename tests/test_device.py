"""What a lent GPU is used for, rehearsed on a processor."""

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from benchmarks.device import __main__ as device
from benchmarks.device import runs
from unforced.recipes import resolve_study
from unforced.runs.folder import RunFolder
from unforced.study import only

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    """The folder that a rehearsal has written, and what it has printed."""
    out = tmp_path_factory.mktemp("device")
    command = [sys.executable, "-m", "benchmarks.device", "--rehearse", "--minutes", "60", "--out", str(out)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return out, done.stdout


def test_every_part_is_done_and_leaves_a_few_small_files(rehearsed):
    out, printed = rehearsed
    assert re.findall(r"== (\w+): (.*) after", printed) == [(part, "done") for part in device.SHARES]
    assert len([*out.iterdir()]) <= 8
    assert sum(file.stat().st_size for file in out.iterdir()) < 2**20


def test_losses_of_all_ways_are_compared_with_the_processors(rehearsed):
    out, _ = rehearsed
    row = (out / "parity.txt").read_text().splitlines()[-1].split()
    assert row[0] == "next_token"
    assert all(float(apart) < 1e-3 for apart in row[1:4])
    assert all(float(milliseconds) > 0 for milliseconds in row[4:7])
    assert " ".join(row[7:]) == "all, same bytes after resuming"


def test_runs_are_ordinary_folders_without_checkpoints(rehearsed, tmp_path):
    out, _ = rehearsed
    with tarfile.open(out / "runs.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    assert not list(tmp_path.rglob("checkpoints"))
    folders = [RunFolder(file.parent) for file in tmp_path.rglob("result.json")]
    assert len(folders) == len((out / "runs.txt").read_text().splitlines()) == 20
    for folder in folders:
        folder.check_result(folder.run())
    stacked = [f for f in folders if "stacked" in f.read_result()["implementation"].get("step", "")]
    assert len(stacked) == 10


def test_what_is_wanted_of_a_language_model_is_a_part_of_its_study():
    for wanted in runs.PRETRAINED:
        verb, name, *rest = wanted.command(Path("out"), 30, rehearse=True, model="/models/one")
        overrides = rest[: next(i for i, each in enumerate(rest) if each.startswith("--"))]
        chosen = only(resolve_study(name, overrides), wanted.only).runs
        assert verb == "study"
        assert {run.model.name_or_path for run in chosen.values()} == {"/models/one"}
        assert len(chosen) >= 3


def test_a_part_that_fails_or_takes_too_long_stops_no_other(tmp_path, monkeypatch, capsys):
    scripts = {"parity": "raise SystemExit(3)", "bench": "import time; time.sleep(60)", "runs": "print(7)"}
    command = lambda part, *others: [sys.executable, "-c", scripts[part]]  # noqa: E731
    monkeypatch.setattr(device, "command_of", command)
    monkeypatch.setattr(device, "_TO_END", 0.0)
    device.main(["--out", str(tmp_path), "--minutes", "0.1"])
    printed = capsys.readouterr().out
    ends = ["failed with exit code 3", "stopped", "done"]
    assert re.findall(r"== \w+: (.*) after", printed) == ends
    assert printed.splitlines()[-1] == "7"
