"""What a node of a Slurm cluster runs for a job of a study."""

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from unforced.errors import MISTAKE
from unforced.studies.engines import Job

_WAIT_SECONDS = 1.0
_IDLE = 3


class SlurmTask:
    """Runs the process of a job, in a process of submitit's, and returns its exit code.

    The process is ended with a checkpoint when the study asks (`Job.stop_request`), when Slurm sends SIGTERM,
    and when it sends submitit's signal: the time limit is near. After that signal, and after SIGTERM if Slurm
    does not end the job itself, the task has itself requeued. Slurm requeues a job whose node failed, or that
    makes room for another. A task that is started again goes on with the runs that have not ended.

    idle: how often in a row Slurm has ended it before it had a new checkpoint; the third time, it gives up.
    """

    def __init__(self, job: Job, threads: int) -> None:
        self.job, self.threads, self.idle = job, threads, 0

    def __call__(self) -> int:
        """Train the runs that have not ended."""
        codes = _codes(self.job)
        rest = replace(self.job, runs=[run for run in self.job.runs if run[1].name not in codes])
        if not rest.runs:
            return next((code for code in reversed(codes.values()) if code), 0)
        before, signals = _reached(rest), _Signals()
        code = _carry_out(rest, self.threads, signals)
        stopped = {-signals.number, -signal.SIGTERM, 128 + signal.SIGTERM}  # the first two: while it starts
        if signals.last is None or code not in stopped or _is_asked(rest):
            return code
        if signals.last == signal.SIGTERM and not _is_running():
            raise SystemExit(128 + signal.SIGTERM)  # without a result, since Slurm may start it again
        self.idle = 0 if _reached(rest) != before or len(_codes(rest)) > len(codes) else self.idle + 1
        if self.idle == _IDLE:
            _say(rest, f"ended {_IDLE} times in a row before a new checkpoint; give it more time with --time")
            return MISTAKE
        with contextlib.suppress(subprocess.CalledProcessError):  # a cluster may forbid it
            signals.requeue()
        return code

    def checkpoint(self) -> Any:
        """Return what submitit is to run when Slurm starts the job again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class _Signals:
    """Notes the signals with which Slurm announces the end of a task, instead of submitit's handlers."""

    def __init__(self) -> None:
        self.number = near_the_limit()
        self.last: int | None = None
        self._requeue: Any = signal.getsignal(self.number)
        for number in (self.number, signal.SIGTERM):
            signal.signal(number, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.last = number

    def requeue(self) -> None:
        """Let submitit requeue the job, which ends this process. Raises CalledProcessError."""
        self._requeue(self.number, None)


def near_the_limit() -> signal.Signals:
    """Return the signal that submitit lets Slurm send some time before a job's time is over."""
    from submitit import JobEnvironment

    return signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]


def _carry_out(job: Job, threads: int, signals: _Signals) -> int:
    """Run the job's process; end it with a checkpoint when the study or Slurm asks.

    Slurm may send its signals to all processes of a job. The process ignores the first one, and SIGTERM after
    the first time.
    """
    process = job.start(threads, options=["--ignore", signals.number.name])
    asked = False
    while (code := process.poll()) is None:
        if not asked and (signals.last is not None or _is_asked(job)):
            asked = True
            process.terminate()
        time.sleep(_WAIT_SECONDS)
    return code


def _codes(job: Job) -> dict[str, int]:
    """Return the exit codes of the job's runs that have ended, by name, in that order."""
    try:
        lines = job.ended.read_text().splitlines(keepends=True)
    except OSError:
        return {}
    ends = [json.loads(line) for line in lines if line.endswith("\n")]
    return {end["run"]: end["code"] for end in ends}


def _reached(job: Job) -> set[Path]:
    """Return the checkpoints of the job's runs."""
    return {path for _, folder in job.runs for path in (folder / "checkpoints").glob("step-*")}


def _is_asked(job: Job) -> bool:
    """Whether the study has asked the job to end."""
    with contextlib.suppress(OSError):
        look_anew(job.stop_request.parent)
    return job.stop_request.exists()


def look_anew(folder: Path) -> None:
    """Let a network file system ask its server which files a folder has: a change of attributes does that."""
    folder.chmod(folder.stat().st_mode)


def _is_running() -> bool:
    """Whether Slurm counts this job as running, after SIGTERM: it was not cancelled, but has to make room."""
    command = ["squeue", "--noheader", f"--jobs={os.environ.get('SLURM_JOB_ID')}", "--format=%T"]
    try:
        return "RUNNING" in subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False


def _say(job: Job, line: str) -> None:
    with job.log.open("a") as log:
        log.write(f"{line}\n")
