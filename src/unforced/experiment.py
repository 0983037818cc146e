"""Whole runs, from a config to a result; and results from a folder."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from accelerate.utils import broadcast_object_list

from unforced.bases import base_record, locate_base, recorded_base
from unforced.config import Run
from unforced.data.files import read_problems
from unforced.decoding.base import Decoder
from unforced.errors import TransientError, UserError
from unforced.evaluation.accuracy import Metrics, measure, measure_problems, prefixed, with_intervals
from unforced.evaluation.diagnosis import check_enough, diagnose, history
from unforced.evaluation.evaluator import Evaluator
from unforced.files import write_json
from unforced.results import Measured, count_flops, describe_session, say_notices, say_work
from unforced.runs.folder import RunFolder
from unforced.runs.history import Line
from unforced.runs.schemas import DIVERGED
from unforced.tasks.sampling import Split
from unforced.training.checkpoint import load_newest
from unforced.training.loop import Observer, Outcome, Trainer, start_accelerator
from unforced.training.memory import oom_as_user_error
from unforced.training.precision import autocast_dtype
from unforced.training.processes import find_device
from unforced.training.source import split_problems
from unforced.training.store import FolderStore, MemoryStore
from unforced.training.timer import USUAL, Rhythm
from unforced.training.train_module import TrainModule, build_train_module
from unforced.wording import typed

OtherDecoder = str | Mapping[str, Any] | Decoder
"""A decoder by its name, with its fields, or with fields that are changed in the run's own."""


def run_experiment(
    run: Run,
    path: Path,
    observer: Observer,
    resume: bool = False,
    rhythm: Rhythm = USUAL,
) -> Outcome:
    """Train a run into the folder `path`, measure it, and write its result.

    Raises UserError: the folder holds something else, the disk is full, the graph does not fit.
    """
    accelerator = start_accelerator(run)
    try:
        with oom_as_user_error():
            folder = RunFolder.reopen(path, run) if resume else RunFolder.claim(path, run)
            if folder.done:
                return outcome_of(folder, run)
            trainer = Trainer(run, FolderStore(folder), accelerator, measure, observer, rhythm)
            accelerator.wait_for_everyone()  # all have the memory they need, and have seen what is there
            with held_by_the_first(trainer, folder, new=not resume):
                return _train_and_measure(trainer, folder, resume)
    except OSError as error:
        raise as_user_error(error, path) from error


@contextlib.contextmanager
def held_by_the_first(trainer: Trainer, folder: RunFolder, new: bool) -> Iterator[None]:
    """Let the first process lock the run's folder, and make it if it is `new`.

    Raises in every process what went wrong in the first.
    """
    run, refusal = trainer.run, None
    with contextlib.ExitStack() as held:
        if trainer.accelerator.is_main_process:
            try:
                held.enter_context(folder.locked())
                if new:
                    RunFolder.claim(folder.path, run).create(
                        run
                    )  # while the model was built, another may have
            except (UserError, OSError) as error:
                refusal = error
        refusal = broadcast_object_list([refusal])[0]
        if refusal is not None:
            raise refusal
        yield


def _train_and_measure(trainer: Trainer, folder: RunFolder, resume: bool) -> Outcome:
    begun = Begun.of(trainer, folder, resume)
    outcome = trainer.fit()
    begun.measure(outcome)
    trainer.accelerator.wait_for_everyone()
    return outcome


@dataclass(frozen=True)
class Begun:
    """A run whose folder is held, and which is ready to be trained on."""

    trainer: Trainer
    folder: RunFolder
    environment: Mapping[str, Any]
    flops: float | None

    @classmethod
    def of(
        cls,
        trainer: Trainer,
        folder: RunFolder,
        resume: bool,
        kernels: Mapping[str, str] = MappingProxyType({}),
    ) -> "Begun":
        """Record what the run runs on, and go back to where it was. kernels: to take instead of its own."""
        is_first = trainer.accelerator.is_main_process
        base = recorded_base(folder) if resume else base_record(trainer.run) if is_first else {}
        known = folder.implementation() if resume else {}
        environment = describe_session(trainer, {**known, **kernels}, base)
        if is_first:
            write_json(folder.env, environment)
        flops = count_flops(trainer) if is_first else None
        say_notices(trainer)
        if resume:
            trainer.resume()
        say_work(trainer, flops)
        return cls(trainer, folder, environment, flops)

    def measure(self, outcome: Outcome, known: Mapping[Split, Metrics] = MappingProxyType({})) -> None:
        """Measure the trained run and write its result, unless it was stopped.

        known: what was measured already, by split.
        """
        if outcome.stopped_by is not None:
            return
        folder, measured = (
            self.folder,
            Measured.of(self.trainer, outcome, self.flops, self.environment, known),
        )
        if measured is None:
            return
        write_json(folder.answers, measured.answers)
        write_json(folder.traces, measured.traces, indent=None)
        write_json(folder.result, measured.result | {"config": folder.config_digest()})


def outcome_of(folder: RunFolder, run: Run) -> Outcome:
    """Return how a run that is done has ended. Raises UserError if its result is damaged."""
    folder.check_result(run)
    return Outcome(DIVERGED if folder.read_result().get("ended_by") == DIVERGED else "done")


def as_user_error(error: UserError | OSError, path: Path) -> UserError:
    """Return a line for what the system refused."""
    if isinstance(error, UserError):
        return error
    begun = os.path.exists(path / "config.json")
    advice = f"choose another {typed('out')}"
    if begun:
        advice = f"what was written is kept; continue with {typed('resume', True)}"
    return TransientError(f"{error.filename or path}: {error.strerror or error}; {advice}")


@dataclass(frozen=True)
class InMemory:
    """A run that was trained in memory.

    lines: those that metrics.jsonl would hold; environment: what env.json would. measured: None if training
    was stopped before its end.
    """

    loaded: "LoadedRun"
    outcome: Outcome
    lines: Sequence[Line]
    environment: Mapping[str, Any]
    measured: Measured | None


def train_in_memory(run: Run, observer: Observer) -> InMemory:
    """Train a run and measure it, and write nothing. Raises UserError: it does not fit into memory."""
    accelerator, store = start_accelerator(run), MemoryStore()
    with oom_as_user_error():
        trainer = Trainer(run, store, accelerator, measure, observer)
        environment = describe_session(trainer, {}, base_record(run))
        flops = count_flops(trainer)
        say_notices(trainer)
        say_work(trainer, flops)
        outcome = trainer.fit()
        measured = None
        if outcome.stopped_by is None:
            measured = Measured.of(trainer, outcome, flops, environment)
    lines, measured = broadcast_object_list([store.lines, measured])
    loaded = LoadedRun(run, trainer.train_module, trainer.progress.step, [])
    return InMemory(loaded, outcome, lines, environment, measured)


@dataclass(frozen=True)
class LoadedRun:
    """A run folder's newest usable weights, ready to measure.

    refused: why newer checkpoints were refused, and what else could not be checked.
    """

    run: Run
    train_module: TrainModule
    step: int
    refused: list[str]

    def decoded_by(self, decoder: OtherDecoder | None) -> "LoadedRun":
        """Take another decoder, as in `Run.replace`; the run's own if None. Raises UserError."""
        return self if decoder is None else replace(self, run=self.run.replace(decoder=decoder))


def load_run(path: Path, base: Path | None = None) -> LoadedRun:
    """Load a run folder's newest usable weights. Raises UserError if there are none.

    base: where the pretrained model that it started from is now; see `unforced.bases.locate_base`.
    """
    folder = RunFolder.open(path)
    run = folder.run()
    unchecked = [] if base is None else locate_base(path, base)
    device = find_device()
    train_module = build_train_module(run).to(device)
    train_module.select_kernels(device, autocast_dtype(run, device), folder.implementation())
    progress, refused = load_newest(folder.checkpoints, run, train_module)
    if progress is None:
        raise UserError(f"{path} has no checkpoint yet; train it further with {typed('resume', True)}")
    return LoadedRun(run, train_module, progress.step, [*unchecked, *refused.values()])


def evaluate_run(loaded: LoadedRun, splits: Iterable[Split], count: int | None) -> dict[str, Any]:
    """Measure loaded weights on `count` problems of each split (None: the run's num_test)."""
    metrics: Metrics = {}
    for split in splits:
        measured = measure(loaded.run, loaded.train_module, split, count or loaded.run.num_test)
        metrics |= prefixed(split, measured)
    return Evaluator.of(loaded.run, loaded.train_module).decoded() | with_intervals(metrics)


def diagnose_run(
    path: Path,
    count: int | None,
    confidence: float,
    decoder: OtherDecoder | None = None,
    base: Path | None = None,
    on_unwritten: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Diagnose a finished run on `count` held-out problems (None: the run's num_test); write diagnosis.json.

    Training problems are the first `count` of the training set, or all of it. `decoder` names another one, as
    in `LoadedRun.decoded_by`; then nothing is written. base: as in `load_run`. on_unwritten: is called with a
    line if diagnosis.json cannot be written; without it, that raises TransientError. Raises UserError if the
    run has not finished, or the problems are too few for the confidence.
    """
    folder = RunFolder.open(path)
    if not folder.done:
        raise UserError(
            f"{path} has not finished: it has no result.json; finish it by training with "
            f"{typed('resume', True)}, or measure its newest checkpoint with `unforced evaluate {path}`"
        )
    loaded = load_run(path, base)
    steps = folder.read_result()["steps"]
    if loaded.step != steps:
        raise UserError(
            f"{path} was trained for {steps} steps, but its newest usable checkpoint is of step "
            f"{loaded.step} ({'; '.join(loaded.refused) or 'later ones are gone'}); measure that one with "
            "`unforced evaluate`"
        )
    diagnosis = diagnose_loaded(loaded, folder.read_metrics(), count, confidence, decoder)
    if decoder is None:
        try:
            write_json(folder.diagnosis, diagnosis)
        except OSError as error:
            if on_unwritten is None:
                raise TransientError(f"{folder.diagnosis}: {error.strerror}") from error
            on_unwritten(f"the diagnosis was not written to {folder.diagnosis}: {error.strerror}")
    return diagnosis


def diagnose_loaded(
    loaded: LoadedRun,
    lines: Sequence[Line],
    count: int | None,
    confidence: float,
    decoder: OtherDecoder | None = None,
) -> dict[str, Any]:
    """Diagnose trained weights, whose training wrote these `lines`; as `diagnose_run` does."""
    trained_with, loaded = loaded.run.decoding, loaded.decoded_by(decoder)
    run, count = loaded.run, count or loaded.run.num_test
    evaluator = Evaluator.of(run, loaded.train_module)
    check_enough(count, confidence, run.task)
    train, held_out = (split_problems(run, split, count) for split in ("train", "test"))
    all_of_training = len(train) == run.training_count
    diagnosis = {
        "run": run.fingerprint,
        **diagnose(evaluator, train, held_out, confidence, all_of_training),
    }
    if decoder is not None:
        reason = {"does_not_apply": f"the evaluations of training used the decoder {trained_with}"}
        return diagnosis | {"learned": reason, "grokking": reason}
    return diagnosis | history(evaluator, held_out, lines, run.stream)


def evaluate_file(loaded: LoadedRun, file: Path) -> dict[str, Any]:
    """Measure loaded weights on the problems in a file; keys begin with `file`.

    Raises UserError if they are problems of another shape than the run's.
    """
    run = loaded.run
    known = run.task.model_dump()
    _, problems, _ = read_problems(file, type(run.task), known=known, default_order=run.order)
    evaluator = Evaluator.of(run, loaded.train_module)
    return evaluator.decoded() | with_intervals(prefixed("file", measure_problems(evaluator, problems)))
