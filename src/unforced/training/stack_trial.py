"""A few steps of a small stack, compared with those of its runs alone, before a device trains stacks."""

import torch

from unforced.config import Run
from unforced.training.loop import Trainer, start_accelerator
from unforced.training.step import StepReport
from unforced.training.store import MemoryStore
from unforced.training.together import stepper

_RUNS, _STEPS, _ROWS = 2, 6, 16
"""Of the steps, the last are taken by a CUDA graph, where one can be captured."""
_CLOSE = {"fp32": 0.01, "bf16-mixed": 0.05}
"""The greatest relative error of a loss or a gradient's norm, by precision."""


def stack_differs(run: Run) -> str:
    """Return what is wrong with stacks of such runs on this device; "" if nothing.

    Raises UserError: `torch.vmap` cannot compute the objective.
    """
    rows = _ROWS * run.goals_per_graph
    few = run.replace(
        batch_size=rows,
        gradient_accumulation=1,
        num_train=None if run.num_train is None else rows,
        schedule="constant",
        warmup_steps=0,
    )
    wrong = (precision for precision, most in _CLOSE.items() if _error(few, precision) > most)
    return next((f"in {precision} they come out otherwise than alone" for precision in wrong), "")


def _error(run: Run, precision: str) -> float:
    """Return the greatest relative error of a few steps of several runs at once, in a precision."""
    alone, stacked = [
        [
            Trainer(run.replace(seed=seed, precision=precision), MemoryStore(), start_accelerator(run))
            for seed in range(_RUNS)
        ]
        for _ in range(2)
    ]
    for each in (*alone, *stacked):
        each.select_kernels(run.model.stacked_kernels or {})
    step, errors = stepper(stacked, lambda line: None), []
    for _ in range(_STEPS):
        found = step()
        for each, report in zip(alone, found, strict=True):
            errors.append(_distance(report, each.step()))
    return max(errors)


def _distance(found: StepReport, expected: StepReport) -> float:
    """Return the greatest relative difference of two reports; infinite, if a number is none."""
    ours, theirs = (
        torch.cat([report.grad_norm.reshape(1).double(), *(each.double() for each in report.losses.values())])
        for report in (found, expected)
    )
    errors = (ours - theirs).abs() / theirs.abs().clamp(min=1e-3)
    return float(errors.nan_to_num(torch.inf).max())
