"""What carries out the runs of a study: an engine starts jobs, and tells how each attempt ended."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

LOST = -256
"""The exit code of an attempt whose process vanished with the machine or the worker that it was on."""


@dataclass(frozen=True)
class Job:
    """A run to be carried out by a process of its own, which adds what it says to the file `log`.

    All paths are absolute; `place` is the folder that relative ones in the config are meant from.
    """

    config: Path
    folder: Path
    log: Path
    diagnose: bool
    place: Path

    @property
    def command(self) -> list[str]:
        """The process: `unforced work`, which ends with a checkpoint when its standard input closes."""
        command = [sys.executable, "-m", "unforced", "work", str(self.config), str(self.folder)]
        return [*command, "--diagnose"] if self.diagnose else command


@runtime_checkable
class Attempt(Protocol):
    """A job at work."""

    def poll(self) -> int | None:
        """Return None while it is at work, then its exit code: negative for a signal, LOST if it vanished."""

    def stop(self) -> None:
        """Ask it to write a checkpoint and end."""

    def kill(self) -> None:
        """End it at once."""


@runtime_checkable
class Engine(Protocol):
    """A place where jobs run."""

    @property
    def workers(self) -> int:
        """How many jobs it takes at once; may change as machines come and go."""

    @property
    def threads(self) -> int:
        """Threads that each job computes with, where it has no GPU."""

    def start(self, job: Job) -> Attempt:
        """Start a job."""

    def close(self) -> None:
        """Give back what the engine holds. Attempts have ended."""


def environment(threads: int) -> Mapping[str, str]:
    """Return what a job's process is told of the cores that it shares."""
    return {"OMP_NUM_THREADS": str(threads)}
