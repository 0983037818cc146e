"""Training speed as a share of the peak of matrix products, measured beside it, and its memory.

FLOPs are counted by PyTorch over the matrix products that a step really does (`unforced.training.flops`).
"""

from collections.abc import Callable
from typing import Any

from unforced.bench.memory import memory_of
from unforced.bench.peaks import matrix_peak
from unforced.bench.plan import Plan, facts, title, trainer_of
from unforced.bench.timing import rates, spread, taker, warm_up
from unforced.config import Run
from unforced.training.cpu import flushed_denormals
from unforced.training.flops import flops_of


def measure_training(plan: Plan, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return a row per run."""
    rows = []
    for run in plan.training:
        say(f"training: {title(run)}")
        rows.append(_row(plan, run))
    return rows


def _row(plan: Plan, run: Run) -> dict[str, Any]:
    memory = memory_of(run)
    trainer = trainer_of(run)
    take = taker(trainer.step, plan.device)
    seconds, peaks = [], []
    with flushed_denormals():
        steps = warm_up(take, plan.seconds, plan.device)
        for _ in range(plan.rounds):
            before = matrix_peak(plan.matrix_sizes, plan.device, plan.dtype)
            seconds.append(take(steps) / steps)
            peaks.append(max(before, matrix_peak(plan.matrix_sizes, plan.device, plan.dtype)))
    flops = flops_of(run)
    work = flops * run.batch_size
    return facts(run) | {
        "samples_per_second": rates(run.batch_size, seconds),
        "milliseconds_per_step": spread([1000 * each for each in seconds]),
        "flops_per_sample": flops,
        "share_of_peak": spread([work / each / peak for each, peak in zip(seconds, peaks, strict=True)]),
        "peak_memory": memory,
        "implementation": trainer.select_kernels({}) | trainer.step_kind,
    }
