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
    """Total seconds, training speed without evaluation, and the time since things were last done."""

    def __init__(self, state: TrainState) -> None:
        self._progress, self._before = state, state.seconds
        self._started = self._updated = self._saved = time.perf_counter()
        self.to_save = 0.0  # seconds that the last checkpoint took
        self.restart()

    def restart(self) -> None:
        """Measure speed from here."""
        self._since, self._from_step = time.perf_counter(), self._progress.step

    def seconds(self) -> float:
        """Seconds spent on the run, earlier sessions included."""
        return self._before + time.perf_counter() - self._started

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
        yield
        self._saved = time.perf_counter()
        self.to_save = self._saved - began

    def since_save(self) -> float:
        """Seconds since then, or since the session began."""
        return time.perf_counter() - self._saved
