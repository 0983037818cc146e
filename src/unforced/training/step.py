"""One optimiser step: views in, changed weights and a report out. It knows neither folder nor observer."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unforced.config import Run
from unforced.objectives.moment import sent
from unforced.objectives.view import View, like, signature, tensors_of
from unforced.training.compiled import Compiler
from unforced.training.optimizer import Optimizers
from unforced.training.precision import autocast, sum_dtype
from unforced.training.processes import Processes
from unforced.training.train_module import TrainModule


@dataclass(frozen=True)
class StepReport:
    """What a step came to, on the device. Of a stack, each tensor has an axis of runs in front.

    losses: by term, three sums over the rows of this process: of losses in nats, of losses times the term's
    weight, and of counts; zero where the step was not finite. grad_norm: of the gradient of the whole batch,
    before clipping. ok: whether the weights were changed.
    """

    losses: Mapping[str, Float[Tensor, "*runs 3"]]
    grad_norm: Float[Tensor, "*runs"]
    ok: Bool[Tensor, "*runs"]

    def of_runs(self) -> "list[StepReport]":
        """Return the report of each run of a stack."""
        losses = {name: sums.unbind() for name, sums in self.losses.items()}
        numbers = zip(self.grad_norm.unbind(), self.ok.unbind(), strict=True)
        return [
            StepReport({name: sums[row] for name, sums in losses.items()}, norm, ok)
            for row, (norm, ok) in enumerate(numbers)
        ]


class EagerStep:
    """Takes optimiser steps on a train_module, operation by operation.

    The loss of a step is the sum over terms of weight x total / count, where total and count are summed over
    all rows of the step, on all processes. The counts are added up before the first backward pass, so that
    gradients come out as those of the mean.

    A step without targets changes nothing; `idle` counts them. A step whose loss or gradient is not finite
    changes nothing either, and nor does any step after it; `lost` counts these steps, the first included.

    waits: whether each step asks the device whether to change the weights, which is free on a processor.
    Otherwise, the optimiser skips the step on the device. compiler: compiles the losses, if it is given; of
    several processes, none does.
    """

    def __init__(
        self,
        run: Run,
        train_module: TrainModule,
        optimizer: Optimizers,
        processes: Processes,
        waits: bool | None = None,
        compiler: Compiler | None = None,
    ) -> None:
        self.compiler = compiler
        self.run, self.train_module, self.optimizer, self.processes = run, train_module, optimizer, processes
        self.device, self.world = processes.device, processes.num_processes
        self._sent: tuple[tuple[float, ...], Tensor] = (), torch.empty(0)
        self.waits = self.device.type == "cpu" if waits is None else waits
        has_heads = any(True for _ in train_module.heads.parameters())  # a step may not use some of them
        self.wrapped = processes.wrap(train_module, some_unused=has_heads)
        self.parameters = list(train_module.trained().values())
        self.lost, self.idle = (torch.zeros((), dtype=torch.int64, device=self.device) for _ in range(2))

    @property
    def kind(self) -> str:
        """How steps are taken."""
        return "eager" + (self.compiler.kind if self.compiler else "")

    def __call__(self, views: Sequence[View], rate: float) -> StepReport:
        """Take a step at a learning rate. views: this process's rows, in parts to be taken in turn."""
        return self._take(views, self._weights(term_weights(views)), rate)

    def numbers(self, views: Sequence[View], rate: float) -> tuple[float, ...]:
        """Return the learning rate and the weights of the terms."""
        return rate, *term_weights(views)

    def take(self, views: Sequence[View], numbers: Float[Tensor, " numbers"]) -> StepReport:
        """Take a step with these numbers, which are on the device, rather than the weights in the views."""
        return self._take(views, numbers[1:], numbers[0].float())

    def drop_gradients(self) -> None:
        """Drop what a step that failed has left."""
        self.optimizer.zero_grad()

    def _take(
        self, views: Sequence[View], weights: Float[Tensor, " terms"], rate: float | Float[Tensor, ""]
    ) -> StepReport:
        names = tuple(views[0].terms)
        counts = _counts(views, names).to(weights.dtype)
        everywhere = counts if self.world == 1 else self.processes.sum(counts)
        scales = (self.world * weights / everywhere).masked_fill(everywhere == 0, 0.0)
        totals = torch.zeros_like(counts)
        for view in views:
            whole = view is views[-1]
            with nullcontext() if whole else self.processes.no_sync(self.wrapped):
                totals += self._backward(view, names, scales)
        norm = self._clip()
        ok = self._update(norm, torch.dot(weights.abs(), everywhere) > 0, rate)
        sums = torch.stack([totals, weights * totals, counts], dim=1).masked_fill(self.lost > 0, 0.0)
        return StepReport(dict(zip(names, sums, strict=True)), norm, ok)

    def _weights(self, values: tuple[float, ...]) -> Float[Tensor, " values"]:
        """Return weights on the device; the last ones are kept, since they seldom change."""
        if self._sent[0] != values:
            self._sent = values, sent(torch.tensor(values, dtype=sum_dtype(self.device)), self.device)
        return self._sent[1]

    def _backward(
        self, view: View, names: Sequence[str], scales: Float[Tensor, " terms"]
    ) -> Float[Tensor, " terms"]:
        """Add a view's share to the gradient; return its summed losses."""
        with autocast(self.run, self.device):
            totals = torch.stack(self._losses(view, names)).to(scales.dtype)
        loss = torch.dot(totals, scales)
        now = loss.detach()
        # A loss that is not finite makes the gradient so, and with it that of every process.
        (loss * (1 + (now - now))).backward()
        return totals.detach()

    def _losses(self, view: View, names: Sequence[str]) -> tuple[Tensor, ...]:
        """Return a view's summed losses."""
        if self.compiler is None or self.world > 1:
            rows = self.wrapped(view)
            return tuple(rows[name].sum() for name in names)

        def losses(*tensors: Tensor) -> tuple[Tensor, ...]:
            rows = self.train_module(like(view, tensors))
            return tuple(rows[name].sum() for name in names)

        return self.compiler.call(signature(view), losses, self.parameters, *tensors_of(view))

    def _clip(self) -> Float[Tensor, ""]:
        """Clip the gradient, if the run wants that; return its norm before."""
        if self.run.clip_norm is not None:
            return torch.nn.utils.clip_grad_norm_(self.parameters, self.run.clip_norm)
        return torch.nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])

    def _update(
        self, norm: Float[Tensor, ""], any_target: Bool[Tensor, ""], rate: float | Float[Tensor, ""]
    ) -> Bool[Tensor, ""]:
        """Change the weights, unless the step has no target or training is lost; return whether it did."""
        self.lost += ~norm.isfinite() | (self.lost > 0)
        self.idle += ~any_target
        ok = any_target & (self.lost == 0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
        if not self.waits:
            self.optimizer.step(skip=(~ok).float())
        elif ok:
            self.optimizer.step()
        self.optimizer.zero_grad()
        return ok


def term_weights(views: Sequence[View]) -> tuple[float, ...]:
    """Return the weights of the terms, which all parts of a batch share."""
    return tuple(term.weight for term in views[0].terms.values())


def _counts(views: Sequence[View], names: Sequence[str]) -> Float[Tensor, " terms"]:
    """Add up what each term counts, over all rows of the views."""
    of_views = [term_counts(view, names) for view in views]
    return of_views[0] if len(views) == 1 else torch.stack(of_views).sum(0)


def term_counts(view: View, names: Sequence[str]) -> Float[Tensor, " terms"]:
    """Return what each term counts, over all rows of a view."""
    return torch.stack([view.terms[name].count for name in names]).sum(1)
