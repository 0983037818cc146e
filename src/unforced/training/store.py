"""Where a run's evaluations and checkpoints go: a run folder, or memory alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from unforced.config import Run
from unforced.runs.folder import RunFolder
from unforced.training.checkpoint import TrainState, load_newest, save_checkpoint, set_aside
from unforced.training.optimizer import Optimizers
from unforced.training.train_module import TrainModule

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Loaded:
    """The saved state of a run.

    progress  that of the loaded checkpoint; None: no checkpoint, start from the beginning
    lines     the evaluations up to there, as metrics.jsonl has them
    refused   checkpoints that could not be used, with the reason
    """

    progress: TrainState | None = None
    lines: Sequence[Line] = ()
    refused: Mapping[Path, str] = field(default_factory=dict)


@runtime_checkable
class Store(Protocol):
    """Keeps what a run leaves behind while it trains. Of several processes, the first alone writes."""

    def load(self, run: Run, train_module: TrainModule, optimizer: Optimizers) -> Loaded:
        """Load the newest usable checkpoint into train_module and optimiser; change nothing in the store."""

    def rewind(self, loaded: Loaded) -> Sequence[str]:
        """Drop what came after `loaded`; return a line about each thing that was lost or refused."""

    def append(self, line: Line) -> None:
        """Add an evaluation."""

    def save(self, run: Run, train_module: TrainModule, optimizer: Optimizers, progress: TrainState) -> None:
        """Keep the state of training."""


class FolderStore:
    """A run folder."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def load(self, run: Run, train_module: TrainModule, optimizer: Optimizers) -> Loaded:
        """Load the newest usable checkpoint."""
        progress, refused = load_newest(self.folder.checkpoints, run, train_module, optimizer)
        return Loaded(progress, self.folder.evaluations(_step_of(progress)), refused)

    def rewind(self, loaded: Loaded) -> Sequence[str]:
        """Set refused checkpoints aside, and drop later lines of metrics.jsonl."""
        lost = [] if loaded.progress is not None else self._all_lost()
        aside = [f"{line}; set aside as {set_aside(path).name}" for path, line in loaded.refused.items()]
        self.folder.rewind_metrics(_step_of(loaded.progress))
        return [*lost, *aside]

    def append(self, line: Line) -> None:
        """Add a line to metrics.jsonl."""
        self.folder.append_metrics(dict(line))

    def save(self, run: Run, train_module: TrainModule, optimizer: Optimizers, progress: TrainState) -> None:
        """Write a checkpoint."""
        save_checkpoint(self.folder.checkpoints, run, train_module, optimizer, progress)

    def _all_lost(self) -> list[str]:
        lines = self.folder.read_metrics()
        if not lines or not lines[-1]["step"]:
            return []
        return [
            f"{self.folder.checkpoints}: no checkpoint is left of the {lines[-1]['step']} steps that "
            f"{self.folder.metrics.name} tells of; starting over from step 0"
        ]


class MemoryStore:
    """Keeps evaluations in `lines`, and writes nothing. The state of training is in the module alone."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def load(self, run: Run, train_module: TrainModule, optimizer: Optimizers) -> Loaded:
        """Find nothing."""
        return Loaded()

    def rewind(self, loaded: Loaded) -> Sequence[str]:
        """Drop every line."""
        self.lines.clear()
        return []

    def append(self, line: Line) -> None:
        """Keep an evaluation."""
        self.lines.append(line)

    def save(self, run: Run, train_module: TrainModule, optimizer: Optimizers, progress: TrainState) -> None:
        """Keep nothing."""


def _step_of(progress: TrainState | None) -> int:
    return -1 if progress is None else progress.step
