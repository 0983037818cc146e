"""AdamW with decay on matrices only, and learning-rate schedules counted in optimiser steps."""

import math

import torch
from torch import nn

from unforced.config import Run


def build_optimizer(run: Run, module: nn.Module) -> torch.optim.AdamW:
    """Build AdamW; vectors (biases, layer norms) are not decayed. Source: arXiv 1711.05101."""
    matrices = [parameter for parameter in module.parameters() if parameter.dim() >= 2]
    vectors = [parameter for parameter in module.parameters() if parameter.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": run.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=run.learning_rate, betas=run.betas, fused=True)


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
