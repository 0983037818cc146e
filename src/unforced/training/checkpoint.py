"""Checkpoints: tensors and JSON, written whole, verified before they are used.

    checkpoints/step-00001000/learner.safetensors     weights
                              optimizer.safetensors   the optimiser's moments, the running loss
                              state.json              step, the run and its config, SHA-256 of the two and
                                                      of frozen weights

Loading executes nothing. All other state (data order, learning rate, randomness of an objective) is a
function of the step.
"""

import hashlib
import math
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unforced.config import Run
from unforced.config.fingerprint import tree_digest
from unforced.errors import UserError
from unforced.files import atomically, read_json, sync_folder, write_json
from unforced.objectives.view import ANSWER
from unforced.runs.schemas import CheckpointState, check
from unforced.training.optimizer import Optimizers
from unforced.training.precision import sum_dtype
from unforced.training.processes import Processes
from unforced.training.train_module import TrainModule
from unforced.wording import typed

FORMAT = "unforced checkpoint 2"
_FIRST_FORMAT = "unforced checkpoint 1"  # has no config
_FILES = ("learner.safetensors", "optimizer.safetensors", "state.json")
_LOSS = "loss/"
_NAME = re.compile(r"step-(\d{8,})")


@dataclass
class TrainState:
    """How far a run is: the part of its state other than weights.

    seconds: since training began, without those between sessions; training_seconds: of them, those without
    evaluations and checkpoints. losses: by term, the sums of StepReport since the last evaluation. They are
    this process's own; in a checkpoint, row i is those of process i.
    """

    step: int = 0
    seconds: float = 0.0
    training_seconds: float = 0.0
    losses: dict[str, Tensor] = field(default_factory=dict)

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Add the sums of a step."""
        for name, sums in losses.items():
            self.losses[name] = self.losses[name] + sums if name in self.losses else sums

    def gathered(self, processes: Processes) -> "TrainState":
        """Return the progress of all processes."""
        return replace(self, losses={k: processes.gather(v[None]) for k, v in self.losses.items()})

    def share(self, processes: Processes) -> "TrainState":
        """Return this process's part of what was gathered; the first takes all if their number changed."""
        return replace(self, losses={k: _share(v, processes) for k, v in self.losses.items()})


def mean_losses(sums: Mapping[str, Tensor]) -> dict[str, float | None]:
    """Return `loss`, the weighted sum of the terms' means, and `loss.TERM` if there are several.

    None: there was no target.
    """
    terms = {name: tensor.tolist() for name, tensor in sums.items()}
    parts = [weighted / count for _, weighted, count in terms.values() if count]
    losses: dict[str, float | None] = {"loss": math.fsum(parts) if parts else None}
    if len(terms) > 1:
        losses |= {f"loss.{name}": total / n if n else None for name, (total, _, n) in terms.items()}
    return losses


def _share(values: Tensor, processes: Processes) -> Tensor:
    rank = processes.process_index
    if len(values) == processes.num_processes:
        return values[rank]
    return values.sum(0) if rank == 0 else torch.zeros_like(values[0])


class UnusableError(Exception):
    """Why a checkpoint is refused."""


def save_checkpoint(
    folder: Path, run: Run, train_module: TrainModule, optimizer: Optimizers, progress: TrainState
) -> None:
    """Write a checkpoint for the present step, and drop complete older ones beyond `run.keep_checkpoints`.

    Raises OSError (a full disk, say), and then leaves what was there before.
    """
    final = folder / f"step-{progress.step:08d}"
    draft = folder / f".{final.name}.{os.getpid()}"
    for left in folder.glob(".step-*"):  # by a process that was killed while it wrote
        shutil.rmtree(left, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        digests = {
            "learner.safetensors": _write(draft / "learner.safetensors", train_module.weights()),
            "optimizer.safetensors": _write(
                draft / "optimizer.safetensors", _optimizer_tensors(train_module, optimizer, progress)
            ),
        }
        state: dict[str, Any] = {"format": FORMAT, "run": run.fingerprint, "config": run.tree()}
        state |= {"step": progress.step, "seconds": progress.seconds}
        state |= {"training_seconds": progress.training_seconds}
        state |= {"sha256": digests, "frozen_sha256": train_module.frozen_sha256}
        write_json(draft / "state.json", state)
        draft.replace(final)
    except BaseException:  # Ctrl-C, too
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync_folder(folder)
    older = [path for path in checkpoints(folder) if _step(path) < progress.step and _is_complete(path)]
    for path in older[run.keep_checkpoints - 1 :]:
        shutil.rmtree(path, ignore_errors=True)


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, newest first."""
    paths = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(paths, key=_step, reverse=True)


def set_aside(path: Path) -> Path:
    """Rename a refused checkpoint, so that it neither counts among the others nor is in their way."""
    return path.rename(path.with_name(f"refused-{path.name}-{time.time_ns()}"))


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _is_complete(path: Path) -> bool:
    return all((path / name).is_file() for name in _FILES)


def load_newest(
    folder: Path, run: Run, train_module: TrainModule, optimizer: Optimizers | None = None
) -> tuple[TrainState | None, dict[Path, str]]:
    """Load the newest usable checkpoint into the train_module (and the optimiser).

    Returns the progress (None if there are no checkpoints) and a line per checkpoint refused.
    Raises UserError if there are some but none is usable, or they stand beside other frozen weights.
    """
    refused: dict[Path, str] = {}
    for path in checkpoints(folder):
        try:
            return _load(path, run, train_module, optimizer), refused
        except UnusableError as reason:
            refused[path] = f"{path}: checkpoint refused: {reason}"
    if refused:
        newest = next(iter(refused.values()))
        raise UserError(
            f"{newest}; no other checkpoint is usable: start a new run with another {typed('out')}"
        )
    return None, refused


def _load(path: Path, run: Run, train_module: TrainModule, optimizer: Optimizers | None) -> TrainState:
    try:
        state = check(CheckpointState, read_json(path / "state.json"), "state.json")
    except UserError as error:
        raise UnusableError(str(error)) from None
    if state["format"] not in (FORMAT, _FIRST_FORMAT):
        raise UnusableError(f"state.json: it is not of the format {FORMAT!r}")
    if state["step"] != _step(path):
        raise UnusableError(f"state.json: step {state['step']} is not the folder's")
    _check_owner(path, state, run)
    recorded = state.get("frozen_sha256")  # an older checkpoint does not say
    if recorded is not None and recorded != train_module.frozen_sha256:
        raise UserError(
            f"{path}: what was trained stands beside other weights than {run.model.origin.name} has now; "
            f"put back the model that the run started from, or start a new run with another {typed('out')}"
        )
    _copy_into(train_module.weights(), _verified(path, "learner.safetensors", state["sha256"]))
    device = next(train_module.parameters()).device
    trained = state.get("training_seconds")  # an older checkpoint does not say
    progress = TrainState(state["step"], state["seconds"], state["seconds"] if trained is None else trained)
    if optimizer is not None:
        tensors = _verified(path, "optimizer.safetensors", state["sha256"])
        losses = _losses(tensors)
        progress.losses = {
            name: sums.to(device, sum_dtype(device), copy=True) for name, sums in losses.items()
        }
        _restore_optimizer(train_module, optimizer, tensors)
    return progress


def _losses(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take the running losses out of what was saved."""
    if "loss_total" in tensors:  # by a version that knew one term alone
        total, count = (tensors.pop(name).reshape(-1) for name in ("loss_total", "loss_count"))
        return {ANSWER: torch.stack([total, total, count.to(total.dtype)], dim=1)}
    names = [name for name in tensors if name.startswith(_LOSS)]
    return {name.removeprefix(_LOSS): tensors.pop(name) for name in names}


def _check_owner(path: Path, state: Mapping[str, Any], run: Run) -> None:
    """Refuse a checkpoint of another run, by the config in it; one of the first release has a hash of it."""
    try:
        if state["format"] == _FIRST_FORMAT:
            digest = tree_digest(read_json(path.parent.parent / "config.json"))
            if state["run"] != digest:
                raise UnusableError(f"it belongs to run {state['run']}, not to {digest}")
        elif changes := Run.from_tree(state.get("config") or {}).changes(run):
            raise UnusableError(f"it belongs to run {state['run']}, which has another {changes[0]}")
    except UserError as error:
        raise UnusableError(f"state.json: {error}") from None


def _write(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors from where they lie, without a second copy in memory; return the file's SHA-256."""
    with atomically(path) as draft:
        try:
            save_file(_contiguous(tensors), draft)
        except SafetensorError as error:
            raise _of_the_system(error, path) from error
    return _sha256(path)


def _of_the_system(error: SafetensorError, path: Path) -> Exception:
    """Return the OSError that safetensors tells in words, if it is one: a full disk, say."""
    number = re.search(r"os error (\d+)", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1])), str(path)) if number else error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verified(path: Path, name: str, sha256: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the tensors of a file, once its hash is right; they are read from the disk as they are used."""
    try:
        if _sha256(path / name) != sha256.get(name):
            raise UnusableError(f"{name} is cut short or changed (its SHA-256 differs)")
        return load_file(path / name)
    except OSError as error:
        raise UnusableError(f"{name}: {error.strerror or error}") from None
    except SafetensorError as error:
        raise UnusableError(f"{name}: {error}") from None


def _copy_into(targets: Mapping[str, Tensor], sources: Mapping[str, Tensor]) -> None:
    for name in targets.keys() | sources.keys():
        if name not in sources or name not in targets or sources[name].shape != targets[name].shape:
            raise UnusableError(f"tensor {name!r} does not fit this model")
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(sources[name])


def _optimizer_tensors(
    train_module: TrainModule, optimizer: Optimizers, progress: TrainState
) -> dict[str, Tensor]:
    tensors = {_LOSS + name: sums for name, sums in progress.losses.items()}
    for name, parameter in train_module.trained().items():
        for moment, value in optimizer.state_of(parameter).items():
            tensors[f"{moment}/{name}"] = value
    return tensors


def _restore_optimizer(
    train_module: TrainModule, optimizer: Optimizers, tensors: Mapping[str, Tensor]
) -> None:
    for name, parameter in train_module.trained().items():
        moments = {
            key.partition("/")[0]: value.to(parameter.device, copy=True)
            for key, value in tensors.items()
            if key.partition("/")[2] == name
        }
        optimizer.restore(parameter, moments)


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
