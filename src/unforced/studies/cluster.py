"""The Ray engine: each run is a task on a Ray cluster, on a machine with the resources that it needs.

The study's folder must have the same path on every machine, and `unforced` be installed on each.
"""

import contextlib
import logging
import os
import socket
import subprocess
from collections.abc import Mapping
from typing import Any

from unforced.errors import UserError
from unforced.studies.engines import LOST, Job
from unforced.wording import typed

_WAIT_SECONDS = 0.2
_ANSWER_SECONDS = 10.0
_NOT_STARTED = 1  # as an exit code


class RayEngine:
    """Runs jobs on the Ray cluster at `address` (None: a running one on this machine, or else a new one).

    cpus, gpus: per run; with a fraction of a GPU several runs share one. workers: runs at once, by default as
    many as the cluster has resources for. Raises UserError if Ray is not installed, no cluster is at
    `address`, or no machine is large enough for a run.
    """

    def __init__(
        self, workers: int | None = None, address: str | None = None, cpus: int = 1, gpus: float = 0.0
    ) -> None:
        self._ray = _connect(address)
        self._limit, self._needs = workers, {"CPU": float(cpus), **({"GPU": gpus} if gpus else {})}
        self.threads = cpus
        largest = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(_fits(self._needs, resources) for resources in largest):
            self.close()
            raise UserError(
                f"no machine of the cluster has {_words(self._needs)} for a run; lower {typed('cpus')} or "
                f"{typed('gpus')}"
            )
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": 0}
        self._carry_out = self._ray.remote(carry_out).options(**options)

    @property
    def workers(self) -> int:
        """How many runs the cluster has resources for at the moment, or the limit that was given."""
        total = self._ray.cluster_resources()
        room = min(int(total.get(kind, 0) // amount) for kind, amount in self._needs.items())
        return room if self._limit is None else min(room, self._limit)

    @property
    def at_full_speed(self) -> int:
        """How many runs the cluster trains at once, each with the resources that it requested."""
        return self.workers

    @property
    def free_memory(self) -> None:
        """It is not asked for from here."""

    def start(self, job: Job) -> "RayAttempt":
        """Submit a job to the cluster."""
        job.stop_request.unlink(missing_ok=True)
        return RayAttempt(self._ray, self._carry_out.remote(job, self.threads), job)

    def close(self) -> None:
        """Disconnect from the cluster; one that this process started ends."""
        self._ray.shutdown()


class RayAttempt:
    """A task of the cluster."""

    def __init__(self, ray: Any, task: Any, job: Job) -> None:
        self._ray, self._task, self._job = ray, task, job

    def poll(self) -> int | None:
        """Return the exit code of the job's process, None while it runs, LOST if its worker died."""
        if not self._ray.wait([self._task], timeout=0)[0]:
            return None
        try:
            return int(self._ray.get(self._task))
        except self._ray.exceptions.TaskCancelledError:
            return LOST
        except self._ray.exceptions.RayTaskError as error:  # the worker runs, but could not start the process
            with self._job.log.open("a") as log:
                log.write(f"{error.cause}\n")
            return _NOT_STARTED
        except self._ray.exceptions.RayError:
            return LOST

    def stop(self) -> None:
        """Let the task ask its process to end: by a file, since Ray does not always interrupt a task."""
        self._job.stop_request.touch()
        self._ray.cancel(self._task)  # it may still wait for a machine

    def kill(self) -> None:
        """End the worker; its process ends with it."""
        self._ray.cancel(self._task, force=True)


def carry_out(job: Job, threads: int) -> int:
    """Run a job's process on a machine of the cluster; return its exit code."""
    process, asked = job.start(threads), False
    while True:
        try:
            return process.wait(_WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            stop = job.stop_request.exists()
        except KeyboardInterrupt:
            stop = True
        if stop and not asked:
            asked = True
            process.terminate()


def _connect(address: str | None) -> Any:
    try:
        import ray
    except ImportError:
        raise UserError(
            f"{typed('engine', 'ray')} needs Ray, which is not installed: pip install 'unforced[ray]'"
        ) from None
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        _knock(address)
        with contextlib.chdir(os.sep):  # Ray's workers import from the folder in which it is started
            ray.init(
                address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{typed('address', address)}: no Ray cluster answers there: {error}") from None
    return ray


def _knock(address: str | None) -> None:
    """Connect to HOST:PORT, for which Ray itself would wait minutes. Raises OSError if that fails."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()


def _fits(needs: Mapping[str, float], resources: Mapping[str, float]) -> bool:
    return all(resources.get(kind, 0) >= amount for kind, amount in needs.items())


def _words(needs: Mapping[str, float]) -> str:
    return " and ".join(f"{amount:g} {kind}{'s' * (amount != 1)}" for kind, amount in needs.items())
