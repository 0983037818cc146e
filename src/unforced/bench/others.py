"""Training speed against other libraries: the same sizes, problems, batches, dtype and AdamW, in turn.

What makes training on a processor fast is set for the process (`unforced.training.cpu`), so the others profit
by it too.
"""

import tempfile
from collections.abc import Callable
from typing import Any

from unforced.bench.contenders import OURS, contenders
from unforced.bench.plan import Plan, facts, title, trainer_of
from unforced.bench.timing import in_turn, rates, ratios, taker
from unforced.config import Run
from unforced.training.cpu import flushed_denormals
from unforced.training.flops import flops_of

MISSING = "not installed: pip install 'unforced[bench]'"


def measure_others(plan: Plan, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return a row per run and contender; `missing` says why one was not measured.

    ratio: our speed over theirs. flops_per_sample: of our model.
    """
    rows = []
    for run in plan.others:
        say(f"beside other libraries: {title(run)}")
        rows += _rows(plan, run)
    return rows


def _rows(plan: Plan, run: Run) -> list[dict[str, Any]]:
    trainer = trainer_of(run)
    others = contenders(run)
    installed = {name: each for name, each in others.items() if each.is_installed}
    with tempfile.TemporaryDirectory() as folder, flushed_denormals():
        takers = {OURS: taker(trainer.step, plan.device)}
        takers |= {name: each.taker(trainer, folder) for name, each in installed.items()}
        seconds = in_turn(takers, plan.rounds, plan.seconds, plan.device) if installed else {}
    rows = []
    for name in others:
        row = facts(run) | {"name": name, "flops_per_sample": flops_of(run)}
        if name in installed:
            row["samples_per_second"] = rates(run.batch_size, seconds[name])
            row["ours"] = rates(run.batch_size, seconds[OURS])
            row["ratio"] = ratios(seconds[name], seconds[OURS])
        else:
            row["missing"] = MISSING
        rows.append(row)
    return rows
