"""Runs a study: starts unfinished runs, retries failed ones, and records the state of each."""

import contextlib
import itertools
import json
import math
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from unforced.errors import DIVERGED, MISTAKE, UserError
from unforced.files import write_json
from unforced.studies.engines import LOST, Attempt, Engine
from unforced.studies.folder import StudyFolder
from unforced.studies.stacking import ALONE, Stacks
from unforced.study import Study
from unforced.training.signals import StopRequest, stop_requests

State = Literal["waiting", "running", "done", "failed", "stopped"]

RETRIES = 2
BUSY = "another process is training it"
"""Why a run waits although there is room."""
_POLL_SECONDS = 0.25
_SIGNALS = {number.value: number.name for number in signal.Signals}


@dataclass
class Status:
    """The state of a run. attempts: processes started for it; reason: why it failed or diverged."""

    state: State = "waiting"
    attempts: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Summary:
    """The state of each run, and the signal that stopped the study, if one did."""

    statuses: Mapping[str, Status]
    stopped_by: signal.Signals | None

    @property
    def failed(self) -> list[str]:
        """The runs that failed."""
        return [name for name, status in self.statuses.items() if status.state == "failed"]

    def raise_failures(self) -> None:
        """Raise UserError if a run failed, with the reason of the first."""
        for name in self.failed:
            raise UserError(f"run {name} failed ({self.statuses[name].reason})")


Watch = Callable[[Mapping[str, Status]], None]


def run_study(
    study: Study,
    out: Path,
    engine: Engine,
    watch: Watch,
    retries: int = RETRIES,
    trackers: Sequence[str] = (),
    runs_per_job: int = 1,
    stacks: Stacks = ALONE,
) -> Summary:
    """Run the unfinished runs of a study, each in `out`/name, and record their states in states.json.

    A failed run does not stop the others. It is retried from its newest checkpoint up to `retries` times,
    except after a user's mistake. A run that diverges is done. A process trains up to `runs_per_job` runs,
    one after the other, or as many at once as `stacks` say. The first Ctrl-C or SIGTERM lets every run write
    a checkpoint, a second Ctrl-C does not wait for that; the same call resumes the study. `watch` is called
    several times a second; `trackers` get the metrics of the runs. Raises UserError if `out` holds something
    else, or another process works on it.
    """
    folder = StudyFolder(out)
    folder.check(study)
    out.mkdir(parents=True, exist_ok=True)
    with folder.locked(), stop_requests() as request:
        folder.claim(study)
        runner = _Runner(study, folder, engine, retries, trackers, runs_per_job, stacks)
        try:
            while not runner.finished and request.signal is None:
                runner.turn()
                watch(runner.statuses)
                _pause(runner, request)
        except KeyboardInterrupt:  # the second Ctrl-C, right after the first
            runner.kill()
        finally:
            runner.stop()
        watch(runner.statuses)
        with contextlib.suppress(OSError):  # of a full disk, for example; the summary is still returned
            write_json(folder.states, {name: asdict(status) for name, status in runner.statuses.items()})
    return Summary(runner.statuses, request.signal)


def _pause(runner: "_Runner", request: StopRequest) -> None:
    if not runner.finished and request.signal is None:
        time.sleep(_POLL_SECONDS)


@dataclass
class _Work:
    """A running job. names: its unfinished runs, of which the first is training, or all if it is a `stack`.

    first: of all runs that it began with; log and ended (see Job) are named by it. log_start: the length of
    the log when that run began. num_read: how many lines of `ended` were read.
    """

    attempt: Attempt
    names: list[str]
    first: str
    stack: bool
    log: Path
    log_start: int
    ended: Path
    num_read: int = 0

    @property
    def training(self) -> list[str]:
        """The runs that have begun and not ended."""
        return self.names[: len(self.names) if self.stack else 1]


class _Runner:
    def __init__(
        self,
        study: Study,
        folder: StudyFolder,
        engine: Engine,
        retries: int,
        trackers: Sequence[str],
        runs_per_job: int,
        stacks: Stacks,
    ) -> None:
        self.study, self.folder, self.engine, self.retries = study, folder, engine, retries
        self.trackers, self.runs_per_job, self.stacks = trackers, runs_per_job, stacks
        self.statuses = {name: Status() for name in study.runs}
        self.works: list[_Work] = []
        for name in study.runs:
            self._look(name)

    @property
    def finished(self) -> bool:
        return all(status.state in ("done", "failed") for status in self.statuses.values())

    def turn(self) -> None:
        """Record runs that have ended; start as many as the engine takes."""
        for work in list(self.works):
            code = work.attempt.poll()
            self._follow(work)
            if code is not None:
                self.works.remove(work)
                for name in work.training:  # its other runs never began
                    self._ended(work, name, code, None)
        workers = self.engine.workers
        while len(self.works) < workers:
            names, stack = self._startable()
            if not names:
                return
            self._start(names, stack)

    def stop(self) -> None:
        """Let running jobs write a checkpoint and end; after another Ctrl-C, kill them."""
        try:
            for work in self.works:
                work.attempt.stop()
            while any(work.attempt.poll() is None for work in self.works):
                time.sleep(_POLL_SECONDS / 5)
        except KeyboardInterrupt:
            self.kill()
        for work in self.works:
            self._follow(work)
            for name in work.training:
                self.statuses[name].state = "stopped"
                self._look(name)

    def kill(self) -> None:
        """Kill all running jobs."""
        for work in self.works:
            work.attempt.kill()

    def _look(self, name: str) -> None:
        """Check whether a run is done."""
        if self.folder.is_done(name, self.study):
            self.statuses[name].state = "done"

    def _startable(self) -> tuple[list[str], bool]:
        """Return the runs of the next job, and whether it trains them at once.

        They wait, are in no other job, and are not trained by another process.
        """
        waiting = self._waiting()
        free = (name for name in waiting if not self._is_busy(name))
        first = next(free, None)
        if first is None:
            return [], False
        key = self._stack_key(first)
        alike = [name for name in waiting if self._stack_key(name) == key]
        if key is None:
            others = (name for name in alike if name != first and not self._is_busy(name))
            return [first, *itertools.islice(others, self.runs_per_job - 1)], False
        share = math.ceil(len(alike) / (self.engine.workers - len(self.works)))
        others = (name for name in alike if name != first and not self._is_busy(name))
        names = [first, *itertools.islice(others, min(self.stacks.sizes[first], share) - 1)]
        return names, len(names) > 1

    def _waiting(self) -> list[str]:
        """Return the runs that wait and are in no job, nor the first of one, which still writes its log."""
        taken = {name for work in self.works for name in (*work.names, work.first)}
        return [
            name for name, status in self.statuses.items() if status.state == "waiting" and name not in taken
        ]

    def _stack_key(self, name: str) -> str | None:
        """Return what the runs have in common that a run is trained with at once; None: none is.

        A run that has failed is tried again by itself.
        """
        return None if self.statuses[name].attempts else self.stacks.keys.get(name)

    def _is_busy(self, name: str) -> bool:
        """Whether another process trains a run; its status says so meanwhile."""
        status, busy = self.statuses[name], self.folder.run(name).busy
        if busy:
            status.reason = BUSY
        elif status.reason == BUSY:
            status.reason = ""
        return busy

    def _start(self, names: list[str], stack: bool) -> None:
        first, log = names[0], self.folder.log(names[0])
        try:
            self._begin(first)
            log_start = log.stat().st_size
            attempt = self.engine.start(
                self.folder.job(names, self.study, self.trackers, len(names) if stack else 1)
            )
        except OSError as error:
            status = self.statuses[first]
            status.state, status.reason = "failed", f"{error.filename or log}: {error.strerror}"
            return
        self.works.append(_Work(attempt, names, first, stack, log, log_start, self.folder.ended(first)))
        for name in names[1:] if stack else ():
            with contextlib.suppress(OSError):  # of its own log
                self._begin(name, f"trained with {first}: see {log.name}\n")

    def _begin(self, name: str, note: str = "") -> None:
        """Record that a job begins a run; its log gets a note."""
        status = self.statuses[name]
        status.state, status.reason, status.attempts = "running", "", status.attempts + 1
        with self.folder.log(name).open("a") as file:
            file.write(f"\n--- {time.strftime('%Y-%m-%d %H:%M:%S')}, attempt {status.attempts}\n{note}")

    def _follow(self, work: _Work) -> None:
        """Record the runs of a job that have ended, and the one that it has begun."""
        try:
            lines = work.ended.read_text().splitlines(keepends=True)
        except OSError:
            return
        for line in lines[work.num_read :]:
            if not line.endswith("\n"):
                return
            work.num_read += 1
            ended = json.loads(line)
            self._ended(work, ended["run"], ended["code"], ended["log"])
            if work.names and not work.stack:
                with contextlib.suppress(OSError):
                    self._begin(work.names[0])

    def _ended(self, work: _Work, name: str, code: int, log_end: int | None) -> None:
        """Record how a run of a job has ended. log_end: the length of the log by then."""
        work.names.remove(name)
        status = self.statuses[name]
        done = code in (0, DIVERGED) and self.folder.run(name).done
        how = "diverged" if done else _how(code)
        status.reason = "" if done and code == 0 else self._reason(work, name, how, log_end)
        if done:
            status.state = "done"
        elif code != MISTAKE and status.attempts <= self.retries:
            status.state = "waiting"
        else:
            status.state = "failed"
        work.log_start = log_end or work.log_start

    def _reason(self, work: _Work, name: str, how: str, end: int | None) -> str:
        """Describe how an attempt ended, with the last line of its log; in that of a stack, of the run."""
        try:
            output = work.log.read_bytes()[work.log_start : end].decode(errors="replace").strip()
        except OSError as error:
            return f"{how}; {work.log}: {error.strerror}"
        lines = output.splitlines()
        own = [line for line in lines if line.startswith((f"{name}: ", "unforced: "))] if work.stack else []
        last = (own or lines or ["it printed nothing"])[-1].removeprefix("unforced: ")
        return f"{how}: {last} (see {work.log})"


def _how(code: int) -> str:
    if code == LOST:
        return "its worker was lost"
    if code < 0:
        hint = ", as a machine out of memory does" if _SIGNALS.get(-code) == "SIGKILL" else ""
        return f"killed by {_SIGNALS.get(-code, f'signal {-code}')}{hint}"
    return f"exit code {code}, but without a result" if code == 0 else f"exit code {code}"
