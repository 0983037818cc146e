"""The one training loop. Task, model and objective are passed in; nothing here knows their names."""

import contextlib
import math
import signal
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor

from unforced.config import Run
from unforced.errors import UserError
from unforced.objectives.moment import Moment
from unforced.objectives.view import View
from unforced.runs.schemas import DIVERGED, OUT_OF_TIME
from unforced.tasks.sampling import Split
from unforced.training.captured import CapturedStep
from unforced.training.checkpoint import TrainState, mean_losses
from unforced.training.compiled import Compiler
from unforced.training.cpu import flushed_denormals, keep_freed_memory
from unforced.training.optimizer import build_optimizer, learning_rate
from unforced.training.precision import autocast_dtype
from unforced.training.processes import Processes, join_processes
from unforced.training.signals import StopRequest, stop_requests
from unforced.training.source import build_source
from unforced.training.step import EagerStep, StepReport
from unforced.training.stopping import StoppingRule
from unforced.training.store import Store
from unforced.training.timer import USUAL, Rhythm, Timer
from unforced.training.train_module import TrainModule, build_train_module

Metrics = dict[str, dict[str, int] | float]
Evaluate = Callable[[Run, TrainModule, Split, int, Processes], Metrics]
StepInputs = tuple[Sequence[View], float]
"""What a step is taken on: the views of its parts, and a learning rate."""

SPLITS: tuple[Split, ...] = ("train", "validation")
_STEPS_BETWEEN_AGREEMENTS = 20


@runtime_checkable
class Observer(Protocol):
    """Someone who watches a run."""

    def say(self, text: str) -> None:
        """Take one line of news."""

    def update(self, step: int, loss: float, samples_per_second: float) -> None:
        """Hear how training goes, about twice a second."""

    def evaluated(self, line: Mapping[str, Any]) -> None:
        """Hear of a new line of metrics.jsonl."""


class Unobserved:
    """Nobody watches."""

    def say(self, text: str) -> None:
        """Drop it."""

    def update(self, step: int, loss: float, samples_per_second: float) -> None:
        """Drop it."""

    def evaluated(self, line: Mapping[str, Any]) -> None:
        """Drop it."""


@dataclass(frozen=True)
class Outcome:
    """Why training ended: `steps`, `time`, `solved`, `fitted`, `diverged`, or the signal that stopped it."""

    reason: str
    stopped_by: signal.Signals | None = None


def start_accelerator(run: Run) -> Processes:
    """Join the processes that train the run, each on its device. Raises UserError."""
    accelerator = join_processes()
    parts = accelerator.num_processes * run.gradient_accumulation
    if parts > run.batch_size:
        raise UserError(
            f"batch_size: {run.batch_size} problems do not divide among {accelerator.num_processes} "
            f"processes x gradient_accumulation {run.gradient_accumulation}"
        )
    return accelerator


class StepState(Protocol):
    """What a trainer asks about the steps, whoever takes them; see EagerStep."""

    waits: bool
    lost: Tensor
    idle: Tensor

    @property
    def kind(self) -> str:
        """How steps are taken."""


@contextlib.contextmanager
def session() -> Iterator[StopRequest]:
    """Prepare the process for training, while the context lasts: signals ask to stop at the next step."""
    keep_freed_memory()
    with stop_requests() as request, flushed_denormals():
        yield request


class Trainer:
    """Trains one run into a store. evaluate: measures the model on a split, in all processes at once."""

    def __init__(
        self,
        run: Run,
        store: Store,
        accelerator: Processes,
        evaluate: Evaluate | None = None,
        observer: Observer | None = None,
        rhythm: Rhythm = USUAL,
    ) -> None:
        self.run, self.store, self.accelerator, self.rhythm = run, store, accelerator, rhythm
        self.evaluate, self.observer = evaluate, observer or Unobserved()
        self.device = accelerator.device
        self.train_module = build_train_module(run).to(self.device)
        self.optimizer = build_optimizer(run, self.train_module)
        self.take_step = self._build_step()
        self.step_state: StepState = self.take_step
        self.source = build_source(run, self.device)
        self.progress = TrainState()
        self.timer = Timer(self.progress)
        self.stopping = StoppingRule(run)
        self.evaluated_at: int | None = None
        self.saved_at: int | None = None
        self.diverged = False
        self.runs_at_once = 1
        self.measured: Mapping[Split, Metrics] = {}  # what was found already for the next evaluation

    def select_kernels(self, known: Mapping[str, str]) -> dict[str, str]:
        """Select the model's kernels, or keep those `known`; all processes agree."""
        select, dtype = self.train_module.select_kernels, autocast_dtype(self.run, self.device)
        chosen = broadcast_object_list([select(self.device, dtype, known)])[0]
        return select(self.device, dtype, chosen)

    @property
    def step_kind(self) -> dict[str, str]:
        """How steps are taken, where that is not operation by operation: for the record."""
        kind = self.step_state.kind
        return {} if kind == "eager" else {"step": kind}

    def _build_step(self) -> EagerStep | CapturedStep:
        """Build the step: captured on a CUDA device that trains alone, else eager."""
        compiler = Compiler(self.say) if self.run.compile else None
        step = EagerStep(self.run, self.train_module, self.optimizer, self.accelerator, compiler=compiler)
        alone = self.device.type == "cuda" and self.accelerator.num_processes == 1
        return CapturedStep(step, self.say) if alone else step

    def resume(self) -> None:
        """Go back to the newest usable checkpoint, or to the start if no checkpoint exists yet."""
        loaded = self.store.load(self.run, self.train_module, self.optimizer)
        if loaded.progress is not None:
            self.progress, self.saved_at = loaded.progress.share(self.accelerator), loaded.progress.step
        self.accelerator.wait_for_everyone()  # until all have read what the first will now change
        if self.accelerator.is_main_process:
            for news in self.store.rewind(loaded):
                self.observer.say(news)
        self.accelerator.wait_for_everyone()
        for evaluation in loaded.lines:
            self._hear(evaluation)

    def fit(self) -> Outcome:
        """Train to the end, or until a signal asks to stop; leave a checkpoint either way."""
        with session() as request:
            steps = self.steps(request)
            try:
                next(steps)
                while True:
                    steps.send(self.take_step(*self.inputs()))
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome

    def steps(self, request: StopRequest) -> Generator[None, StepReport, Outcome]:
        """Do all that `fit` does but for the steps: yield before each, and be sent its report."""
        run, progress = self.run, self.progress
        self.timer = Timer(progress)
        if self.evaluated_at is None:
            self._evaluate()
        while (outcome := self._outcome(request)) is None:
            self.took((yield))
            self._tell()
            evaluates = self.is_evaluated_at(progress.step)
            saves = progress.step % run.checkpoint_every == 0 or self._any_wants(self._is_due())
            if (evaluates or saves) and self._has_diverged():
                continue
            if evaluates:
                self._evaluate()
            if saves:
                self._save()
        if self._has_diverged():
            outcome = Outcome(DIVERGED)
        if outcome.stopped_by is None and self.evaluated_at != progress.step:
            self._evaluate()
        if self.saved_at != progress.step:
            self._save()
        return outcome

    def is_evaluated_at(self, step: int) -> bool:
        """Whether the run is evaluated after so many steps."""
        return step % self.run.evaluate_every == 0 or step == self.stopping.step

    def step(self) -> StepReport:
        """Take one optimiser step; return its report."""
        report = self.take_step(*self.inputs())
        self.took(report)
        return report

    def inputs(self) -> StepInputs:
        """Return the views of this process's rows of the present step, and the learning rate."""
        world, parts = self.accelerator.num_processes, self.run.gradient_accumulation
        first = range(self.accelerator.process_index, parts * world, world)
        views = [self._view(slice(offset, None, parts * world)) for offset in first]
        return views, learning_rate(self.run, self.progress.step)

    def took(self, report: StepReport) -> None:
        """Take note of a step."""
        self.progress.add(report.losses)
        self.progress.step += 1

    def _view(self, rows: slice) -> View:
        """Lay out these rows of the present step's batch."""
        run, step = self.run, self.progress.step
        moment = Moment(run.batch_size, rows, step, run.num_steps, run.seed, self.device)
        return run.objective.view(self.source.batch(step, rows), moment)

    def _evaluate(self) -> None:
        self._say_idle()
        with self.timer.apart():
            line = self._evaluation()
            self._hear(line)
            self.observer.evaluated(line)
        self.timer.restart()

    def _evaluation(self) -> dict[str, Any]:
        """Measure, and store the line of metrics.jsonl; return it in every process."""
        run, progress = self.run, self.progress
        line: dict[str, Any] = {
            "step": progress.step,
            "samples": progress.step * run.batch_size,
            **self._losses(),
            "learning_rate": learning_rate(run, max(0, progress.step - 1)),
            "samples_per_second": self.timer.rate(run.batch_size),
            "training_seconds": self.timer.training_seconds(),
        }
        progress.losses.clear()
        line |= self._measured() | {"seconds": self.timer.seconds()}
        if self.accelerator.is_main_process:
            self.store.append(line)
        heard: dict[str, Any] = broadcast_object_list([line])[0]
        return heard

    def _measured(self) -> dict[str, Any]:
        """Measure the train_module on training and validation problems."""
        if self.evaluate is None:
            return {}
        metrics = self.measured or {
            split: self.evaluate(self.run, self.train_module, split, self.run.num_evaluate, self.accelerator)
            for split in SPLITS
        }
        return {
            f"{split}.{measure}": n for split, measures in metrics.items() for measure, n in measures.items()
        }

    def _hear(self, line: Mapping[str, Any]) -> None:
        self.evaluated_at = line["step"]
        self.stopping.update(line)

    def _losses(self) -> dict[str, float | None]:
        """Return the mean loss since the last evaluation, and of each term if there are several."""
        losses = self.progress.losses
        sums = {name: self.accelerator.sum(tensor) for name, tensor in losses.items()}
        return mean_losses(sums)

    def _tell(self) -> None:
        if self.timer.since_update() > self.rhythm.seconds_between_updates:
            loss = mean_losses(self.progress.losses)["loss"]
            rate = self.timer.rate(self.run.batch_size) or 0.0
            self.observer.update(self.progress.step, math.nan if loss is None else loss, rate)
            self.timer.updated()

    def say(self, text: str) -> None:
        """Tell the observer a line, if this is the first process."""
        if self.accelerator.is_main_process:
            self.observer.say(text)

    def _save(self) -> None:
        self.progress.seconds, self.progress.training_seconds = (
            self.timer.seconds(),
            self.timer.training_seconds(),
        )
        with self.timer.saving():
            progress = self.progress.gathered(self.accelerator)
            if self.accelerator.is_main_process:
                self.store.save(self.run, self.train_module, self.optimizer, progress)
            self.accelerator.wait_for_everyone()
        self.saved_at = self.progress.step

    def _is_due(self) -> bool:
        """Whether the first process, whose clock decides, has gone long without a checkpoint."""
        rhythm = self.rhythm
        wait = max(rhythm.seconds_between_checkpoints, self.timer.to_save * rhythm.training_per_saving)
        return self.accelerator.is_main_process and self.timer.since_save() > wait

    def _has_diverged(self) -> bool:
        """Whether a step was not finite; if so, go back to the step before it, whose weights stand."""
        lost = int(self.step_state.lost)
        if lost and not self.diverged:
            self.diverged = True
            self.progress.step -= lost
            self.say(
                f"step {self.progress.step}: the loss or its gradient is not finite: training has diverged, "
                f"and ends here; start a new run with a learning_rate below {self.run.learning_rate:g}"
            )
        return self.diverged

    def _say_idle(self) -> None:
        """Say how many steps since the last evaluation had no target."""
        if idle := int(self.step_state.idle):
            self.say(f"step {self.progress.step}: {idle} steps without a target changed nothing")
            self.step_state.idle.zero_()

    def _is_over(self) -> bool:
        """Whether, by the clock of the first process, the run has had its seconds."""
        limit = self.run.max_seconds
        return (
            limit is not None and self.accelerator.is_main_process and self.timer.training_seconds() >= limit
        )

    def _outcome(self, request: StopRequest) -> Outcome | None:
        looks = self.step_state.waits or self.progress.step % _STEPS_BETWEEN_AGREEMENTS == 0
        if self.diverged or (looks and self._has_diverged()):
            return Outcome(DIVERGED)
        if self.progress.step >= self.stopping.step:
            return Outcome(self.stopping.reason)
        if self.run.max_seconds is not None and self._any_wants(self._is_over()):
            return Outcome(OUT_OF_TIME)
        if self._any_wants(request.signal is not None):
            return Outcome("stopped", request.signal or signal.SIGTERM)
        return None

    def _any_wants(self, wish: bool) -> bool:
        """Whether any process has a wish (to stop, to save); all learn of it at the same step."""
        if self.accelerator.num_processes == 1:
            return wish
        if self.progress.step % _STEPS_BETWEEN_AGREEMENTS:
            return False
        votes = self.accelerator.sum(torch.tensor(float(wish), device=self.device))
        return votes.item() > 0
