"""The one training loop. Task, model and objective are passed in; nothing here knows their names."""

import math
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from unforced.config import Run
from unforced.errors import UserError
from unforced.runs.folder import RunFolder
from unforced.tasks.sampling import Split
from unforced.training.checkpoint import Progress, load_newest, save_checkpoint, set_aside
from unforced.training.finish import Finish
from unforced.training.learner import Learner, build_learner
from unforced.training.optimizer import build_optimizer, learning_rate
from unforced.training.pace import Pace
from unforced.training.precision import autocast, matrix_dtype
from unforced.training.processor import flushed_denormals, keep_freed_memory
from unforced.training.signals import StopRequest, stop_requests
from unforced.training.source import build_source

Counts = Mapping[str, Mapping[str, int]]
Evaluate = Callable[[Run, Learner, Split, int], Counts]

_OBJECTIVE_STREAM = 4  # spawn keys 0-3 are the splits and the epochs' orders
_SECONDS_BETWEEN_UPDATES = 0.5
_STEPS_BETWEEN_AGREEMENTS = 20
_SECONDS_BETWEEN_CHECKPOINTS = 60.0  # beside those of checkpoint_every
_TRAINING_PER_SAVING = 20  # seconds before the next of them: a large model is not saved all the time


@runtime_checkable
class Observer(Protocol):
    """Someone who watches a run."""

    def say(self, text: str) -> None:
        """Take one line of news."""

    def update(self, step: int, loss: float, samples_per_second: float) -> None:
        """Hear how training goes, about twice a second."""

    def evaluated(self, line: Mapping[str, Any]) -> None:
        """Hear of a new line of metrics.jsonl."""


@dataclass(frozen=True)
class Outcome:
    """Why training ended: `steps`, `solved`, `fitted`, or the signal that stopped it."""

    reason: str
    stopped_by: signal.Signals | None = None


def start_accelerator(run: Run) -> Accelerator:
    """Start the engine that places the run on devices and processes."""
    # The run's own precision decides, see autocast. On a processor alone, accelerate must be told so.
    accelerator = Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision="no")
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched != accelerator.num_processes:
        raise UserError(f"{launched} processes were started, but {accelerator.device} serves only one")
    parts = accelerator.num_processes * run.gradient_accumulation
    if parts > run.batch_size:
        raise UserError(
            f"batch_size: {run.batch_size} problems do not divide among {accelerator.num_processes} "
            f"processes x gradient_accumulation {run.gradient_accumulation}"
        )
    return accelerator


class Trainer:
    """Trains one run into its folder."""

    def __init__(
        self, run: Run, folder: RunFolder, accelerator: Accelerator, evaluate: Evaluate, observer: Observer
    ) -> None:
        self.run, self.folder, self.accelerator = run, folder, accelerator
        self.evaluate, self.observer = evaluate, observer
        self.device = accelerator.device
        self.learner = build_learner(run).to(self.device)
        self.optimizer = build_optimizer(run, self.learner)
        self.wrapped = accelerator.prepare(self.learner)
        self.parameters = list(self.learner.trained().values())
        self.source = build_source(run, self.device)
        self.progress = Progress.start(self.device)
        self.finish = Finish(run)
        self.evaluated_at: int | None = None
        self.saved_at: int | None = None
        self.diverged = False

    def tune(self, known: Mapping[str, str]) -> dict[str, str]:
        """Let the model choose its implementations, or keep those `known`; all processes agree."""
        tune, dtype = self.learner.model.tune, matrix_dtype(self.run, self.device)
        chosen = broadcast_object_list([tune(self.device, dtype, self.learner.length, known)])[0]
        return tune(self.device, dtype, self.learner.length, chosen)

    def resume(self) -> None:
        """Go back to the newest usable checkpoint, or to the start if there is none yet."""
        progress, refused = load_newest(self.folder.checkpoints, self.run, self.learner, self.optimizer)
        step = -1 if progress is None else progress.step
        lines = self.folder.evaluations(step)
        if progress is None:
            self._say_what_is_lost()
        else:
            self.progress, self.saved_at = progress.share(self.accelerator), step
        self.accelerator.wait_for_everyone()  # until all have read what the first will now change
        if self.accelerator.is_main_process:
            for path, line in refused.items():
                self.observer.say(f"{line}; set aside as {set_aside(path).name}")
            self.folder.rewind_metrics(step)
        self.accelerator.wait_for_everyone()
        for evaluation in lines:
            self._hear(evaluation)

    def fit(self) -> Outcome:
        """Train to the end, or until a signal asks to stop; leave a checkpoint either way."""
        run, progress = self.run, self.progress
        keep_freed_memory()
        with stop_requests() as request, flushed_denormals():
            pace = Pace(progress)
            if self.evaluated_at is None:
                self._evaluate(pace)
            while (outcome := self._outcome(request)) is None:
                self.step()
                self._tell(pace)
                if progress.step % run.evaluate_every == 0 or progress.step == self.finish.step:
                    self._evaluate(pace)
                if progress.step % run.checkpoint_every == 0 or self._any_wants(self._is_due(pace)):
                    self._save(pace)
            if self.saved_at != progress.step:
                self._save(pace)
        return outcome

    def step(self) -> None:
        """Take one optimiser step."""
        run, step = self.run, self.progress.step
        world, parts = self.accelerator.num_processes, self.run.gradient_accumulation
        rate = learning_rate(run, step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
        count = torch.zeros((), dtype=torch.int64, device=self.device)
        for part in range(parts):
            mine = slice(part * world + self.accelerator.process_index, None, parts * world)
            key = (_OBJECTIVE_STREAM, step, mine.start)
            rng = np.random.default_rng(np.random.SeedSequence(run.seed, spawn_key=key))
            view = run.objective.view(self.source.batch(step, mine), rng)
            last = part == parts - 1
            with nullcontext() if last else self.accelerator.no_sync(self.wrapped):
                with autocast(run, self.device):
                    total, targets = self.wrapped(view)
                self.accelerator.backward(total)
            count += targets
            self.progress.loss_total += total.detach()
        self.progress.loss_count += count
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        # Each process holds the mean over processes of gradients of sums; make it the gradient of the mean.
        scale = world / self.accelerator.reduce(count, "sum")
        if run.clip_norm is not None:
            norm = torch.nn.utils.get_total_norm(gradients) * scale
            scale = scale * (run.clip_norm / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, scale)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress.step += 1

    def _evaluate(self, pace: Pace) -> None:
        run, progress = self.run, self.progress
        line: dict[str, Any] = {
            "step": progress.step,
            "samples": progress.step * run.batch_size,
            "loss": self._loss(),
            "learning_rate": learning_rate(run, max(0, progress.step - 1)),
            "samples_per_second": pace.rate(run.batch_size),
        }
        for split in ("train", "validation"):
            counts = self.evaluate(run, self.learner, split, run.num_evaluate)
            line |= {f"{split}.{measure}": count for measure, count in counts.items()}
        line["seconds"] = pace.seconds()
        progress.loss_total.zero_()
        progress.loss_count.zero_()
        if self.accelerator.is_main_process:
            self.folder.append_metrics(line)
        line = broadcast_object_list([line])[0]
        self._hear(line)
        self.observer.evaluated(line)
        pace.restart()

    def _hear(self, line: Mapping[str, Any]) -> None:
        self.evaluated_at = line["step"]
        self.finish.hear(line)

    def _loss(self) -> float | None:
        """Return the mean loss since the last evaluation; None if there is none that is a number."""
        total, targets = (
            self.accelerator.reduce(value.clone(), "sum")
            for value in (self.progress.loss_total, self.progress.loss_count)
        )
        if targets == 0:
            return None
        loss = (total / targets).item()
        if math.isfinite(loss):
            return loss
        if not self.diverged:
            self.diverged = True
            self._say(
                f"step {self.progress.step}: the loss is {loss}: training has diverged; "
                f"start a new run with a learning_rate below {self.run.learning_rate:g}"
            )
        return None

    def _tell(self, pace: Pace) -> None:
        if pace.since_update() > _SECONDS_BETWEEN_UPDATES:
            loss = (self.progress.loss_total / self.progress.loss_count).item()
            self.observer.update(self.progress.step, loss, pace.rate(self.run.batch_size) or 0.0)
            pace.updated()

    def _say(self, text: str) -> None:
        if self.accelerator.is_main_process:
            self.observer.say(text)

    def _say_what_is_lost(self) -> None:
        lines = self.folder.read_metrics()
        if lines and lines[-1]["step"] > 0:
            self._say(
                f"{self.folder.checkpoints}: no checkpoint is left of the {lines[-1]['step']} steps that "
                f"{self.folder.metrics.name} tells of; starting over from step 0"
            )

    def _save(self, pace: Pace) -> None:
        self.progress.seconds = pace.seconds()
        with pace.saving():
            progress = self.progress.gathered(self.accelerator)
            if self.accelerator.is_main_process:
                save_checkpoint(self.folder.checkpoints, self.run, self.learner, self.optimizer, progress)
            self.accelerator.wait_for_everyone()
        self.saved_at = self.progress.step

    def _is_due(self, pace: Pace) -> bool:
        """Whether the first process, whose clock decides, has gone long without a checkpoint."""
        wait = max(_SECONDS_BETWEEN_CHECKPOINTS, pace.to_save * _TRAINING_PER_SAVING)
        return self.accelerator.is_main_process and pace.since_save() > wait

    def _outcome(self, request: StopRequest) -> Outcome | None:
        if self.progress.step >= self.finish.step:
            return Outcome(self.finish.reason)
        if self._any_wants(request.signal is not None):
            return Outcome("stopped", request.signal or signal.SIGTERM)
        return None

    def _any_wants(self, wish: bool) -> bool:
        """Whether any process has a wish (to stop, to save); all learn of it at the same step."""
        if self.accelerator.num_processes == 1:
            return wish
        if self.progress.step % _STEPS_BETWEEN_AGREEMENTS:
            return False
        votes = self.accelerator.reduce(torch.tensor(float(wish), device=self.device), "sum")
        return votes.item() > 0
