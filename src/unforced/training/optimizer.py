"""AdamW or Muon, with decay on matrices only, and learning-rate schedules counted in optimiser steps."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unforced.config import Run
from unforced.models.roles import role
from unforced.training.adamw import AdamW, Group, Optimizer
from unforced.training.muon import BatchedMuon
from unforced.training.precision import autocast_dtype

ADAM_EPS = 1e-8


class Optimizers:
    """Several optimisers that share out a module's parameters and step as one."""

    def __init__(self, *parts: Optimizer) -> None:
        self.parts = parts

    @property
    def param_groups(self) -> list[Group]:
        """The groups of all parts."""
        return [group for part in self.parts for group in part.param_groups]

    def state_of(self, parameter: nn.Parameter) -> dict[str, torch.Tensor]:
        """Return what is remembered of a parameter: its moments, by name."""
        return self._part_of(parameter).state[parameter]

    def restore(self, parameter: nn.Parameter, state: dict[str, torch.Tensor]) -> None:
        """Remember `state` of a parameter."""
        self._part_of(parameter).state[parameter] = state

    def step(self, skip: Float[Tensor, ""] | None = None) -> None:
        """Take one step of every part.

        skip: a number on the device; where it is 1, not 0, weights and moments stay as they are.
        """
        for part in self.parts:
            part.found_inf = skip
            part.step()

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for part in self.parts:
            part.zero_grad()

    def _part_of(self, parameter: nn.Parameter) -> Optimizer:
        for part in self.parts:
            if any(parameter is member for group in part.param_groups for member in group["params"]):
                return part
        raise KeyError("no optimiser has this parameter")


def build_optimizer(run: Run, module: nn.Module) -> Optimizers:
    """Build the run's optimiser; what it does to a parameter is decided by its role, see models/roles.py.

    AdamW: arXiv 1711.05101. Muon: matrices take orthogonalised momentum, at steps of the
    size that AdamW's would have, and all else AdamW; https://kellerjordan.github.io/posts/muon, and
    arXiv 2502.16982 for the size. The module is on its device already: with the run's precision, it
    decides what Muon's products are computed in.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    muon = [p for p in parameters if is_for_muon(run, p)]
    others = [p for p in parameters if not any(p is matrix for matrix in muon)]
    groups = [
        {"params": [p for p in others if role(p) != "vector"], "weight_decay": run.weight_decay},
        {"params": [p for p in others if role(p) == "vector"], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    adamw = AdamW(groups, lr=run.learning_rate, betas=run.betas, eps=ADAM_EPS)
    for group in adamw.param_groups:
        group["rate_factor"] = 1.0
    if not muon:
        return Optimizers(adamw)
    dtype = autocast_dtype(run, muon[0].device)
    inner = BatchedMuon(muon, lr=run.learning_rate, weight_decay=run.weight_decay, dtype=dtype)
    inner.param_groups[0]["rate_factor"] = run.muon_factor
    return Optimizers(inner, adamw)


def is_for_muon(run: Run, parameter: nn.Parameter) -> bool:
    """Whether Muon optimises a parameter, not AdamW."""
    return run.optimizer == "muon" and role(parameter) == "matrix"


def learning_rate(run: Run, step: int) -> float:
    """Return the learning rate of the optimiser step number `step`, counted from 0."""
    warmup = step if run.warmup_from_zero else step + 1
    if warmup < run.warmup_steps:
        return run.learning_rate * warmup / run.warmup_steps
    if run.schedule == "constant":
        return run.learning_rate
    span = (run.schedule_steps or run.num_steps) - run.warmup_steps
    progress = min(1.0, (step - run.warmup_steps) / max(1, span))
    height = (1 + math.cos(math.pi * max(0.0, progress))) / 2
    return run.min_learning_rate + (run.learning_rate - run.min_learning_rate) * height
