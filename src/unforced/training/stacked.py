"""The optimiser step of several runs at once: all tensors have an axis of runs in front.

A small model leaves most of a GPU idle, and a kernel for 64 models takes little longer than one for a single
model. The runs may differ in seed, data and learning rates, but not in what they compute, see
`unforced.config.stacking`.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.func import functional_call, vmap

from unforced.config import Run
from unforced.errors import UserError
from unforced.models.failures import first_words, is_out_of_memory
from unforced.models.roles import role
from unforced.objectives.moment import sent
from unforced.objectives.view import StackedView, signature
from unforced.training.compiled import Compiler, Function
from unforced.training.muon import MOMENTUM, orthogonalised, step_size
from unforced.training.optimizer import ADAM_EPS, Optimizers, is_for_muon
from unforced.training.precision import autocast, autocast_dtype, sum_dtype
from unforced.training.step import StepReport, term_counts
from unforced.training.train_module import TrainModule

_CLIP_EPS = 1e-6
"""As in `torch.nn.utils.clip_grad_norm_`."""


RunNumbers = tuple[float, tuple[float, ...]]
"""A run's learning rate, and the weights of its terms."""


@dataclass(frozen=True)
class Member:
    """A run of a stack, with what it trains and the optimiser that keeps its moments."""

    run: Run
    module: TrainModule
    optimizer: Optimizers


@dataclass(frozen=True)
class Slot:
    """Where a parameter lies among the columns of a stack's matrices, and how it is optimised."""

    name: str
    shape: torch.Size
    start: int
    muon: bool
    decays: bool

    @property
    def columns(self) -> slice:
        """Its columns."""
        return slice(self.start, self.start + self.shape.numel())

    @property
    def kind(self) -> tuple[bool, Any]:
        """Parameters of one kind that lie side by side are updated together."""
        return self.muon, tuple(self.shape) if self.muon else self.decays

    @property
    def order(self) -> tuple[Any, ...]:
        """Where it comes: those of a kind are neighbours, Muon's before the others."""
        return not self.muon, self.kind[1]

    def of(self, rows: Float[Tensor, "*runs columns"]) -> Float[Tensor, "..."]:
        """Return its values in rows, in its own shape."""
        return rows[..., self.columns].view((*rows.shape[:-1], *self.shape))


class StackedStep:
    """Takes the steps of several runs at once, as `EagerStep` does those of one, within rounding.

    Weights and moments are matrices with a row per run. The members' modules and optimisers hold views of
    them, and can be measured and saved at any time; `keep` parts with some members. A run whose loss or
    gradient is not finite stands still from then on, and the others go on.

    lost, idle, compiler: as those of EagerStep, the first two per run. Raises UserError, at the first step at
    the latest: the runs compute different things, or something that `torch.vmap` cannot.
    """

    waits = False

    def __init__(
        self, members: Sequence[Member], device: torch.device, compiler: Compiler | None = None
    ) -> None:
        self.members, self.device, self.compiler = members, device, compiler
        self.run, self.module = members[0].run, members[0].module
        if any(True for _ in self.module.buffers()) or self.module.frozen_sha256:
            raise UserError("the modules have buffers or frozen weights, which each run has its own of")
        self.slots = _lay_slots(members[0])
        self.num_muon = sum(slot.shape.numel() for slot in self.slots if slot.muon)
        width, number = sum(slot.shape.numel() for slot in self.slots), len(members)
        self.weights, self.averages = (torch.zeros(number, width, device=device) for _ in range(2))
        self.squares = torch.zeros(number, width - self.num_muon, device=device)
        self.counts = torch.zeros(number, len(self.slots), device=device)
        self.lost, self.idle = (torch.zeros(number, dtype=torch.int64, device=device) for _ in range(2))
        for row, member in enumerate(members):
            self._take_in(row, member)
        decays = [[member.run.weight_decay] for member in members]
        self.decays = torch.tensor(decays, device=device)
        self.widths = torch.tensor([slot.shape.numel() for slot in self.slots], device=device)
        self.leaves = {slot.name: slot.of(self.weights).detach().requires_grad_() for slot in self.slots}

    @property
    def kind(self) -> str:
        """How steps are taken."""
        return "eager" + (self.compiler.kind if self.compiler else "")

    def _take_in(self, row: int, member: Member) -> None:
        """Copy a member's weights and moments into a row, and let it hold views of the row."""
        parameters = member.module.trained()
        for index, slot in enumerate(self.slots):
            parameter = parameters[slot.name]
            own = {"weight": parameter.data, **member.optimizer.state_of(parameter)}
            views = {"weight": slot.of(self.weights[row]), **self._moments(row, index)}
            for name, view in views.items():
                if name in own:
                    view.copy_(own[name])
            parameter.data = views.pop("weight")
            member.optimizer.restore(parameter, views)

    def _moments(self, row: int, index: int) -> dict[str, Tensor]:
        """Return views of what is remembered of a parameter, by the optimisers' names."""
        slot = self.slots[index]
        average = slot.of(self.averages[row])
        if slot.muon:
            return {"momentum_buffer": average}
        columns = slice(slot.columns.start - self.num_muon, slot.columns.stop - self.num_muon)
        square = self.squares[row, columns].view(slot.shape)
        return {"exp_avg": average, "exp_avg_sq": square, "step": self.counts[row, index]}

    def keep(self, rows: Sequence[int]) -> "StackedStep | None":
        """Return a stack of some of the members, None if there are none; all others get their own tensors."""
        for row in set(range(len(self.members))) - {*rows}:
            _release(self.members[row])
        if not rows:
            return None
        kept = StackedStep([self.members[row] for row in rows], self.device, self.compiler)
        kept.lost.copy_(self.lost[rows])
        kept.idle.copy_(self.idle[rows])
        return kept

    def __call__(self, views: Sequence[StackedView], numbers: Sequence[RunNumbers]) -> StepReport:
        """Take a step of every run. views: the parts of the batches."""
        return self.take(views, self.placed(self.numbers(views, numbers)))

    def numbers(self, views: Sequence[StackedView], numbers: Sequence[RunNumbers]) -> tuple[float, ...]:
        """Return the learning rates, then the weights of the terms, run by run."""
        return (*(rate for rate, _ in numbers), *(weight for _, weights in numbers for weight in weights))

    def drop_gradients(self) -> None:
        """Do nothing: a step keeps no gradients."""

    def placed(self, numbers: Sequence[float]) -> Float[Tensor, " numbers"]:
        """Return numbers on the device."""
        return sent(torch.tensor(numbers, dtype=sum_dtype(self.device)), self.device)

    def take(self, views: Sequence[StackedView], numbers: Float[Tensor, " numbers"]) -> StepReport:
        """Take a step of every run with these numbers, rather than the weights that the views hold.

        The tensors of the report have an axis of runs in front.
        """
        runs, names = len(self.members), tuple(views[0].like.terms)
        rates, weights = numbers[:runs], numbers[runs:].view(runs, -1)
        counts = torch.stack([_counts(view, names) for view in views]).sum(0).to(weights.dtype)
        scales = (weights / counts).masked_fill(counts == 0, 0.0)
        totals, gradients = torch.zeros_like(counts), torch.zeros_like(self.weights)
        active: set[str] = set()
        for view in views:
            losses, of_part = self._backward(view, names, scales)
            totals += losses
            gradients += self._row(of_part)
            active |= of_part.keys()
        norms = gradients.norm(dim=1)
        any_target = (weights.abs() * counts).sum(1) > 0
        self.lost += ~norms.isfinite() | (self.lost > 0)
        self.idle += ~any_target
        ok = any_target & (self.lost == 0)
        self._update(self._clipped(gradients, norms, ok), active, rates.float() * ok, ok)
        sums = torch.stack([totals, weights * totals, counts], dim=2)
        sums = sums.masked_fill(self.lost[:, None, None] > 0, 0.0)
        return StepReport(dict(zip(names, sums.unbind(1), strict=True)), norms, ok)

    def _backward(
        self, view: StackedView, names: Sequence[str], scales: Float[Tensor, "runs terms"]
    ) -> tuple[Float[Tensor, "runs terms"], dict[str, Tensor]]:
        """Return the summed losses of a view per run, and the gradients of those parameters that have one."""

        def losses(parameters: dict[str, Tensor], *own: Tensor) -> tuple[Tensor, ...]:
            rows = functional_call(self.module, parameters, (view.one(own),))
            return tuple(rows[name].sum() for name in names)

        with autocast(self.run, self.device), _as_refusal(self.run.objective.name):
            found = self._called(view, vmap(losses))
            totals = torch.stack(found, dim=1).to(scales.dtype)
        loss = (totals * scales).sum(1)
        now = loss.detach()
        # A loss that is not finite makes the gradient of its run so.
        whole = (loss * (1 + (now - now))).sum()
        gradients = torch.autograd.grad(whole, list(self.leaves.values()), allow_unused=True)
        named = zip(self.leaves, gradients, strict=True)
        return totals.detach(), {name: gradient for name, gradient in named if gradient is not None}

    def _called(self, view: StackedView, losses: Function) -> tuple[Tensor, ...]:
        """Call a function of the weights and a view's tensors, compiled if that is wanted."""
        if self.compiler is None:
            return losses(self.leaves, *view.tensors)
        leaves = list(self.leaves.values())
        return self.compiler.call(signature(view), losses, leaves, self.leaves, *view.tensors)

    def _row(self, of_slots: Mapping[str, Tensor]) -> Float[Tensor, "runs columns"]:
        """Lay out what slots have, per run; those that have nothing are zero."""
        parts = [of_slots.get(slot.name, torch.zeros_like(self.leaves[slot.name])) for slot in self.slots]
        return torch.cat([part.reshape(len(part), -1) for part in parts], dim=1)

    def _clipped(
        self,
        gradients: Float[Tensor, "runs columns"],
        norms: Float[Tensor, " runs"],
        ok: Bool[Tensor, " runs"],
    ) -> Float[Tensor, "runs columns"]:
        """Clip each run's gradient, if the runs want that; those of runs that stand still become zero."""
        if self.run.clip_norm is not None:
            gradients = gradients * (self.run.clip_norm / (norms + _CLIP_EPS)).clamp(max=1.0)[:, None]
        return gradients.masked_fill(~ok[:, None], 0.0)

    def _update(
        self,
        gradients: Float[Tensor, "runs columns"],
        active: Collection[str],
        rates: Float[Tensor, " runs"],
        ok: Bool[Tensor, " runs"],
    ) -> None:
        """Change the weights of parameters with a gradient, and what is remembered of these."""
        for (is_active, muon, _), group in groupby(
            self.slots, lambda slot: (slot.name in active, *slot.kind)
        ):
            slots = list(group)
            if not is_active:
                continue
            columns = slice(slots[0].columns.start, slots[-1].columns.stop)
            update = self._muon if muon else self._adamw
            update(slots, columns, gradients[:, columns], rates[:, None], ok[:, None].float())

    def _muon(
        self, slots: Sequence[Slot], columns: slice, gradients: Tensor, rates: Tensor, ok: Tensor
    ) -> None:
        """Take BatchedMuon's step in columns with matrices of one shape."""
        shape, averages = slots[0].shape, self.averages[:, columns]
        averages.lerp_(gradients, (1 - MOMENTUM) * ok)
        matrices = torch.lerp(gradients, averages, MOMENTUM).reshape(-1, *shape)
        updates = orthogonalised(matrices, autocast_dtype(self.run, self.device)).float().reshape_as(averages)
        rates = rates * self.run.muon_factor
        self.weights[:, columns] *= 1 - rates * self.decays
        self.weights[:, columns] -= rates * step_size(shape) * updates

    def _adamw(
        self, slots: Sequence[Slot], columns: slice, gradients: Tensor, rates: Tensor, ok: Tensor
    ) -> None:
        """Take AdamW's step."""
        first, second = self.run.betas
        averages = self.averages[:, columns]
        squares = self.squares[:, columns.start - self.num_muon : columns.stop - self.num_muon]
        averages.lerp_(gradients, (1 - first) * ok)
        squares.lerp_(gradients.square(), (1 - second) * ok)
        first_slot = self.slots.index(slots[0])
        counts = self.counts[:, first_slot : first_slot + len(slots)]
        counts += ok
        widths = self.widths[first_slot : first_slot + len(slots)]
        steps = counts.clamp(min=1).to(sum_dtype(self.device))
        bias1, bias2 = (
            (1 - beta**steps).float().repeat_interleave(widths, 1, output_size=averages.shape[1])
            for beta in (first, second)
        )
        if slots[0].decays:
            self.weights[:, columns] *= 1 - rates * self.decays
        self.weights[:, columns] -= rates / bias1 * averages / ((squares / bias2).sqrt() + ADAM_EPS)


def _counts(view: StackedView, names: Sequence[str]) -> Float[Tensor, "runs terms"]:
    """Return what each term counts, over all rows of each run."""
    counts: Tensor = vmap(lambda *own: term_counts(view.one(own), names))(*view.tensors)
    return counts


@contextlib.contextmanager
def _as_refusal(objective: str) -> Iterator[None]:
    """Turn what `torch.vmap` refuses into a UserError; not what memory or a CUDA graph does."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error) or _is_captured():
            raise
        reason = f"{objective} cannot be computed for several models at once ({first_words(error)})"
        raise UserError(reason) from error


def _is_captured() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def _release(member: Member) -> None:
    """Give a member tensors of its own."""
    for parameter in member.module.trained().values():
        parameter.data = parameter.data.clone()
        state = {name: moment.clone() for name, moment in member.optimizer.state_of(parameter).items()}
        member.optimizer.restore(parameter, state)


def _lay_slots(member: Member) -> list[Slot]:
    """Lay a member's parameters out: Muon's by their shape, then AdamW's by whether they decay."""
    run, found = member.run, []
    for name, parameter in member.module.trained().items():
        muon, decays = is_for_muon(run, parameter), role(parameter) != "vector"
        found.append(Slot(name, parameter.shape, 0, muon, decays))
    start, slots = 0, []
    for slot in sorted(found, key=lambda slot: slot.order):
        slots.append(replace(slot, start=start))
        start = slots[-1].columns.stop
    return slots
