"""The cost of a study: counted FLOPs, at a speed measured on this machine."""

import time
from collections.abc import Callable

import torch

from unforced.config import Run
from unforced.errors import UserError
from unforced.training.flops import flops_of
from unforced.training.loop import Trainer, start_accelerator
from unforced.training.memory import oom_as_user_error
from unforced.training.store import MemoryStore

_PROBLEMS = 64  # in each step that is timed
_STEPS, _SECONDS = 2, 1.0  # that are timed, at the least


class Costs:
    """The cost of runs on `threads` threads of this machine. Raises UserError if a model cannot be loaded.

    measure: returns the FLOPs per second at which a run trains on so many threads.
    """

    def __init__(self, threads: int, measure: Callable[[Run, int], float] | None = None) -> None:
        self.threads, self._measure = threads, measure or measure_speed
        self._speeds: dict[str, float] = {}
        self._refused: dict[str, UserError] = {}

    def work(self, run: Run) -> float:
        """Return the FLOPs of training a run to its last step; it may stop before that."""
        case = run.model.model_dump_json() + run.task.model_dump_json()
        if case in self._refused:
            raise self._refused[case]
        try:
            return _per_step(run) * run.num_steps
        except UserError as error:
            self._refused[case] = error
            raise

    def speed(self, run: Run) -> float:
        """Return the FLOPs per second at which a run trains; measuring a new model takes about a second.

        The speed of a model's first run is used for all of its runs.
        """
        model = run.model.model_dump_json()
        if model not in self._speeds:
            self._speeds[model] = self._measure(run, self.threads)
        return self._speeds[model]


def _per_step(run: Run) -> float:
    return flops_of(run) * run.batch_size


def measure_speed(run: Run, threads: int) -> float:
    """Train a run for about a second on so many threads; return its FLOPs per second."""
    few = run.replace(
        batch_size=min(_PROBLEMS, run.batch_size),
        gradient_accumulation=1,
        num_train=None if run.num_train is None else min(run.num_train, 100 * _PROBLEMS),  # few are seen
    )
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with oom_as_user_error():
            return _per_step(few) / _seconds_of(few)
    finally:
        torch.set_num_threads(before)
        if torch.accelerator.is_available():
            torch.accelerator.memory.empty_cache()  # the runs need it


def _seconds_of(run: Run) -> float:
    """Train a run for a moment; return the seconds of a step."""
    trainer = Trainer(run, MemoryStore(), start_accelerator(run))
    trainer.select_kernels({})
    return _seconds_per_step(trainer)


def _seconds_per_step(trainer: Trainer) -> float:
    trainer.step()
    steps, started = 0, time.perf_counter()
    while steps < _STEPS or time.perf_counter() - started < _SECONDS:
        trainer.step()
        steps += 1
    for sums in trainer.progress.losses.values():
        sums.tolist()  # wait until the device has finished
    return (time.perf_counter() - started) / steps
