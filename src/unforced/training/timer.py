"""The clocks of one session."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from unforced.training.checkpoint import TrainState


@dataclass(frozen=True)
class Rhythm:
    """How often things are done by the clock.

    Checkpoints beside those of checkpoint_every are at least `seconds_between_checkpoints` apart, and
    `training_per_saving` times as long as the last one took: a large model is not saved all the time.
    """

    seconds_between_updates: float = 0.5
    seconds_between_checkpoints: float = 60.0
    training_per_saving: float = 20.0


USUAL = Rhythm()


class Timer:
    """Total seconds, those of training, its speed without evaluation, the time since other things."""

    def __init__(self, state: TrainState) -> None:
        self._progress, self._before, self._trained_before = state, state.seconds, state.training_seconds
        self._started = self._updated = self._saved = time.perf_counter()
        self.to_save = 0.0  # seconds that the last checkpoint took
        self.seconds_apart = 0.0  # of this session, which are not training's
        self.restart()

    def restart(self) -> None:
        """Measure speed from here."""
        self._since, self._from_step = time.perf_counter(), self._progress.step

    def seconds(self) -> float:
        """Seconds spent on the run, earlier sessions included."""
        return self._before + time.perf_counter() - self._started

    def training_seconds(self) -> float:
        """Seconds of training alone: without evaluations and checkpoints, earlier sessions included."""
        return self._trained_before + time.perf_counter() - self._started - self.seconds_apart

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Do not count what is done in this context as training."""
        began = time.perf_counter()
        yield
        self.exclude(time.perf_counter() - began)

    def exclude(self, seconds: float) -> None:
        """Do not count the last seconds as training."""
        self.seconds_apart += seconds
        self._since += seconds

    def rate(self, batch_size: int) -> float | None:
        """Training samples per second since the last evaluation; None before the first step."""
        steps = self._progress.step - self._from_step
        return steps * batch_size / (time.perf_counter() - self._since) if steps else None

    def updated(self) -> None:
        """Take note that the observer has just been updated."""
        self._updated = time.perf_counter()

    def since_update(self) -> float:
        """Seconds since then."""
        return time.perf_counter() - self._updated

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Take the time of writing a checkpoint."""
        began = time.perf_counter()
        with self.apart():
            yield
        self._saved = time.perf_counter()
        self.to_save = self._saved - began

    def since_save(self) -> float:
        """Seconds since then, or since the session began."""
        return time.perf_counter() - self._saved
