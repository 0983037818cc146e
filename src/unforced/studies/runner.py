"""Carries a study to its end: starts what is not done, tries again what broke, says what became of it."""

import contextlib
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from unforced.errors import UserError
from unforced.files import write_json
from unforced.studies.engines import LOST, Attempt, Engine
from unforced.studies.folder import StudyFolder
from unforced.study import Study
from unforced.training.signals import StopRequest, stop_requests

State = Literal["waiting", "running", "done", "failed", "stopped"]

RETRIES = 2
_POLL_SECONDS = 0.25
_SIGNALS = {each.value: each.name for each in signal.Signals}
_MISTAKE = 2  # the exit code of a user's mistake, which trying again does not mend


@dataclass
class Status:
    """Where a run stands. attempts: processes started for it; reason: why it is not done, if it should be."""

    state: State = "waiting"
    attempts: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Summary:
    """What became of each run, and the signal that stopped the study, if one did."""

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
) -> Summary:
    """Carry out what is not done of a study, each run in `out`/name, and write down what became of it.

    A run that fails stops no other. It is started again, from its newest checkpoint, up to `retries` times;
    not so after a user's mistake. The first Ctrl-C or SIGTERM lets every run write a checkpoint, a second
    Ctrl-C does not wait for that; the same call goes on. `watch` is called several times a second;
    `trackers` get the metrics of what is run.
    Raises UserError: `out` holds something else, or another process is at work on it.
    """
    folder = StudyFolder(out)
    folder.check(study)
    out.mkdir(parents=True, exist_ok=True)
    with folder.locked(), stop_requests() as request:
        folder.claim(study)
        runner = _Runner(study, folder, engine, retries, trackers)
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
        with contextlib.suppress(OSError):  # of a full disk, say, the summary is still to be told
            write_json(folder.states, {name: asdict(status) for name, status in runner.statuses.items()})
    return Summary(runner.statuses, request.signal)


def _pause(runner: "_Runner", request: StopRequest) -> None:
    if not runner.finished and request.signal is None:
        time.sleep(_POLL_SECONDS)


class _Runner:
    def __init__(
        self, study: Study, folder: StudyFolder, engine: Engine, retries: int, trackers: Sequence[str]
    ) -> None:
        self.study, self.folder, self.engine, self.retries = study, folder, engine, retries
        self.trackers = trackers
        self.statuses = {name: Status() for name in study.runs}
        self.attempts: dict[str, Attempt] = {}
        self.said: dict[str, int] = {}
        for name in study.runs:
            self._look(name)

    @property
    def finished(self) -> bool:
        return all(status.state in ("done", "failed") for status in self.statuses.values())

    def turn(self) -> None:
        """Take note of attempts that have ended; start as many as there is room for."""
        for name, attempt in list(self.attempts.items()):
            code = attempt.poll()
            if code is not None:
                del self.attempts[name]
                self._ended(name, code)
        workers = self.engine.workers
        for name, status in self.statuses.items():
            if len(self.attempts) >= workers:
                return
            if status.state == "waiting" and not self.folder.run(name).busy:
                self._start(name)

    def stop(self) -> None:
        """Let whatever still runs write a checkpoint and end; after another Ctrl-C, end it."""
        try:
            for attempt in self.attempts.values():
                attempt.stop()
            while any(attempt.poll() is None for attempt in self.attempts.values()):
                time.sleep(_POLL_SECONDS / 5)
        except KeyboardInterrupt:
            self.kill()
        for name in self.attempts:
            self.statuses[name].state = "stopped"
            self._look(name)

    def kill(self) -> None:
        """End whatever still runs at once."""
        for attempt in self.attempts.values():
            attempt.kill()

    def _look(self, name: str) -> None:
        """See whether a run is done."""
        if self.folder.is_done(name, self.study):
            self.statuses[name].state = "done"

    def _start(self, name: str) -> None:
        status, log = self.statuses[name], self.folder.log(name)
        status.attempts += 1
        status.reason = ""
        try:
            self._begin(log, status.attempts)
            self.said[name] = log.stat().st_size
            self.attempts[name] = self.engine.start(self.folder.job(name, self.study, self.trackers))
        except OSError as error:
            status.state, status.reason = "failed", f"{error.filename or log}: {error.strerror}"
        else:
            status.state = "running"

    def _begin(self, log: Path, attempt: int) -> None:
        with log.open("a") as file:
            file.write(f"\n--- {time.strftime('%Y-%m-%d %H:%M:%S')}, attempt {attempt}\n")

    def _ended(self, name: str, code: int) -> None:
        status = self.statuses[name]
        status.reason = "" if code == 0 else self._reason(name, code)
        if code == 0:
            status.state = "done"
        elif code != _MISTAKE and status.attempts <= self.retries:
            status.state = "waiting"
        else:
            status.state = "failed"

    def _reason(self, name: str, code: int) -> str:
        """Say how an attempt ended, with the last line that it said."""
        log = self.folder.log(name)
        try:
            said = log.read_bytes()[self.said[name] :].decode(errors="replace").strip()
        except OSError as error:
            return f"{_how(code)}; {log}: {error.strerror}"
        last = said.splitlines()[-1].removeprefix("unforced: ") if said else "it said nothing"
        return f"{_how(code)}: {last} (see {log})"


def _how(code: int) -> str:
    if code == LOST:
        return "its worker was lost"
    if code < 0:
        hint = ", as a machine out of memory does" if _SIGNALS.get(-code) == "SIGKILL" else ""
        return f"killed by {_SIGNALS.get(-code, f'signal {-code}')}{hint}"
    return f"exit code {code}"
