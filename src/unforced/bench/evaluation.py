"""How many problems are answered per second, freely and with teacher forcing, beside training on as many."""

from collections.abc import Callable
from functools import partial
from typing import Any

from unforced.bench.plan import Plan, facts, title, trainer_of
from unforced.bench.timing import Take, in_turn, rates, ratios, taker
from unforced.config import Run
from unforced.evaluation.evaluator import Evaluator, answers
from unforced.training.cpu import flushed_denormals
from unforced.training.source import split_problems

_BATCH = 512
"""Problems that are answered at once: what an evaluator takes, if the vocabulary is small."""


def measure_evaluation(plan: Plan, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return a row per run: problems per second, and the time of an answer over that of training on one."""
    rows = []
    for run in plan.evaluation:
        say(f"evaluation: {title(run)}")
        rows.append(_row(plan, run))
    return rows


def _row(plan: Plan, run: Run) -> dict[str, Any]:
    trainer = trainer_of(run)
    evaluator = Evaluator.of(run, trainer.train_module)
    problems = split_problems(run, "test", _BATCH)

    def asking(ask: Callable[..., Any]) -> Take:
        return taker(partial(answers, evaluator, problems, ask), plan.device)

    train = taker(trainer.step, plan.device)
    takers: dict[str, Take] = {"free": asking(evaluator.free), "forced": asking(evaluator.forced)}
    with flushed_denormals():
        seconds = in_turn(takers | {"training": train}, plan.rounds, plan.seconds, plan.device)
    times = {name: [each / _BATCH for each in seconds[name]] for name in takers}
    times["training"] = [each / run.batch_size for each in seconds["training"]]
    row = facts(run) | {f"{name}_per_second": rates(1, each) for name, each in times.items()}
    return row | {f"{name}_over_training": ratios(times[name], times["training"]) for name in takers}
