"""Studies on a Slurm cluster: with submitit's local executor, and with stand-ins for Slurm's commands."""

import json
import os
import signal
import sys
import threading
import time

import psutil
import pytest

from tests.local_queue import LocalQueue
from tests.processes import asked_to_end, work_of
from tests.small_study import small_study
from tests.test_studies import newest_step, results, uninterrupted  # noqa: F401
from unforced.errors import UserError
from unforced.runs.folder import RunFolder
from unforced.studies import slurm
from unforced.studies.engines import LOST, Job
from unforced.studies.runner import run_study
from unforced.studies.slurm import SlurmEngine
from unforced.studies.slurm_queue import read_minutes
from unforced.studies.slurm_task import SlurmTask
from unforced.study import only


def wait_until(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def job_in(folder, *names):
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    runs = [(logs / f"{name}.config.json", folder / name) for name in names]
    return Job(runs, logs / "a.log", logs / "a.ended.jsonl", False, folder)


# Through submitit, on this machine


class Interruptions:
    """Watches a study of one run: Slurm asks for its place once, and after that the user stops the study."""

    def __init__(self, run, queue):
        self.run, self.queue, self.reached = run, queue, []

    def __call__(self, statuses):
        if not self.queue.jobs or self.reached:
            return
        first = self._held()
        for process in (
            first,
            first.parent(),
        ):  # as Slurm does where it knows a job's processes by their parents
            process.send_signal(signal.SIGUSR2)
        self._released(first)
        wait_until(lambda: not first.is_running())
        second = self._held()
        signal.raise_signal(signal.SIGINT)
        threading.Thread(target=self._released, args=[second]).start()  # the study goes on meanwhile

    def _held(self):
        """The process of the run, which cannot be done before it is asked to end."""
        before = newest_step(self.run)
        wait_until(lambda: newest_step(self.run) > before)
        process = work_of(self.run)
        process.suspend()
        self.reached.append(newest_step(self.run))
        return process

    def _released(self, process):
        wait_until(lambda: asked_to_end(process))
        process.resume()


def test_a_job_that_has_to_make_room_goes_on_and_so_does_a_stopped_study(
    tmp_path,
    uninterrupted,  # noqa: F811
    monkeypatch,
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "random.py").write_text("raise SystemExit(9)\n")  # is imported by none of the processes
    out, study = tmp_path / "out", only(small_study(), ["tiny-0"])
    queue = LocalQueue()
    watch = Interruptions(out / "tiny-0", queue)
    summary = run_study(study, out, SlurmEngine(queue=queue), watch)
    assert summary.stopped_by == signal.SIGINT
    assert [(status.state, status.attempts) for status in summary.statuses.values()] == [("stopped", 1)]
    assert queue.sizes == [1]  # what was requeued is the same job
    assert (out / "logs" / "tiny-0.log").read_text().count("stopped by SIGTERM") == 2
    assert not RunFolder(out / "tiny-0").busy
    assert watch.reached[0] < watch.reached[1] <= newest_step(out / "tiny-0") < 200
    again = run_study(study, out, SlurmEngine(queue=queue), lambda statuses: None)
    assert [(status.state, status.attempts) for status in again.statuses.values()] == [("done", 1)]
    assert results(out, ["tiny-0"]) == results(uninterrupted, ["tiny-0"])


def test_jobs_are_submitted_together_and_a_killed_one_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "_LATE_SECONDS", 0.0)
    monkeypatch.setattr(slurm, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(slurm, "_ASK_SECONDS", 0.1)
    engine = SlurmEngine(workers=2, queue=LocalQueue())
    job = job_in(tmp_path, "a")
    killed, dropped = engine.start(job), engine.start(job_in(tmp_path, "b"))
    dropped.stop()
    job.stop_request.unlink()
    assert dropped.poll() == LOST  # without a job
    wait_until(lambda: work_of(tmp_path / "a") is not None)
    process = work_of(tmp_path / "a")
    assert killed.poll() is None
    process.parent().kill()
    wait_until(lambda: killed.poll() is not None)
    assert killed.poll() == LOST
    assert job.log.read_text().startswith("Slurm ended job ")
    psutil.wait_procs([process], timeout=60)
    assert not process.is_running()


# What runs on a node


@pytest.fixture
def node(tmp_path, monkeypatch):
    """Run a task whose process is a shell script, where submitit would requeue it; say so by a KeyError."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGTERM)}

    def requeued(number, frame):
        raise KeyError("requeued")

    def node(script, *names, idle=0):
        path = tmp_path / "script"
        path.write_text(f"#!/bin/sh\nended={tmp_path}/logs/a.ended.jsonl\n{script}\n")
        path.chmod(0o755)
        signal.signal(signal.SIGUSR2, requeued)
        monkeypatch.setattr(sys, "executable", str(path))
        monkeypatch.setattr("unforced.studies.slurm_task._WAIT_SECONDS", 0.02)
        task = SlurmTask(job_in(tmp_path, *names), 1)
        task.idle = idle
        return task

    yield node
    for number, handler in handlers.items():
        signal.signal(number, handler)


WAIT = "trap 'exit 143' TERM; {}; for i in $(seq 100); do sleep 0.1; done"


def test_a_task_that_is_requeued_goes_on_with_the_runs_that_are_left(node, tmp_path):
    step = f"mkdir -p {tmp_path}/b/checkpoints/step-1"
    ended = """echo '{"run": "a", "code": 3, "log": 0}' > $ended"""
    task = node(WAIT.format(f"{ended}; {step}; kill -USR2 $PPID $$"), "a", "b", idle=2)
    with pytest.raises(KeyError, match="requeued"):
        task()
    assert task.idle == 0
    task = node("echo $5 $6 $7 $8 > $0.said", "a", "b")
    assert task() == 0
    ended = tmp_path / "logs" / "a.ended.jsonl"
    assert (tmp_path / "script.said").read_text() == f"{tmp_path / 'b'} --ended={ended} --ignore SIGUSR2\n"
    ended.write_text("".join(json.dumps({"run": run, "code": 3}) + "\n" for run in "ba"))
    assert node("exit 9", "a", "b")() == 3


def test_a_task_that_never_reaches_a_checkpoint_gives_up(node, tmp_path):
    task = node(WAIT.format("kill -USR2 $PPID"), "a", idle=2)
    assert task() == 2
    assert (tmp_path / "logs" / "a.log").read_text() == (
        "ended 3 times in a row before a new checkpoint; give it more time with --time\n"
    )


def test_a_task_ends_at_the_studys_request_and_when_it_is_cancelled(node, tmp_path, commands):
    task = node(WAIT.format(f"touch {tmp_path}/logs/a.ended.stop"), "a")
    assert task() == 143
    (tmp_path / "logs" / "a.ended.stop").unlink()
    commands(squeue="echo COMPLETING")
    with pytest.raises(SystemExit):
        node(WAIT.format("kill -TERM $PPID"), "a")()
    commands(squeue="echo RUNNING")  # it is not cancelled, but has to make room
    with pytest.raises(KeyError, match="requeued"):
        node(WAIT.format("kill -TERM $PPID"), "a")()


# Slurm's commands


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Put shell scripts in place of commands; each call is noted in the file `calls`."""
    place = tmp_path / "bin"
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")

    def commands(**scripts):
        place.mkdir(exist_ok=True)
        for name, script in scripts.items():
            path = place / name
            path.write_text(f'#!/bin/sh\necho "$(basename $0) $*" >> {place}/calls\n{script}\n')
            path.chmod(0o755)
        return place / "calls"

    return commands


SINFO = "echo 'debug*|30:00|2'; echo 'debug*|30:00|4'; echo 'long|infinite|64'"
REFUSE = "echo 'allocation failure: Requested node configuration is not available' >&2; exit 1"


def test_many_jobs_are_one_array_with_what_was_requested(tmp_path, commands, monkeypatch):
    monkeypatch.setattr(slurm, "_LATE_SECONDS", 0.0)
    monkeypatch.setattr(slurm, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(slurm, "_ASK_SECONDS", 0.0)
    states = tmp_path / "states"
    states.write_text("7_0|RUNNING\n7_1|PENDING\n")
    submit = f"case $1 in --test-only) ;; *) cat $1 >> {tmp_path}/batch; echo Submitted batch job 7;; esac"
    calls = commands(sinfo=SINFO, sbatch=submit, squeue=f"cat {states}", scancel="", srun="")
    further = {"account": "physics", "exclusive": ""}
    engine = SlurmEngine(partition="long", time="1-2", cpus=3, gpus=1.0, slurm=further)
    one, two = engine.start(job_in(tmp_path, "a")), engine.start(job_in(tmp_path, "b"))
    assert (one.poll(), two.poll(), engine.threads) == (None, None, 3)
    lines = (tmp_path / "batch").read_text().splitlines()
    options = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    assert options >= {"array=0-1%2", "partition=long", "time=1560", "cpus-per-task=3", "gpus-per-node=1"}
    assert options >= {"account=physics", "exclusive", "requeue", "signal=USR2@120"}
    states.write_text("7_0|NODE_FAIL\n7_1|PENDING\n")
    assert (one.poll(), two.poll()) == (LOST, None)
    assert "Slurm ended job 7_0: NODE_FAIL" in one.job.log.read_text()
    two.stop()
    assert two.poll() is None
    states.write_text("")
    assert two.poll() == LOST
    said = calls.read_text()
    assert f"scancel --quiet --name={slurm.name_of(tmp_path / 'logs')}\n" in said
    assert "scancel --quiet --state=PENDING 7_1\n" in said


def test_a_refused_submission_fails_its_jobs_and_one_is_cancelled(tmp_path, commands, monkeypatch):
    monkeypatch.setattr(slurm, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(slurm, "_ASK_SECONDS", 0.0)
    refuse = "case $1 in --test-only) ;; *) echo 'error: QOSMaxSubmitJobPerUserLimit' >&2; exit 1;; esac"
    calls = commands(sinfo=SINFO, sbatch=refuse, squeue="exit 1", scancel="", srun="")
    engine = SlurmEngine(time=30)
    refused = engine.start(job_in(tmp_path, "a"))
    assert refused.poll() == 1
    assert "QOSMaxSubmitJobPerUserLimit" in refused.job.log.read_text()
    commands(sbatch="echo Submitted batch job 8")
    waiting = engine.start(job_in(tmp_path, "a"))
    assert waiting.poll() is None  # squeue does not answer
    waiting.kill()
    assert calls.read_text().endswith("scancel --quiet 8\n")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"partition": "lang"}, "partition='lang': unknown partition 'lang'; did you mean 'long'?"),
        ({"time": "1h"}, "time='1h': not a time; give minutes, HOURS:MINUTES:SECONDS or DAYS-HOURS, as in"),
        ({"time": "0"}, "time='0': not a time; "),
        ({"time": 31}, "time=31: partition debug allows 30 minutes; give time=30 or less"),
        ({"time": 30, "gpus": 0.5}, "gpus=0.5: Slurm gives whole GPUs; give 1, or "),
        ({"time": 30, "slurm": {"partition": "a"}}, "slurm partition: give it as partition="),
        ({"time": 30, "slurm": {"array": "1-3"}}, "slurm array: the engine sets it; drop it"),
        (
            {"time": 30, "slurm": {"--mem": "1G"}},
            "slurm --mem: not an option of sbatch; one is account=physics",
        ),
        ({"time": 30, "cpus": 5}, "cpus=5: the largest node of partition debug has 4; lower it"),
        (
            {"time": 30, "slurm": {"mem": "9T"}},
            "sbatch --test-only --time=30 --cpus-per-task=1 --mem=9T --wrap=true: Requested node ",
        ),
    ],
)
def test_what_slurm_would_not_take_is_one_line(commands, options, line):
    commands(sinfo=SINFO, sbatch=REFUSE)
    with pytest.raises(UserError) as error:
        SlurmEngine(**options)
    assert str(error.value).startswith(line)


def test_times_are_read_as_slurm_writes_them():
    times = {"90": 90, "90:01": 91, "1:30:00": 90, "1-0": 1440, "1-1:30": 1530, "0-0:0:30": 1}
    assert {text: read_minutes(text) for text in times} == times


def test_without_slurm_or_submitit_one_line_says_so_and_nothing_is_written(tmp_path, call, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = ["pitfalls_small", "--engine", "slurm", "--slurm", "account=a", "--out", out]
    code, _, errors = call("study", *arguments)
    assert code == 2
    assert errors == (
        "unforced: --engine slurm: there is no command sinfo here; start the study on a machine of a Slurm "
        "cluster, or with another --engine\n"
    )
    assert not out.exists()
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"^engine='slurm' needs submitit.*pip install 'unforced\[slurm\]'$"):
        SlurmEngine()
