"""Several runs side by side, each in a process of its own on this machine."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from unforced.config import Run
from unforced.errors import UserError
from unforced.files import write_json
from unforced.training.folder import RunFolder

_POLL_SECONDS = 0.5


def run_side_by_side(
    runs: Mapping[str, Run], out: Path, workers: int, watch: Callable[[Mapping[str, str]], None]
) -> dict[str, RunFolder]:
    """Train each run into `out`/name, at most `workers` at once; go on with those begun, skip those done.

    `watch` is called about twice a second with the state of each run: waiting, running, done, or failed.
    Ctrl-C stops all of them, each with a checkpoint. Raises UserError if a run fails or `out` holds others.
    """
    folders = {name: out / name for name in runs}
    for name, run in runs.items():
        if folders[name].exists():
            RunFolder.reopen(folders[name], run)
    processes = _Processes(runs, folders, out / "logs", threads=max(1, (os.cpu_count() or 1) // workers))
    try:
        while not processes.finished:
            processes.fill(workers)
            watch(processes.states())
            time.sleep(_POLL_SECONDS)
    finally:
        processes.stop()
    watch(processes.states())
    processes.raise_failures()
    return {name: RunFolder.open(path) for name, path in folders.items()}


class _Processes:
    def __init__(
        self, runs: Mapping[str, Run], folders: Mapping[str, Path], logs: Path, threads: int
    ) -> None:
        self.runs, self.folders, self.logs, self.threads = runs, folders, logs, threads
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        logs.mkdir(parents=True, exist_ok=True)

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
        return "running" if code is None else "failed" if code else "done"

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        config = self.logs / f"{name}.json"
        write_json(config, self.runs[name].tree())
        command = [sys.executable, "-m", "unforced", "train", str(config), "--out", str(self.folders[name])]
        command += ["--resume"] if self.folders[name].exists() else []
        environment = os.environ | {"OMP_NUM_THREADS": str(self.threads)}
        log: IO[bytes]
        with self._log(name).open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"
