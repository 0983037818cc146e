"""Several runs side by side, each in a process of its own on this machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from unforced.config import Run
from unforced.errors import UserError
from unforced.files import write_json
from unforced.studies.folder import claim
from unforced.training.signals import stop_requests

_POLL_SECONDS = 0.5
_ENDED_BY_SIGNAL = {code for n in (signal.SIGTERM, signal.SIGINT) for code in (-n, 128 + n)}


def run_side_by_side(
    runs: Mapping[str, Run], out: Path, workers: int, watch: Callable[[Mapping[str, str]], None]
) -> signal.Signals | None:
    """Train each run into `out`/name on the processor, at most `workers` at once; skip those done.

    `watch` is called about twice a second with the state of each run: waiting, running, done, stopped or
    failed. SIGTERM and Ctrl-C stop all of them, each with a checkpoint, and are returned; the same call goes
    on from there. Raises UserError if a run fails or `out` holds anything else.
    """
    claim(out, runs)
    processes = _Processes(runs, out, threads=max(1, (os.cpu_count() or 1) // workers))
    with stop_requests() as request:
        try:
            while not processes.finished and request.signal is None:
                processes.fill(workers)
                watch(processes.states())
                time.sleep(_POLL_SECONDS)
        finally:
            processes.stop()
    watch(processes.states())
    if request.signal is None:
        processes.raise_failures()
    return request.signal


class _Processes:
    def __init__(self, runs: Mapping[str, Run], out: Path, threads: int) -> None:
        self.runs, self.out, self.logs = runs, out, out / "logs"
        self.environment = os.environ | {"OMP_NUM_THREADS": str(threads), "ACCELERATE_USE_CPU": "true"}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.logs.mkdir(exist_ok=True)

    @property
    def finished(self) -> bool:
        return all(name in self.running and self.running[name].poll() is not None for name in self.runs)

    def fill(self, workers: int) -> None:
        for name in self.runs:
            active = sum(process.poll() is None for process in self.running.values())
            if name not in self.running and active < workers:
                self.running[name] = self._start(name)

    def states(self) -> dict[str, str]:
        return {name: self._state(name) for name in self.runs}

    def stop(self) -> None:
        """Ask whatever still runs to write a checkpoint and end, and wait for it."""
        for process in self.running.values():
            if process.poll() is None:
                process.terminate()
        for process in self.running.values():
            process.wait()

    def raise_failures(self) -> None:
        for name, process in self.running.items():
            if process.returncode:
                log = self._log(name)
                lines = log.read_text().strip().splitlines() or ["it printed nothing"]
                raise UserError(
                    f"run {name} failed (exit code {process.returncode}): {lines[-1]} (see {log})"
                )

    def _state(self, name: str) -> str:
        if name not in self.running:
            return "waiting"
        code = self.running[name].poll()
        if code in _ENDED_BY_SIGNAL:
            return "stopped"
        return "running" if code is None else "failed" if code else "done"

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        config, folder = self.logs / f"{name}.json", self.out / name
        write_json(config, self.runs[name].tree())
        command = [sys.executable, "-m", "unforced", "train", str(config), "--out", str(folder)]
        command += ["--resume"] if folder.exists() else []
        log: IO[bytes]
        with self._log(name).open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=self.environment)

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"
