"""Trackers get what the run folder holds: each line once, whatever interrupts; and never harm the run."""

import json
import shutil
import sqlite3
import subprocess
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.runs import TIMES, Silent, command, metrics, newest_weights, stop_at, tiny_run, train
from unforced.errors import UserError
from unforced.files import read_json, write_json
from unforced.integrations import trackers as tracking
from unforced.integrations.trackers import numbers, track
from unforced.studies.local import LocalEngine
from unforced.studies.runner import run_study
from unforced.study import Study, over_seeds

STEPS = [0, 10, 20, 30, 40]


@pytest.fixture(scope="module")
def untracked(tmp_path_factory, trained):
    return trained(tiny_run(), tmp_path_factory.mktemp("untracked") / "run")


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.json"
    write_json(path, tiny_run().tree())
    return path


def tracked(path, resume=False, observer=None, name="tensorboard"):
    with track(observer or Silent(), [name], tiny_run(), path) as both:
        return train(tiny_run(), path, resume, both)


def written(path):
    """What TensorBoard reads back: key -> [(step, value)]."""
    events = EventAccumulator(str(path / "trackers" / "tensorboard"))
    events.Reload()
    return {key: [(e.step, e.value) for e in events.Scalars(key)] for key in events.Tags()["scalars"]}


def expected(path):
    """The same from the run folder."""
    series = {}
    for line in (path / "metrics.jsonl").read_text().splitlines():
        line = json.loads(line)
        step = line.pop("step")
        for key, value in numbers(line).items():
            series.setdefault(key, []).append((step, value))
    result = read_json(path / "result.json") if (path / "result.json").exists() else {}
    for key, value in numbers({"result": result}).items():
        series[key] = [(result["steps"], value)]
    return series


def assert_has_all(path):
    found, wanted = written(path), expected(path)
    assert found.keys() == wanted.keys()
    for key, series in wanted.items():
        assert [step for step, _ in found[key]] == [step for step, _ in series], key
        if key not in TIMES:  # steps taken again take another time
            values = [value for _, value in found[key]]
            assert values == pytest.approx([value for _, value in series], rel=1e-6)


def test_a_line_becomes_numbers():
    line = {
        "step": 3,
        "loss": None,
        "learning_rate": 0.5,
        "train.free.exact": {"correct": 3, "total": 4},
        "train.free.errors": {"wrong_arm": 1, "malformed": 0},
    }
    assert numbers(line) == {
        "step": 3,
        "learning_rate": 0.5,
        "train.free.exact": 0.75,
        "train.free.errors.wrong_arm": 1,
        "train.free.errors.malformed": 0,
    }
    result = {"run": "ab", "chance": 0.5, "test.free.exact": {"value": 0.75, "correct": 3, "total": 4}}
    assert numbers({"result": result}) == {"result.chance": 0.5, "result.test.free.exact": 0.75}


def test_tensorboard_gets_every_line_the_result_and_the_settings(call, config, tmp_path, untracked):
    path = tmp_path / "run"
    code, output, _ = call("train", config, "--out", path, "--tracker", "tensorboard", "--json")
    assert code == 0
    assert json.loads(output) == read_json(path / "result.json")
    assert_has_all(path)
    assert [step for step, _ in written(path)["validation.free.exact"]] == STEPS
    exact = read_json(path / "result.json")["test.free.exact"]["value"]
    assert written(path)["result.test.free.exact"] == [(40, pytest.approx(exact))]
    [settings] = (path / "trackers" / "tensorboard").glob("*/hparams.yml")
    assert "task.path_length: 3\n" in settings.read_text()
    assert metrics(path) == metrics(untracked)
    assert newest_weights(path) == newest_weights(untracked)


def test_a_tracker_is_no_part_of_the_run(call, config, tmp_path, untracked):
    call("train", config, "--out", tmp_path / "run", "--tracker", "tensorboard")
    assert (tmp_path / "run" / "config.json").read_bytes() == (untracked / "config.json").read_bytes()


def test_a_stopped_run_goes_on_in_the_same_tracker_and_tells_no_step_twice(tmp_path):
    path = tmp_path / "run"
    assert tracked(path, observer=stop_at(30)).stopped_by is not None
    assert_has_all(path)
    newest = sorted((path / "checkpoints").iterdir())[-1]
    assert newest.name == "step-00000030"
    shutil.rmtree(newest)  # so that steps 16 to 30 are taken again
    assert tracked(path, resume=True).reason == "steps"
    assert_has_all(path)
    assert len(list((path / "trackers" / "tensorboard").glob("*/hparams.yml"))) == 1


def test_a_tracker_may_join_late_or_after_the_end(tmp_path, untracked):
    path = tmp_path / "late"
    train(tiny_run(), path, observer=stop_at(20))
    tracked(path, resume=True)
    assert_has_all(path)
    path = shutil.copytree(untracked, tmp_path / "ended")
    for _ in range(2):
        assert tracked(path, resume=True).reason == "done"
        assert_has_all(path)


def test_a_failing_tracker_is_left_out_and_made_up_for(tmp_path, monkeypatch, untracked):
    def fail(run, folder):
        raise RuntimeError("no\nconnection")

    path, observer = tmp_path / "run", Silent()
    with monkeypatch.context() as patch:
        patch.setitem(tracking.STARTERS, "tensorboard", fail)
        assert tracked(path, observer=observer).reason == "steps"
    [line] = observer.news
    assert line.startswith("tracker 'tensorboard' is left out")
    assert "connection" in line
    assert metrics(path) == metrics(untracked)
    tracked(path, resume=True)
    assert_has_all(path)


def test_only_the_first_process_tracks(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with track(Silent(), ["tensorboard"], tiny_run(), tmp_path) as observer:
        assert observer.trackers == []


def test_another_runs_folder_is_not_written_to(tmp_path, untracked):
    other = tiny_run("seed=1")
    with pytest.raises(UserError), track(Silent(), ["tensorboard"], other, untracked) as observer:
        train(other, untracked, observer=observer)
    assert not (untracked / "trackers").exists()


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_missing_package_is_one_line_before_anything_is_made(call, config, tmp_path, monkeypatch, name):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, output, errors = call("train", config, "--out", tmp_path / "run", "--tracker", name)
    assert (code, output) == (2, "")
    assert errors == (
        f"unforced: tracker {name!r} needs {name}, which is not installed: pip install 'unforced[{name}]'\n"
    )
    assert not (tmp_path / "run").exists()


def test_an_unknown_tracker_is_one_line(call, config, tmp_path):
    code, _, errors = call("train", config, "--out", tmp_path / "run", "--tracker", "tensorbord")
    assert (code, errors) == (2, "unforced: unknown tracker 'tensorbord'; did you mean 'tensorboard'?\n")
    assert not (tmp_path / "run").exists()


def test_no_trackers_package_is_imported_before_it_is_used():
    program = (
        "import sys; from unforced.integrations.trackers import check_trackers; "
        "check_trackers(['tensorboard']); "
        "print(sorted({'tensorboard', 'wandb', 'trackio'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout == "[]\n"


def train_by_command(config, path, name):
    """Train, stopped at its first line and resumed, in processes of their own."""
    stopped = command("train", config, "max_steps=40", "--out", path, "--tracker", name)
    for line in stopped.stderr:
        if line.startswith("step 10:"):
            stopped.terminate()
            break
    stopped.communicate(timeout=120)
    resumed = command("train", config, "--out", path, "--tracker", name, "--resume", "--json")
    output, errors = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, errors
    assert json.loads(output) == read_json(path / "result.json")


def history(rows):
    """Series from rows of (step, values), as `expected` has them."""
    series = {}
    for step, values in rows:
        for key, value in values.items():
            series.setdefault(key, []).append((step, value))
    return series


def test_trackio_gets_every_line_in_one_run(config, tmp_path):
    path = tmp_path / "run"
    train_by_command(config, path, "trackio")
    with sqlite3.connect(path / "trackers" / "trackio" / "unforced.db") as database:
        rows = database.execute("select run_name, step, metrics from metrics order by id").fetchall()
        [[settings]] = database.execute("select config from configs").fetchall()
    assert {name for name, _, _ in rows} == {tiny_run().fingerprint}
    assert history([(step, json.loads(values)) for _, step, values in rows]) == expected(path)
    assert json.loads(settings)["task.path_length"] == 3


def wandb_records(file):
    """The records of a .wandb file: LevelDB's log format, blocks of 32 KiB, each record possibly in parts."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, record = file.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(record)
            record = b""


def test_wandb_gets_every_line_offline_under_one_id(config, tmp_path):
    path = tmp_path / "run"
    train_by_command(config, path, "wandb")
    rows, settings = [], []
    for file in sorted((path / "trackers" / "wandb").glob("offline-run-*/*.wandb")):
        assert file.stem == f"run-{tiny_run().fingerprint}"
        for record in wandb_records(file):
            items = {item.nested_key[0] or item.key: item.value_json for item in record.history.item}
            values = {key: json.loads(text) for key, text in items.items() if not key.startswith("_")}
            rows += [(record.history.step.num, values)] if values else []
            settings += [item for item in record.run.config.update if item.key == "task"]
    assert history(rows) == expected(path)
    assert json.loads(settings[0].value_json)["path_length"] == 3


def test_the_runs_of_a_study_are_tracked(tmp_path):
    study = Study("two", "nobody", over_seeds({"tiny": tiny_run()}, range(2)))
    summary = run_study(study, tmp_path, LocalEngine(2), lambda statuses: None, trackers=["tensorboard"])
    assert not summary.failed, summary
    for name in study.runs:
        assert_has_all(tmp_path / name)
