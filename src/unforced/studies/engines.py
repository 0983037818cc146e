"""Engines run the jobs of a study: they start attempts and report their exit codes."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from unforced.errors import UserError, unknown

SAFE_PATH = {"PYTHONSAFEPATH": "1"}
"""Keeps Python from importing a user's `random.py` out of the working folder."""
LOST = -256
"""The exit code of an attempt whose process was lost with its machine or worker."""


@dataclass(frozen=True)
class Kind:
    """A kind of engine: the place of its class, `module:class`, and the options it takes beside `workers`."""

    place: str
    options: frozenset[str] = frozenset()


ENGINES = {
    "local": Kind("unforced.studies.local:LocalEngine"),
    "ray": Kind("unforced.studies.cluster:RayEngine", frozenset({"address", "cpus", "gpus"})),
    "slurm": Kind(
        "unforced.studies.slurm:SlurmEngine", frozenset({"partition", "time", "cpus", "gpus", "slurm"})
    ),
}
"""Kinds of engines, by the name that `--engine` takes."""


def open_engine(name: str, workers: int | None, options: Mapping[str, Any]) -> "Engine":
    """Build an engine. options: by name; None: not given.

    Raises UserError: no engine has this name, it does not take an option, or it refuses the value of one.
    """
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    given = {option: value for option, value in options.items() if value is not None}
    for option in given:
        if option not in ENGINES[name].options:
            takers = " or ".join(each for each, kind in ENGINES.items() if option in kind.options)
            raise UserError(f"--{option} is for --engine {takers}, not {name}; drop it, or change --engine")
    module, _, cls = ENGINES[name].place.partition(":")
    engine: Engine = getattr(import_module(module), cls)(workers=workers, **given)
    return engine


@dataclass(frozen=True)
class Job:
    """Runs that one process trains, with its output appended to the file `log`.

    runs: the config and the folder of each. All paths are absolute; `place` is the folder that relative ones
    in a config are meant from. ended: the file that gets a line of JSON for each run that ends: `run`, the
    name of its folder, `code`, the exit code of a process of its own, and the length of the `log` by then.
    trackers: those that get the runs' metrics, too. stack: how many of the runs are trained at once.
    """

    runs: Sequence[tuple[Path, Path]]
    log: Path
    ended: Path
    diagnose: bool
    place: Path
    trackers: Sequence[str] = ()
    stack: int = 1

    @property
    def stop_request(self) -> Path:
        """The file that asks the job to end while it exists, on engines that ask so."""
        return self.ended.with_suffix(".stop")

    def start(
        self, threads: int, variables: Mapping[str, str] | None = None, options: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """Start `unforced work`, which ends with a checkpoint when its standard input closes.

        It computes with so many threads where it has no GPU, gets `variables` on top of this process's
        environment, and has a session of its own, so that Ctrl-C reaches it through the study alone. Neither
        it nor a Python process that it starts imports modules from the working folder (as with `python -P`).
        """
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*self._command(), *options],
                stdin=subprocess.PIPE,  # closes when this process ends, however it ends
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **SAFE_PATH, "OMP_NUM_THREADS": str(threads), **(variables or {})},
                cwd=self.place if self.place.is_dir() else None,  # which another machine may lack
                start_new_session=True,
            )

    def _command(self) -> list[str]:
        options = [f"--tracker={name}" for name in self.trackers] + ["--diagnose"] * self.diagnose
        options += [f"--stack={self.stack}"] * (self.stack > 1)
        paths = [str(path) for run in self.runs for path in run]
        return [sys.executable, "-m", "unforced", "work", *paths, f"--ended={self.ended}", *options]


@runtime_checkable
class Attempt(Protocol):
    """A started job."""

    def poll(self) -> int | None:
        """Return None while it runs, then its exit code: negative for a signal, LOST if it was lost."""

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
    def at_full_speed(self) -> int:
        """How many of them do not share a GPU, or cores, with others."""

    @property
    def threads(self) -> int:
        """Threads that each job computes with, where it has no GPU."""

    @property
    def free_memory(self) -> int | None:
        """Bytes that are free now on the GPU of each job; None: it has none, or none that can be asked."""

    def start(self, job: Job) -> Attempt:
        """Start a job."""

    def close(self) -> None:
        """Release the engine's resources, after all attempts have ended."""
