"""Training a run, and all that a trained run offers."""

import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from unforced.config import Run
from unforced.errors import UserError
from unforced.evaluation.evaluator import Evaluator
from unforced.evaluation.statistics import CONFIDENCE, check_confidence
from unforced.experiment import (
    LoadedRun,
    OtherDecoder,
    diagnose_loaded,
    diagnose_run,
    evaluate_run,
    load_run,
    run_experiment,
    train_in_memory,
)
from unforced.interface.answers import Prompts, answer
from unforced.interface.diagnosis import Diagnosis
from unforced.interface.notebook import show_figures
from unforced.interface.progress import watch
from unforced.reporting.report_figures.curves import learning_curves
from unforced.reporting.report_figures.style import styled
from unforced.reporting.tables import accuracy_table, set_table
from unforced.reporting.tidy import metrics_frame
from unforced.runs.finished import FinishedRun
from unforced.runs.folder import RunFolder
from unforced.runs.groups import group_runs
from unforced.runs.history import Line
from unforced.runs.index import read_finished
from unforced.tasks.sampling import check_split
from unforced.training.loop import Observer, Outcome


def train(
    run: Run,
    out: str | PathLike[str] | None = None,
    *,
    resume: bool = False,
    observer: Observer | None = None,
) -> "Fit":
    """Train a run and measure it.

    out: the run folder to write; None: nothing is written. resume: continue the run in that folder, bit for
    bit. observer: receives progress instead of the bar (`unforced.training.loop.Unobserved()`: silence).
    Raises UserError: the folder holds something else, the run does not fit into memory. Raises
    KeyboardInterrupt after Ctrl-C, when the checkpoint is written, if there is a folder.
    """
    if not isinstance(run, Run):
        raise UserError(f"run: {_instead_of_a_run(run)}")
    if out is None:
        if resume:
            raise UserError("resume=True: give the folder of the run that is to be continued, as out=")
        return _train_in_memory(run, observer)
    path = Path(out).expanduser()
    with watch(run, observer) as observer:
        outcome = run_experiment(run, path, observer, resume)
    _raise_if_stopped(outcome, f"the checkpoint is in {path}, continue with resume=True")
    return Fit.of_folder(path)


def _instead_of_a_run(value: object) -> str:
    if isinstance(value, Mapping):
        names = ", ".join(map(repr, list(value)[:3]))
        return f"these are {len(value)} runs by name; give one of them ({names}), or all to uf.study"
    return f"give a Run, as uf.recipe('quickstart.teacherless') is one, not a {type(value).__name__}"


def _train_in_memory(run: Run, observer: Observer | None) -> "Fit":
    with watch(run, observer) as observer:
        trained = train_in_memory(run, observer)
    _raise_if_stopped(trained.outcome, "it was trained in memory and is lost; with out= a checkpoint is kept")
    result = None if trained.measured is None else trained.measured.result
    return Fit(trained.loaded, trained.lines, result, trained.environment)


def _raise_if_stopped(outcome: Outcome, what: str) -> None:
    """Let a signal that stopped training have the effect that it has without us, now that all is saved."""
    if outcome.stopped_by is None:
        return
    if outcome.stopped_by == signal.SIGINT:
        raise KeyboardInterrupt(what)
    print(f"stopped by {outcome.stopped_by.name}; {what}", file=sys.stderr)
    signal.raise_signal(outcome.stopped_by)


@dataclass(frozen=True, eq=False, repr=False)
class Fit:
    """A trained run: what it learned, and how it answers.

    loaded: its weights. lines: an evaluation each, as in metrics.jsonl. finished: what result.json holds;
    None where the run has not ended. environment: as in env.json. folder: None where it is in memory alone.
    """

    loaded: LoadedRun
    lines: Sequence[Line]
    finished: Mapping[str, Any] | None
    environment: Mapping[str, Any]
    folder: RunFolder | None = None

    @classmethod
    def of_folder(cls, path: Path, base: Path | None = None) -> "Fit":
        """Load a run folder, with its newest usable weights. Raises UserError if it has none."""
        folder = RunFolder.open(path)
        loaded = load_run(path, base)
        for reason in loaded.refused:
            print(f"{reason}; the weights are of step {loaded.step}", file=sys.stderr)
        finished = folder.read_result() if folder.done else None
        return cls(loaded, folder.read_metrics(), finished, {}, folder)

    @property
    def run(self) -> Run:
        """What was trained."""
        return self.loaded.run

    @property
    def step(self) -> int:
        """How many steps the weights were trained for."""
        return self.loaded.step

    @property
    def model(self) -> Any:
        """The trained model, a `torch.nn.Module` behind the model contract (`SequenceModel`)."""
        return self.loaded.train_module.model

    @property
    def result(self) -> dict[str, Any]:
        """What result.json holds: how the run ended, and its accuracies. Raises UserError before its end."""
        if self.finished is None:
            raise UserError(
                f"the run has not finished: step {self.step} of {self.run.num_steps}; continue it with "
                "uf.train(..., resume=True), or measure it as it is with fit.evaluate()"
            )
        return dict(self.finished)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """A row per evaluation in training: `step`, `samples`, `loss`, `validation.free.exact`, ...

        Accuracies are fractions; kinds of error (`validation.free.errors.KIND`) are counts.
        """
        return metrics_frame(self.lines)

    def evaluate(
        self,
        split: str | Sequence[str] = ("train", "test"),
        count: int | None = None,
        decoder: OtherDecoder | None = None,
    ) -> dict[str, Any]:
        """Measure accuracies on problems of one split or several, under the keys of result.json.

        count: problems of each split (None: the run's num_test). decoder: another than the run's, by name,
        with fields, or with fields that are changed in the run's own. Raises UserError.
        """
        splits = [split] if isinstance(split, str) else list(split)
        _check_count(count)
        for name in splits:
            check_split(self.run.task, name)
        return evaluate_run(self.loaded.decoded_by(decoder), splits, count)

    def diagnose(
        self,
        count: int | None = None,
        confidence: float = CONFIDENCE,
        decoder: OtherDecoder | None = None,
    ) -> Diagnosis:
        """Say whether the run fails, already in training or only at inference, by which mechanism.

        count: held-out problems (None: the run's num_test). confidence: of every interval. decoder: another
        than the run's. With a run folder, and the run's decoder, diagnosis.json is written. Raises UserError:
        the run has not finished, the problems are too few.
        """
        _check_count(count)
        check_confidence(confidence)
        if self.folder is None:
            found = diagnose_loaded(self.loaded, self.lines, count, confidence, decoder)
        else:
            found = diagnose_run(self.folder.path, count, confidence, decoder, on_unwritten=_warn_unwritten)
        return Diagnosis(self.name, found)

    def answer(self, prompts: Prompts, decoder: OtherDecoder | None = None) -> pd.DataFrame:
        """Answer prompts freely: a row each, with `prompt`, `answer`, `true`, `verdict` and `reason`.

        prompts: texts as the task writes them, or problems of `uf.problems`. Answers are in forward order. A
        text that is not a prompt of the task has the verdict `unreadable`. Raises UserError where the task
        reads no prompts.
        """
        loaded = self.loaded.decoded_by(decoder)
        return answer(Evaluator.of(loaded.run, loaded.train_module), prompts)

    def plot(self) -> Figure:
        """Draw learning curves: each answer position on validation problems, free above teacher-forced.

        Raises UserError before the run has ended.
        """
        group = group_runs([self._as_finished()])
        if not any(line["samples"] for line in self.lines):
            raise UserError("plot: the run was not evaluated after training began; lower evaluate_every")
        with styled():
            (figure,) = learning_curves(group).values()
        show_figures()
        return figure

    @property
    def name(self) -> str:
        """The run's folder; without one, what it is."""
        return self.run.title if self.folder is None else str(self.folder.path)

    def _as_finished(self) -> FinishedRun:
        if self.folder is not None:
            self.result  # noqa: B018  (raises where there is none)
            return read_finished(self.folder.path)
        parts = self.run.tree(), self.result, self.lines, None, self.environment
        return FinishedRun(self.name, Path(), *parts)

    def __repr__(self) -> str:
        return f"Fit({self.name}, step {self.step})"

    def _repr_html_(self) -> str:
        title = pd.Series({"run": self.name, "step": self.step}).to_frame("").to_html(header=False)
        if self.finished is None:
            return title
        as_a_set = set_table(self.finished)
        tables = accuracy_table(self.finished, self.run.task.chance), as_a_set
        return title + "".join(frame.to_html() for frame in tables if len(frame))


def _check_count(count: int | None) -> None:
    if count is not None and (not isinstance(count, int) or count < 1):
        raise UserError(f"count: give a whole number from 1 up, not {count!r}")


def _warn_unwritten(line: str) -> None:
    warnings.warn(line, stacklevel=4)
