"""The cost of a study: counted FLOPs, at a speed measured on this machine."""

import time
from collections.abc import Callable, Sequence

import torch

from unforced.config import Run
from unforced.errors import TransientError, UserError
from unforced.training.flops import flops_of
from unforced.training.loop import Trainer, start_accelerator
from unforced.training.memory import oom_as_user_error
from unforced.training.store import MemoryStore
from unforced.training.together import stepper

_PROBLEMS = 64  # in each step that is timed
_STEPS, _SECONDS = 2, 1.0  # that are timed, at the least


class Costs:
    """The cost of runs on `threads` threads of this machine. Raises UserError if a model cannot be loaded.

    measure: returns the FLOPs per second at which a run trains on so many threads, together with so many
    others that differ in their seeds; those of all together.
    """

    def __init__(self, threads: int, measure: Callable[[Run, int, int], float] | None = None) -> None:
        self.threads, self._measure = threads, measure or measure_speed
        self._speeds: dict[tuple[str, int], float] = {}
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

    def speed(self, run: Run, at_once: int = 1) -> float:
        """Return the FLOPs per second at which so many runs train; measuring that takes about a second.

        The speed of a model's first run is used for all of its runs.
        """
        case = run.model.model_dump_json(), at_once
        if case not in self._speeds:
            self._speeds[case] = self._measure(run, self.threads, at_once)
        return self._speeds[case]


def _per_step(run: Run) -> float:
    return flops_of(run) * run.batch_size


def measure_speed(run: Run, threads: int, at_once: int = 1) -> float:
    """Train a run for about a second on so many threads; return its FLOPs per second.

    at_once: how many such runs are trained together; the operations are those of all. Where memory does not
    suffice, half as many are; one, where they cannot be trained together.
    """
    few = run.replace(
        batch_size=min(_PROBLEMS, run.batch_size),
        gradient_accumulation=1,
        num_train=None if run.num_train is None else min(run.num_train, 100 * _PROBLEMS),  # few are seen
    )
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with oom_as_user_error():
            return at_once * _per_step(few) / _seconds_of(few, at_once)
    except UserError as error:
        if at_once == 1:
            raise
        return measure_speed(run, threads, at_once // 2 if isinstance(error, TransientError) else 1)
    finally:
        torch.set_num_threads(before)
        if torch.accelerator.is_available():
            torch.accelerator.memory.empty_cache()  # the runs need it


def _seconds_of(run: Run, at_once: int) -> float:
    """Train so many runs for a moment; return the seconds of a step."""
    runs = [run.replace(seed=run.seed + number) for number in range(at_once)]
    trainers = [Trainer(each, MemoryStore(), start_accelerator(run)) for each in runs]
    for trainer in trainers:
        trainer.select_kernels((run.model.stacked_kernels or {}) if at_once > 1 else {})
    return _seconds_per_step(
        trainers[0].step if at_once == 1 else stepper(trainers, trainers[0].say), trainers
    )


def _seconds_per_step(step: Callable[[], object], trainers: Sequence[Trainer]) -> float:
    step()
    steps, started = 0, time.perf_counter()
    while steps < _STEPS or time.perf_counter() - started < _SECONDS:
        step()
        steps += 1
    for trainer in trainers:
        for sums in trainer.progress.losses.values():
            sums.tolist()  # wait until the device has finished
    return (time.perf_counter() - started) / steps
