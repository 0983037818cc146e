"""The local engine: a process per run on this machine, each with its share of the cores and the GPUs."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from unforced.studies.engines import SAFE_PATH, Job

_ASK = "import torch; print(*(torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())))"


@dataclass(frozen=True)
class Share:
    """The cores (None: any) and the GPU (None: all, if there are any) of one worker."""

    cores: Sequence[int] | None
    gpu: str | None


class LocalEngine:
    """Runs jobs in parallel on this machine.

    workers: how many at once; by default one per GPU, or one per core without GPUs (for small models two runs
    of one thread are faster than one of two). Workers beyond the number of GPUs share them in turn; each
    worker is pinned to its own cores if there are enough. processor_only: do not use GPUs. OMP_NUM_THREADS
    limits the threads of a worker: those that wait for a core which another program has lose their time.
    """

    def __init__(self, workers: int | None = None, processor_only: bool = False) -> None:
        cores, gpus = available_cores(), [] if processor_only else available_gpus()
        self.workers = workers or len(gpus) or len(cores)
        self.threads = max(1, min(len(cores) // self.workers, _most_threads(len(cores))))
        self.at_full_speed = min(self.workers, len(gpus) or len(cores))
        self._variables = {"ACCELERATE_USE_CPU": "true"} if processor_only else {}
        self._shares = shares(cores, gpus, self.workers)
        self._jobs_per_gpu = -(-self.workers // len(gpus)) if gpus else 0
        self._holders: dict[int, LocalAttempt] = {}

    @property
    def free_memory(self) -> int | None:
        """Bytes that are free on the fullest GPU, for each of the jobs that share it; None without GPUs."""
        free = free_memories() if self._jobs_per_gpu else []
        return min(free) // self._jobs_per_gpu if free else None

    def start(self, job: Job) -> "LocalAttempt":
        """Start a job on a free share."""
        free = [number for number in range(self.workers) if not self._is_held(number)]
        attempt = LocalAttempt(job, self.threads, self._shares[free[0]], self._variables)
        self._holders[free[0]] = attempt
        return attempt

    def close(self) -> None:
        """Do nothing: processes hold all resources."""

    def _is_held(self, number: int) -> bool:
        return number in self._holders and self._holders[number].poll() is None


class LocalAttempt:
    """A process on this machine, on its share of it."""

    def __init__(self, job: Job, threads: int, share: Share, variables: Mapping[str, str]) -> None:
        gpu = {} if share.gpu is None else {"CUDA_VISIBLE_DEVICES": share.gpu}
        pinned = [] if share.cores is None else ["--cores", ",".join(map(str, share.cores))]
        self._process = job.start(threads, {**variables, **gpu}, pinned)

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()


def _most_threads(cores: int) -> int:
    """Return how many threads the environment allows; the number of cores, where it says nothing."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(asked) if asked.isdecimal() and int(asked) else cores


def available_cores() -> list[int]:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def available_gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    count, named = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


def free_memories() -> list[int]:
    """Return the bytes that are free on each GPU; nothing where they cannot be asked.

    A process of its own asks, since what asks takes memory on every GPU until it ends.
    """
    command = [sys.executable, "-c", _ASK]
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, **SAFE_PATH}
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return [int(number) for number in asked.stdout.split()]


def shares(cores: Sequence[int], gpus: Sequence[str], workers: int) -> list[Share]:
    """Deal cores and GPUs to workers."""
    return [
        Share(
            cores=cores[worker::workers] if workers <= len(cores) else None,
            gpu=gpus[worker % len(gpus)] if gpus else None,
        )
        for worker in range(workers)
    ]
