"""The Slurm engine: each job of a study is a job of a Slurm cluster, submitted by submitit.

The study's folder must have the same path on every node, and so must this Python. Jobs that the study starts
together are collected until it looks at them for the first time, a quarter of a second later, and submitted
as one job array. Their results come back in submitit's files, in `logs/slurm`; squeue tells which jobs have
gone without one, so no accounting (sacct) is needed.
"""

import contextlib
import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from unforced.errors import UserError
from unforced.studies.engines import LOST, Job
from unforced.studies.slurm_queue import Request, SlurmQueue, checked, read_minutes
from unforced.studies.slurm_task import SlurmTask, look_anew
from unforced.wording import named, typed

_WORKERS = 100
_LOOK_SECONDS = 2.0
_ASK_SECONDS = 15.0
"""How often Slurm is asked for jobs that have gone without a result; at each look while jobs are stopped."""
_LATE_SECONDS = 10.0
"""How long the result of a job that has gone may take to be seen through a network file system."""
_NOT_STARTED = 1  # as an exit code
_ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"}
_ENDED |= {"PREEMPTED", "TIMEOUT"}


@runtime_checkable
class Queue(Protocol):
    """Where tasks are submitted; see SlurmQueue."""

    def submit(self, folder: Path, name: str, tasks: Sequence[SlurmTask]) -> list[Any]:
        """Submit a job for each task; return submitit's jobs."""

    def states(self) -> Mapping[str, str] | None:
        """Return the state of each job by id; None: unknown at the moment."""

    def cancel(self, ids: Sequence[str], pending: bool = False) -> None:
        """Cancel jobs, or only those of them that wait."""

    def cancel_all(self, name: str) -> None:
        """Cancel the jobs of a name."""


class SlurmEngine:
    """Runs jobs on the Slurm cluster that this machine belongs to.

    workers: jobs in the queue at once, waiting or running. partition: None for the cluster's default. time:
    of a job, in minutes or as Slurm writes it; near its end a job writes a checkpoint and is requeued, so a
    run may take longer. cpus, gpus: per job. slurm: further options of sbatch, as in {"account": "physics"}.
    Raises UserError if submitit is not installed, or Slurm not there, or if it would refuse such a job.
    """

    def __init__(
        self,
        workers: int | None = None,
        partition: str | None = None,
        time: str | int = "1:00:00",
        cpus: int = 1,
        gpus: float = 0,
        slurm: Mapping[str, str] | None = None,
        queue: Queue | None = None,
    ) -> None:
        _require_submitit()
        if gpus != int(gpus):
            raise UserError(
                f"{typed('gpus', gpus)}: Slurm gives whole GPUs; give {math.ceil(gpus)}, or a part of one as "
                f"your cluster calls it, for example {named('slurm')} gres=shard:1"
            )
        request = Request(read_minutes(str(time)), cpus, int(gpus), partition or "", checked(slurm or {}))
        self.queue = queue or SlurmQueue(request)
        self.workers = self.at_full_speed = workers or _WORKERS
        self.threads = cpus
        self._collected: list[SlurmAttempt] = []
        self._followed: list[SlurmAttempt] = []
        self._name = ""
        self._next_look = self._next_question = 0.0

    @property
    def free_memory(self) -> None:
        """It is not asked for from here."""

    def start(self, job: Job) -> "SlurmAttempt":
        """Collect a job; it is submitted when an attempt is polled."""
        job.stop_request.unlink(missing_ok=True)
        attempt = SlurmAttempt(job, self)
        self._collected.append(attempt)
        return attempt

    def close(self) -> None:
        """Do nothing: all attempts have ended."""

    def turn(self) -> None:
        """Submit what was collected; from time to time, look how the jobs are."""
        self._submit()
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_SECONDS
            self._look()

    def hurry(self) -> None:
        """Let the next turn look how the jobs are."""
        self._next_look = 0.0

    def _submit(self) -> None:
        attempts, self._collected = [each for each in self._collected if each.code is None], []
        if not attempts:
            return
        logs = attempts[0].job.log.parent
        self._cancel_leftovers(name_of(logs))
        tasks = [SlurmTask(attempt.job, self.threads) for attempt in attempts]
        try:
            jobs = self.queue.submit(logs / "slurm", self._name, tasks)
        except Exception as error:  # submitit has several kinds
            for attempt in attempts:
                attempt.end(_NOT_STARTED, f"not submitted: {_last_line(error)}")
            return
        for attempt, job in zip(attempts, jobs, strict=True):
            attempt.submitted = job
        self._followed += attempts

    def _cancel_leftovers(self, name: str) -> None:
        """Cancel the jobs of the same study that a process left behind which was killed."""
        if name != self._name:
            self._name = name
            self.queue.cancel_all(name)

    def _look(self) -> None:
        for folder in {attempt.job.log.parent / "slurm" for attempt in self._followed}:
            with contextlib.suppress(OSError):
                look_anew(folder)
        stopping = [attempt.submitted.job_id for attempt in self._followed if attempt.stopping]
        if stopping:
            self.queue.cancel(stopping, pending=True)  # those that run see their stop requests
        states = self._states(at_once=bool(stopping))
        for attempt in self._followed:
            attempt.look(states)
        self._followed = [attempt for attempt in self._followed if attempt.code is None]

    def _states(self, at_once: bool) -> Mapping[str, str] | None:
        """Return the states of the jobs, if it is time to ask for them."""
        if not self._followed or (time.monotonic() < self._next_question and not at_once):
            return None
        self._next_question = time.monotonic() + _ASK_SECONDS
        return self.queue.states()


@dataclass(eq=False)
class SlurmAttempt:
    """A job that is to be submitted, or was.

    submitted: submitit's job. code: its exit code, once it has ended. stopping: whether it is to end.
    """

    job: Job
    engine: SlurmEngine
    submitted: Any = None
    code: int | None = None
    stopping: bool = False
    gone_since: float | None = None

    def poll(self) -> int | None:
        """Return the exit code of the job's process, None while it waits or runs, LOST if it left none."""
        self.engine.turn()
        return self.code

    def stop(self) -> None:
        """Let it write a checkpoint and end, if it runs; cancel it if it waits."""
        self.job.stop_request.touch()
        self._give_up()

    def kill(self) -> None:
        """Cancel it: Slurm sends SIGTERM, and after its KillWait SIGKILL."""
        self._give_up()
        if self.submitted is not None:
            self.engine.queue.cancel([self.submitted.job_id])

    def look(self, states: Mapping[str, str] | None) -> None:
        """Look whether it has ended. states: of the user's jobs, by id; None: unknown."""
        if self.submitted.paths.result_pickle.exists():
            self._read_result()
        elif states is not None:
            self._consider(states.get(self.submitted.job_id, ""))

    def end(self, code: int, line: str) -> None:
        """Note how it ended, with a line in its log."""
        self.code = code
        with self.job.log.open("a") as log:
            log.write(f"{line}\n")

    def _give_up(self) -> None:
        self.stopping = True
        self.engine.hurry()
        if self.submitted is None:  # and now never is
            self.code = LOST

    def _read_result(self) -> None:
        try:
            self.code = int(self.submitted.result())
        except Exception as error:  # the node could not start the process
            self.end(_NOT_STARTED, f"not started: {_last_line(error)}")

    def _consider(self, state: str) -> None:
        """Count it as lost if it is not in the queue any more, or ended, and no result comes."""
        if state and state not in _ENDED:
            self.gone_since = None
            return
        self.gone_since = self.gone_since or time.monotonic()
        if self.stopping or time.monotonic() - self.gone_since >= _LATE_SECONDS:
            self.end(LOST, f"Slurm ended job {self.submitted.job_id}: {state or 'it is not in the queue'}")


def name_of(logs: Path) -> str:
    """Return the name of a study's jobs in the queue: that of its folder, and a hash of its path."""
    return f"{logs.parent.name}-{hashlib.sha256(str(logs).encode()).hexdigest()[:8]}"


def _last_line(error: Exception) -> str:
    """Return the last line of an error of submitit's, which may hold that of another process."""
    text = str(error).partition("You can check full logs")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip(" -")]
    return lines[-1] if lines else type(error).__name__


def _require_submitit() -> None:
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise UserError(
            f"{typed('engine', 'slurm')} needs submitit, which is not installed: pip install "
            "'unforced[slurm]'"
        ) from None
