"""Slurm's queue: what a job requests of it, checked beforehand, and its commands."""

import contextlib
import math
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unforced.errors import UserError, unknown
from unforced.studies.engines import SAFE_PATH
from unforced.studies.slurm_task import SlurmTask
from unforced.wording import named, typed

_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_ANSWER_SECONDS = 60.0
_SHARE_FOR_THE_CHECKPOINT, _MOST_SECONDS_FOR_IT = 0.25, 120
_ALWAYS = 10**6  # requeue: SlurmTask knows when it is in vain
_OURS = {"partition": "partition", "time": "time", "cpus-per-task": "cpus", "gpus-per-node": "gpus"}
_FIXED = {"array", "chdir", "error", "job-name", "nodes", "ntasks", "open-mode", "output", "requeue"}
_FIXED |= {"signal", "wrap"}


@dataclass(frozen=True)
class Request:
    """What each job requests of Slurm.

    partition: empty for the cluster's default. gpus: whole ones. further: other options of sbatch, without
    dashes; an empty value is that of a flag.
    """

    minutes: int
    cpus: int = 1
    gpus: int = 0
    partition: str = ""
    further: Mapping[str, str] = field(default_factory=dict)

    def flags(self) -> list[str]:
        """Return the request as options of sbatch."""
        own = {"time": str(self.minutes), "cpus-per-task": str(self.cpus), "partition": self.partition}
        own["gpus-per-node"] = str(self.gpus or "")
        flags = {key: value for key, value in own.items() if value} | dict(self.further)
        return [f"--{key}={value}" if value else f"--{key}" for key, value in flags.items()]

    def parameters(self) -> dict[str, Any]:
        """Return the request as parameters of submitit's SlurmExecutor."""
        delay = min(_MOST_SECONDS_FOR_IT, int(60 * self.minutes * _SHARE_FOR_THE_CHECKPOINT))
        return {
            "time": self.minutes,
            "signal_delay_s": delay,
            "partition": self.partition or None,
            "cpus_per_task": self.cpus,
            "gpus_per_node": self.gpus or None,
            "srun_args": [f"--cpus-per-task={self.cpus}"],  # which srun does not take from sbatch
            "additional_parameters": {
                "requeue": True,
                **{key: value or True for key, value in self.further.items()},
            },
        }


class SlurmQueue:
    """The queue of the cluster that this machine belongs to. Raises UserError if it refuses the request."""

    def __init__(self, request: Request) -> None:
        self.request = request
        _check_partition(request)
        ask("sbatch", "--test-only", *request.flags(), "--wrap=true")

    def submit(self, folder: Path, name: str, tasks: Sequence[SlurmTask]) -> list[Any]:
        """Submit a job for each task, several as one array; return submitit's jobs.

        folder: gets submitit's files. name: of the jobs. Raises Exception, of several kinds.
        """
        import submitit

        executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=_ALWAYS)
        parameters = {"job_name": name, "array_parallelism": len(tasks), "stderr_to_stdout": True}
        executor.update_parameters(**self.request.parameters(), **parameters)
        with safe_path():
            return executor.submit_array(list(tasks))

    def states(self) -> Mapping[str, str] | None:
        """Return the state of each of the user's jobs, by id, also just after its end; None: no answer."""
        command = ("squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i|%T")
        try:
            lines = ask(*command).splitlines()
        except UserError:  # a controller that is down for a while, say
            return None
        return dict(line.split("|") for line in lines if "|" in line)

    def cancel(self, ids: Sequence[str], pending: bool = False) -> None:
        """Cancel jobs; those that run are killed a while after SIGTERM. pending: only those that wait."""
        self._cancel(*["--state=PENDING"] * pending, *ids)

    def cancel_all(self, name: str) -> None:
        """Cancel the jobs of a name."""
        self._cancel(f"--name={name}")

    def _cancel(self, *arguments: str) -> None:
        with contextlib.suppress(UserError):  # of a job that has ended, for example
            ask("scancel", "--quiet", *arguments)


def read_minutes(text: str) -> int:
    """Read a time as Slurm writes it; seconds count as a minute begun. Raises UserError."""
    match = _TIME.fullmatch(text.strip())
    days, *parts = match.groups() if match else (None, None)
    numbers = [int(part) for part in parts if part is not None]
    units = (3600, 60, 1) if days is not None or len(numbers) == 3 else (60, 1)
    seconds = 86400 * int(days or 0) + sum(
        number * unit for number, unit in zip(numbers, units, strict=False)
    )
    if not seconds:
        raise UserError(
            f"{typed('time', text)}: not a time; give minutes, HOURS:MINUTES:SECONDS or DAYS-HOURS, as in "
            f"{typed('time', 90)} or {typed('time', '1:30:00')}"
        )
    return math.ceil(seconds / 60)


def checked(further: Mapping[str, str]) -> Mapping[str, str]:
    """Return further options of sbatch as it spells them. Raises UserError for those that are not further."""
    options = {key.replace("_", "-"): value for key, value in further.items()}
    for key in options:
        if key in _OURS:
            raise UserError(f"{named('slurm')} {key}: give it as {typed(_OURS[key])}")
        if key in _FIXED:
            raise UserError(f"{named('slurm')} {key}: the engine sets it; drop it")
        if not re.fullmatch(r"[a-z][a-z-]*", key):
            raise UserError(f"{named('slurm')} {key}: not an option of sbatch; one is account=physics")
    return options


def ask(*command: str) -> str:
    """Run a command of Slurm; return what it prints. Raises UserError with its last words."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS)
    except FileNotFoundError:
        raise UserError(
            f"{typed('engine', 'slurm')}: there is no command {command[0]} here; start the study on a "
            f"machine of a Slurm cluster, or with another {typed('engine')}"
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{command[0]}: Slurm did not answer within {_ANSWER_SECONDS:.0f} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line and not line.startswith("Try ")]
        said = re.sub(rf"^({command[0]}: )?(error: |fatal: |allocation failure: )?", "", (lines or [""])[-1])
        raise UserError(f"{' '.join(command)}: {said or f'exit code {done.returncode}'}")
    return done.stdout


@contextlib.contextmanager
def safe_path() -> Iterator[None]:
    """Keep Python from importing files of the working folder in processes that are started meanwhile."""
    before = {key: os.environ.get(key) for key in SAFE_PATH}
    os.environ.update(SAFE_PATH)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})


def _check_partition(request: Request) -> None:
    """Raise UserError if a partition does not exist, or if all that are named are too small for the job."""
    command = ("sinfo", "--all", "--noheader", "--exact", "--format=%P|%l|%c")
    rows = [line.split("|") for line in ask(*command).splitlines()]
    default = [name.removesuffix("*") for name, *_ in rows if name.endswith("*")][:1]
    known = {name.removesuffix("*") for name, *_ in rows}
    names = request.partition.split(",") if request.partition else default
    for name in names:
        if name not in known:
            raise UserError(f"{typed('partition', name)}: {unknown('partition', name, known)}")
    rows = [row for row in rows if row[0].removesuffix("*") in names]
    where = f"partition {' or '.join(names)}"
    limits = [read_minutes(limit) if _TIME.fullmatch(limit) else math.inf for _, limit, _ in rows]
    if (most := max(limits, default=math.inf)) < request.minutes:
        raise UserError(
            f"{typed('time', request.minutes)}: {where} allows {most} minutes; give "
            f"{typed('time', most)} or less"
        )
    cpus = max((_number(text) for *_, text in rows), default=0)
    if 0 < cpus < request.cpus:
        raise UserError(f"{typed('cpus', request.cpus)}: the largest node of {where} has {cpus}; lower it")


def _number(text: str) -> int:
    return int(re.sub(r"\D.*", "", text) or 0)
