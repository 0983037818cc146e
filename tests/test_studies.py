"""Studies: whose folder it is, what stops them, what goes wrong, and how they go on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from tests.runs import command, metrics, newest_weights, stop_at, tiny_run, train
from tests.small_study import small_study
from unforced.cli.main import main
from unforced.errors import UserError
from unforced.files import read_json, write_json
from unforced.registry import STUDIES
from unforced.reporting.study_progress import StudyLines
from unforced.runs.folder import RunFolder
from unforced.studies.engines import LOST
from unforced.studies.folder import StudyFolder
from unforced.studies.local import LocalEngine, available_cores, available_gpus, shares
from unforced.studies.runner import run_study
from unforced.studies.stacking import choose_stacks
from unforced.study import Study, over_seeds

NAMES = ("next_token", "reversed", "teacherless")
STOPPABLE = ["model.layers=1", "model.width=16", "model.heads=2", "batch_size=8", "max_steps=150"]
STOPPABLE += ["evaluate_every=25", "num_evaluate=20", "num_test=50"]
IGNORED = {"seconds", "training_seconds", "hardware"}


def quickstart_mistake(out, capsys):
    """The one line with which the quickstart refuses `out`."""
    with pytest.raises(SystemExit) as exit_:
        main(["quickstart", "max_steps=1", "--out", str(out)])
    assert exit_.value.code == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    return errors.removeprefix("unforced: ").rstrip("\n")


def study_of(**runs):
    return Study("mine", "nobody", runs)


def carry_out(out, study, engine=None, retries=0, watch=lambda statuses: None, stack=1, **options):
    engine = engine or LocalEngine(workers=2)
    stacks = choose_stacks(study.runs, stack, engine)
    return run_study(study, out, engine, watch, retries, stacks=stacks, **options)


def train_here(out, study):
    """Leave what a study that has been carried out leaves, without a process per run."""
    StudyFolder(out).claim(study)
    for name, run in study.runs.items():
        train(run, out / name)


def states(summary):
    return states_of(summary.statuses)


def states_of(statuses):
    return {name: status.state for name, status in statuses.items()}


def small_process(out, engine="local"):
    """Carry out the small study in a process and a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.small_study", str(out), engine],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def results(out, names=None):
    """What runs of the small study, or all of them, measured, wall times aside, and their last weights."""
    found = {}
    for name in names or small_study().runs:
        result = RunFolder(out / name).read_result()
        kept = {key: value for key, value in result.items() if key not in IGNORED}
        found[name] = (kept, metrics(out / name), newest_weights(out / name))
    return found


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, once):
    """The small study, trained in this process."""

    def finish(out):
        train_here(out, small_study())
        assert states(carry_out(out, small_study())) == dict.fromkeys(small_study().runs, "done")

    return once("small study", finish, tmp_path_factory.mktemp("uninterrupted") / "out")


def metrics_so_far(path):
    return metrics(path) if (path / "metrics.jsonl").exists() else []


def wait_for(condition, process, seconds=120):
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


# Whose folder


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
    assert quickstart_mistake(file / "below", capsys) == (
        f"{file / 'below'}: {file} is a file; choose another --out"
    )
    assert file.read_text() == "mine"


def test_an_empty_folder_is_claimed_once(tmp_path):
    StudyFolder(tmp_path).claim(study_of(a=tiny_run()))
    StudyFolder(tmp_path).claim(study_of(a=tiny_run("checkpoint_every=3")))
    for other in ({"a": tiny_run("seed=1")}, {"b": tiny_run()}):
        with pytest.raises(UserError, match="holds another study"):
            StudyFolder(tmp_path).claim(study_of(**other))


def test_what_is_left_of_a_study_is_told_by_the_runs_evaluations(tmp_path):
    study = replace(study_of(a=tiny_run(), b=tiny_run("seed=1"), c=tiny_run("seed=2")), diagnose=True)
    train(study.runs["a"], tmp_path / "a", observer=stop_at(10))
    train(study.runs["b"], tmp_path / "b")
    assert StudyFolder(tmp_path).left(study) == {"a": 0.75, "b": 0.0, "c": 1.0}  # b is to be diagnosed
    (tmp_path / "a" / "metrics.jsonl").write_text("{}\n")
    assert StudyFolder(tmp_path).left(study)["a"] == 1.0


def test_a_part_of_a_study_and_all_of_it_share_a_folder(tmp_path):
    few, many = study_of(a=tiny_run()), study_of(b=tiny_run("seed=1"), a=tiny_run())
    for study in (few, many, few):
        StudyFolder(tmp_path).claim(study)
    assert set(read_json(StudyFolder(tmp_path).marker)["runs"]) == {"a", "b"}


def test_a_kill_while_the_folder_was_made_leaves_one_that_can_be_claimed(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / ".study.json.123").write_text("{")
    StudyFolder(tmp_path).claim(study_of(a=tiny_run()))


def test_expectations_may_change_without_another_folder(tmp_path):
    study = small_study()
    StudyFolder(tmp_path).claim(Study(study.name, study.source, study.runs))
    StudyFolder(tmp_path).claim(study)
    assert len(json.loads((tmp_path / "study.json").read_text())["expectations"]) == 1


def test_runs_that_collide_are_refused():
    with pytest.raises(UserError, match="a and b are the same run"):
        study_of(a=tiny_run(), b=tiny_run("checkpoint_every=3"))
    for name in ("logs", "up/down", "..", "report", ""):
        with pytest.raises(UserError, match=r"cannot name a run's folder|no run can be called"):
            study_of(**{name: tiny_run()})
    with pytest.raises(UserError, match="has no run"):
        study_of()


def test_over_seeds_names_each_run_by_its_seed():
    runs = over_seeds({"a": tiny_run(), "b": tiny_run("order=reversed")}, range(2))
    assert list(runs) == ["a-0", "b-0", "a-1", "b-1"]
    assert [run.seed for run in runs.values()] == [0, 0, 1, 1]


# Failures


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Let a shell script run in place of each child: $4 is its config, $5 its folder, $ended see Job.

    In the script, `finish` leaves a result in that folder and ends well.
    """
    known = """
    folder=$5
    for option; do case $option in --ended=*) ended=${option#--ended=};; esac; done
    result() { mkdir -p $folder; echo > $folder/result.json; }
    finish() { result; exit 0; }
    """

    def stand_in(script):
        path = tmp_path / "stand_in"
        path.write_text(f"#!/bin/sh\n{known}\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return stand_in


def log(out, name):
    return (out / "logs" / f"{name}.log").read_text()


def test_children_have_their_share_of_the_machine(tmp_path, stand_in, monkeypatch):
    stand_in("env; echo $*; finish")
    assert LocalEngine(workers=1).threads == 1  # OMP_NUM_THREADS of these tests
    monkeypatch.delenv("OMP_NUM_THREADS")
    engine = LocalEngine(workers=1, processor_only=True)
    assert states(carry_out(tmp_path / "out", study_of(a=tiny_run()), engine)) == {"a": "done"}
    said = log(tmp_path / "out", "a").splitlines()
    assert "ACCELERATE_USE_CPU=true" in said
    assert f"OMP_NUM_THREADS={len(available_cores())}" in said
    assert said[-1].endswith(f"--cores {','.join(map(str, available_cores()))}")


def test_shares_cover_the_machine_and_do_not_overlap():
    four = shares([0, 1, 2, 3, 4], [], workers=2)
    assert [share.cores for share in four] == [[0, 2, 4], [1, 3]]
    assert {share.cores for share in shares([0, 1], [], workers=3)} == {None}
    assert [share.gpu for share in shares([0, 1], ["4", "7"], workers=5)] == ["4", "7", "4", "7", "4"]


def test_gpus_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert available_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert available_gpus() == ["4", "7"]
    assert LocalEngine().workers == 2


def test_one_failure_stops_no_other_run_and_is_told_with_its_log(tmp_path, stand_in):
    stand_in("case $5 in *a) echo it began; echo it broke; exit 3;; esac; finish")
    out = tmp_path / "out"
    summary = carry_out(out, study_of(a=tiny_run(), b=tiny_run("seed=1")))
    assert states(summary) == {"a": "failed", "b": "done"}
    reason = f"exit code 3: it broke (see {out / 'logs' / 'a.log'})"
    assert summary.statuses["a"].reason == reason
    assert json.loads((out / "states.json").read_text())["a"] == {
        "state": "failed",
        "attempts": 1,
        "reason": reason,
    }
    with pytest.raises(UserError, match=r"^run a failed \(exit code 3: it broke"):
        summary.raise_failures()


@pytest.mark.parametrize(
    ("ends", "attempts", "reason"),
    [
        ("exit 3", 3, "exit code 3: it printed nothing"),
        ("echo unforced: no space left; exit 75", 3, "exit code 75: no space left"),
        ("kill -9 $$", 3, "killed by SIGKILL, as a machine out of memory does: it printed nothing"),
        (
            "echo unforced: out of memory: lower batch_size; exit 2",
            1,
            "exit code 2: out of memory: lower batch",
        ),
    ],
)
def test_what_broke_is_tried_again_but_not_a_mistake(tmp_path, stand_in, ends, attempts, reason):
    stand_in(ends)
    summary = carry_out(tmp_path / "out", study_of(a=tiny_run()), retries=2)
    assert summary.statuses["a"].attempts == attempts
    assert summary.statuses["a"].reason.startswith(reason)
    assert log(tmp_path / "out", "a").count("attempt") == attempts


def test_a_run_that_lacks_what_may_come_is_told_from_a_mistake(tmp_path):
    config = tmp_path / "config.json"
    write_json(config, tiny_run().tree())
    out = tmp_path / "run"
    with RunFolder(out).locked():
        work = command("work", config, out, stdin=subprocess.PIPE)
        while work.poll() is None:
            time.sleep(0.1)  # its input stays open
    output, errors = work.communicate()
    assert (work.returncode, errors) == (os.EX_TEMPFAIL, "")
    assert output.endswith(f"unforced: {out}: another process is training this run\n")
    config.write_text("{")
    work = command("work", config, tmp_path / "other", stdin=subprocess.PIPE)
    while work.poll() is None:
        time.sleep(0.1)
    assert "not JSON" in work.communicate()[1]
    assert work.returncode == 2


def test_a_second_try_that_goes_well_ends_well(tmp_path, stand_in):
    stand_in(f"test -e {tmp_path}/tried || {{ touch {tmp_path}/tried; exit 1; }}; finish")
    summary = carry_out(tmp_path / "out", study_of(a=tiny_run()), retries=1)
    assert (summary.statuses["a"].state, summary.statuses["a"].attempts) == ("done", 2)
    assert summary.statuses["a"].reason == ""


def test_an_exit_without_a_result_is_a_failure(tmp_path, stand_in):
    stand_in("exit 0")
    summary = carry_out(tmp_path / "out", study_of(a=tiny_run()))
    assert states(summary) == {"a": "failed"}
    assert summary.statuses["a"].reason.startswith("exit code 0, but without a result")


@pytest.mark.parametrize(("per_job", "stack"), [(4, 1), (1, 4)], ids=["in turn", "at once"])
def test_one_process_may_carry_out_several_runs_which_end_each_by_itself(per_job, stack, tmp_path):
    out = tmp_path / "out"
    runs = {"a": tiny_run("max_steps=3"), "b": tiny_run("max_steps=3", "seed=1")}
    runs |= {"c": tiny_run("max_steps=3", "learning_rate=1e30"), "d": tiny_run("max_steps=3", "seed=2")}
    StudyFolder(out).claim(study_of(**runs))
    (out / "b").mkdir()
    (out / "b" / "config.json").write_text("{")
    summary = carry_out(out, study_of(**runs), LocalEngine(workers=1), stack=stack, runs_per_job=per_job)
    assert states(summary) == {"a": "done", "b": "failed", "c": "done", "d": "done"}
    assert {status.attempts for status in summary.statuses.values()} == {1}
    assert summary.statuses["a"].reason == summary.statuses["d"].reason == ""
    assert "config.json: not JSON" in summary.statuses["b"].reason
    assert summary.statuses["c"].reason.startswith("diverged: ")
    assert RunFolder(out / "c").read_result()["ended_by"] == "diverged"


def test_a_process_that_breaks_costs_the_run_that_it_is_at_one_attempt(tmp_path, stand_in):
    ended = """{"run": "a", "code": 0, "log": 0}"""
    stand_in(f"case $5 in *b) exit 1;; *c) finish;; esac; result; echo '{ended}' > $ended; exit 1")
    study = study_of(a=tiny_run(), b=tiny_run("seed=1"), c=tiny_run("seed=2"))
    engine = LocalEngine(workers=1)
    summary = run_study(study, tmp_path / "out", engine, lambda statuses: None, retries=1, runs_per_job=3)
    assert states(summary) == {"a": "done", "b": "failed", "c": "done"}
    assert [status.attempts for status in summary.statuses.values()] == [1, 2, 1]


def test_a_process_that_breaks_costs_each_run_that_it_trains_at_once_one_attempt(tmp_path, stand_in):
    stand_in("echo $*; exit 1")
    study = study_of(a=tiny_run(), b=tiny_run("model.width=8"), c=tiny_run("seed=2"))
    summary = carry_out(tmp_path / "out", study, LocalEngine(workers=1), stack=2)
    assert states(summary) == dict.fromkeys("abc", "failed")
    command = log(tmp_path / "out", "a")
    assert "c.config.json" in command
    assert "b.config.json" not in command
    assert "--stack" in command
    assert [status.attempts for status in summary.statuses.values()] == [1, 1, 1]


class Counting:
    """An engine that notes what it starts, and where nothing ends."""

    workers, threads, at_full_speed, free_memory = 3, 1, 1, None

    def __init__(self):
        self.jobs = []

    def start(self, job):
        self.jobs.append([folder.name for _, folder in job.runs])
        if len(self.jobs) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return self

    def poll(self):
        return 0 if len(self.jobs) == 3 else None

    def stop(self):
        pass


def test_runs_that_can_be_trained_at_once_are_shared_among_the_workers(tmp_path):
    runs = {
        f"{width}-{seed}": tiny_run(f"seed={seed}", f"model.width={width}")
        for width in (8, 16)
        for seed in (0, 1)
    }
    runs = {
        "mamba": tiny_run("model=mamba", "model.width=8"),
        **runs,
        "8-2": tiny_run("seed=2", "model.width=8"),
    }
    engine = Counting()
    carry_out(tmp_path / "out", study_of(**runs), engine, stack=8, runs_per_job=8)
    assert engine.jobs == [["mamba"], ["8-0", "8-1"], ["16-0", "16-1"]]


class Broken:
    """An engine whose disk is full for run a, and whose workers are lost."""

    workers, threads, at_full_speed, free_memory = 1, 1, 1, None

    def start(self, job):
        if job.log.stem == "a":
            raise OSError(28, "No space left on device", str(job.log))
        return Lost()

    def close(self):
        pass


class Lost:
    def poll(self):
        return LOST

    def stop(self):
        pass

    def kill(self):
        pass


def test_a_full_disk_and_a_lost_worker_fail_their_runs_alone(tmp_path):
    summary = carry_out(tmp_path, study_of(a=tiny_run(), b=tiny_run("seed=1")), Broken(), retries=1)
    assert summary.statuses["a"].reason == f"{tmp_path / 'logs' / 'a.log'}: No space left on device"
    assert summary.statuses["b"].reason.startswith("its worker was lost")
    assert (summary.statuses["a"].attempts, summary.statuses["b"].attempts) == (1, 2)


def test_a_damaged_result_fails_its_run_with_advice(tmp_path):
    run = tiny_run("max_steps=1")
    train(run, tmp_path / "out" / "a")
    (tmp_path / "out" / "a" / "result.json").write_text("{")
    (tmp_path / "out" / "study.json").write_text(json.dumps({"runs": {"a": run.fingerprint}}))
    summary = carry_out(tmp_path / "out", study_of(a=run), retries=1)
    assert states(summary) == {"a": "failed"}
    assert "delete it, and train with --resume to measure again" in summary.statuses["a"].reason


def test_a_result_of_another_run_is_not_taken_for_this_ones(tmp_path):
    runs, out = {"a": tiny_run("max_steps=1"), "b": tiny_run("max_steps=1", "seed=1")}, tmp_path / "out"
    train_here(out, study_of(**runs))
    (out / "b" / "result.json").write_bytes((out / "a" / "result.json").read_bytes())
    summary = carry_out(out, study_of(**runs))
    assert states(summary) == {"a": "done", "b": "failed"}
    assert "result.json is another run's; delete it, and train with --resume" in summary.statuses["b"].reason


def test_a_damaged_config_or_history_fails_its_run_alone(tmp_path):
    out = tmp_path / "out"
    study = study_of(**{name: tiny_run("max_steps=1", f"seed={seed}") for seed, name in enumerate("abc")})
    train_here(out, study)
    (out / "a" / "config.json").write_text("{")
    (out / "b" / "metrics.jsonl").write_text("garbage\n")
    shutil.rmtree(out / "c")
    summary = carry_out(out, study)
    assert states(summary) == {"a": "failed", "b": "failed", "c": "done"}
    assert "config.json" in summary.statuses["a"].reason
    assert "metrics.jsonl: line 1: not JSON" in summary.statuses["b"].reason


def test_a_full_disk_at_the_end_does_not_cost_the_summary(tmp_path, stand_in, monkeypatch):
    def full(path, value):
        raise OSError(28, "No space left on device", str(path))

    stand_in("finish")
    monkeypatch.setattr("unforced.studies.runner.write_json", full)
    assert states(carry_out(tmp_path / "out", study_of(a=tiny_run()))) == {"a": "done"}
    assert not (tmp_path / "out" / "states.json").exists()


def test_a_half_made_run_folder_is_made_whole(tmp_path):
    out, left = tmp_path / "out", {"a": [], "b": ["checkpoints/"], "c": ["checkpoints/", ".config.json.77"]}
    study = study_of(**{name: tiny_run("max_steps=1", f"seed={seed}") for seed, name in enumerate(left)})
    StudyFolder(out).claim(study)
    for name, parts in left.items():
        (out / name).mkdir()
        for part in parts:
            path = out / name / part
            path.mkdir() if part.endswith("/") else path.write_text("{")
    assert states(carry_out(out, study, runs_per_job=3)) == dict.fromkeys(left, "done")


def test_a_run_that_another_process_trains_is_waited_for(tmp_path, stand_in, capsys):
    stand_in("echo started; finish")
    out = tmp_path / "out"
    StudyFolder(out).claim(study_of(a=tiny_run()))
    (out / "a").mkdir()
    held = RunFolder(out / "a").locked()
    held.__enter__()
    assert RunFolder(out / "a").busy
    turns, lines = [], StudyLines(out)

    def watch(statuses):
        turns.append(statuses["a"].state)
        lines(statuses)
        if len(turns) == 3:
            held.__exit__(None, None, None)

    carry_out(out, study_of(a=tiny_run()), watch=watch)
    assert turns[:3] == ["waiting"] * 3
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "a waiting: another process is training it"
    assert [line.split(":")[0] for line in said[1:]] == ["a running", "a done"]
    assert turns[-1] == "done"
    assert not RunFolder(out / "a").busy


# Stopping and going on


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_every_run_and_the_same_command_goes_on(tmp_path, number):
    out = tmp_path / "out"
    study = command("quickstart", *STOPPABLE, "--out", out, start_new_session=True)
    wait_for(lambda: all((out / name / "metrics.jsonl").exists() for name in NAMES), study)
    os.killpg(study.pid, number)  # as a terminal sends Ctrl-C
    output, errors = study.communicate(timeout=60)
    assert study.returncode == 128 + number
    assert output == (
        f"stopped by {number.name}; checkpoints are in {out}, the same command continues from them\n"
    )
    assert "Traceback" not in errors
    assert "failed" not in errors
    assert not any(RunFolder(out / name).busy for name in NAMES)  # nobody is left
    assert not all(RunFolder(out / name).done for name in NAMES)
    if number == signal.SIGTERM:
        assert any(0 < newest_step(out / name) < 150 for name in NAMES)
        again = command("quickstart", *STOPPABLE, "--out", out)
        assert again.wait(timeout=120) == 0, again.communicate()
        assert all(RunFolder(out / name).done for name in NAMES)
        assert [line["step"] for line in metrics(out / "next_token")] == list(range(0, 151, 25))


def newest_step(path):
    whole = (path / "checkpoints").glob("step-*")  # and no draft
    return max((int(checkpoint.name.removeprefix("step-")) for checkpoint in whole), default=0)


@pytest.mark.parametrize("seconds", [0.05, 0.5])
def test_ctrl_c_twice_ends_what_will_not_stop_and_keeps_what_is_done(tmp_path, stand_in, seconds):
    stand_in("case $5 in *a) finish;; esac; trap '' TERM; echo deaf; exec sleep 60")
    out, seen = tmp_path / "out", {}

    def press_twice():
        while set(seen.values()) != {"done", "running"} or "deaf" not in log(out, "b") + log(out, "c"):
            time.sleep(0.05)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(seconds)

    started = time.monotonic()
    threading.Thread(target=press_twice).start()
    study = study_of(a=tiny_run(), b=tiny_run("seed=1"), c=tiny_run("seed=2"))
    summary = carry_out(out, study, watch=lambda statuses: seen.update(states_of(statuses)))
    assert time.monotonic() - started < 30
    assert summary.stopped_by == signal.SIGINT
    assert states(summary) == {"a": "done", "b": "stopped", "c": "stopped"}
    assert json.loads((out / "states.json").read_text())["b"]["state"] == "stopped"


def test_runs_of_a_killed_study_end_with_a_checkpoint_and_go_on_to_the_same_results(tmp_path, uninterrupted):
    out = tmp_path / "out"
    first = small_process(out)
    wait_for(lambda: len(metrics_so_far(out / "tiny-0")) > 1, first)  # the first is of step 0
    first.kill()
    first.wait()
    until = time.monotonic() + 60
    while any(RunFolder(out / name).busy for name in small_study().runs):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert "stopped by SIGTERM" in log(out, "tiny-0")
    assert newest_step(out / "tiny-0") > 0
    assert not all(RunFolder(out / name).done for name in small_study().runs)
    output, errors = small_process(out).communicate(timeout=300)
    assert output == f"{dict.fromkeys(small_study().runs, ('done', 1))}\n", errors
    assert results(out) == results(uninterrupted)


def test_two_studies_share_a_tree_but_not_a_folder(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    train_here(two, study := study_of(a=tiny_run("max_steps=1")))
    with StudyFolder(one).locked():  # as a process that is at work
        second = small_process(one)
        _, errors = second.communicate(timeout=120)
        assert states(carry_out(two, study)) == {"a": "done"}
    assert second.returncode != 0
    assert errors.strip().endswith(f"{one}: another process is at work on this study; let it end, or stop it")


# The verb


@pytest.fixture
def registered():
    with STUDIES.holding(small="tests.small_study:small_study"):
        yield


def test_a_finished_study_is_left_alone_within_seconds(tmp_path, call, registered, uninterrupted):
    before = {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")}
    started = time.monotonic()
    code, output, _ = call("study", "small", "--out", uninterrupted)
    assert time.monotonic() - started < 5
    assert code == 0
    assert output == f"3 done: tiny-0, tiny-1, tiny-2\nnext: unforced report {uninterrupted}\n"
    assert {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")} == before


def test_a_dry_run_shows_the_plan_and_writes_nothing(tmp_path, call, registered):
    code, output, _ = call("study", "small", "--out", tmp_path / "out", "--workers", 2, "--dry-run")
    assert code == 0
    assert "tiny" in output
    assert "3 runs to do" in output
    assert not (tmp_path / "out").exists()
    code, output, _ = call("study", "small", "--out", tmp_path / "out", "--dry-run", "--json")
    (kind,) = json.loads(output)["kinds"]
    assert (kind["runs"], kind["left"], kind["steps"]) == (3, 3, 200)
    assert kind["operations"] > 0
    assert kind["seconds"] > 0


def test_a_dry_run_wants_no_lock(tmp_path, call, registered, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr("unforced.studies.cost.Costs.work", lambda *_: 1e15)
    monkeypatch.setattr("unforced.studies.cost.Costs.speed", lambda *_: 1e12)
    StudyFolder(out).claim(small_study())
    with StudyFolder(out).locked():
        assert call("study", "small", "--out", out)[0] == 2
        code, output, _ = call("study", "small", "--out", out, "--dry-run")
    assert (code, "3 runs to do" in output) == (0, True)


def test_the_verb_counts_what_is_left_and_says_what_failed(tmp_path, call, registered, stand_in):
    stand_in("case $5 in *1) echo it broke; exit 3;; esac; finish")
    code, output, errors = call("study", "small", "--out", tmp_path / "out", "--retries", 0)
    assert code == 1
    assert "3 runs to do" in output
    assert "PFLOP" not in output  # only a dry run measures
    assert "2 done: tiny-0, tiny-2\n1 failed: tiny-1\n" in output
    assert f"tiny-1: exit code 3: it broke (see {tmp_path / 'out' / 'logs' / 'tiny-1.log'})" in output
    assert "the same command tries what failed again" in output
    assert "tiny-1 failed: exit code 3" in errors
    code, output, _ = call("study", "small", "--out", tmp_path / "out", "--retries", 0, "--json")
    assert code == 1
    assert json.loads(output)["runs"]["tiny-1"]["state"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["pitfall_small"], "unknown study 'pitfall_small'; did you mean 'pitfalls_small'?"),
        (["small", "--stack", "4", "--tracker", "tensorboard"], "--stack: a tracker follows one run of a"),
        (["small", "--engine", "rai"], "unknown engine 'rai'; did you mean 'ray'?"),
        (
            ["small", "--cpus", "2"],
            "--cpus is for --engine ray or slurm, not local; drop it, or change --engine",
        ),
        (
            ["small", "seed=3"],
            "seed: the runs of 'small' differ in it; drop it, or choose among them with --only, "
            "as in --only '*-0'",
        ),
    ],
)
def test_mistakes_are_one_line(tmp_path, call, registered, arguments, line):
    code, _, errors = call("study", *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert errors.startswith(f"unforced: {line}")
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()
