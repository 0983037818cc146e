"""A section of `unforced bench` for a run of one's own.

    python -m benchmarks.run training | others | stacked | evaluation RECIPE [dotted.key=value ...]

Example: python -m benchmarks.run others paper_gpt_mini model.layers=2 batch_size=64 num_train=20000

Prints the rows as JSON, below the peaks and the environment.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace

from unforced.bench import measure
from unforced.bench.plan import Plan, full_plan
from unforced.config import Run
from unforced.recipes import resolve_run


def main(section: str, recipe: str, overrides: Sequence[str], rounds: int = 5, seconds: float = 0.5) -> None:
    """Measure and print."""
    plan = plan_of(resolve_run(recipe, overrides), rounds, seconds)
    print(json.dumps(measure.measure(plan, [section], lambda _: None), indent=1))


def plan_of(run: Run, rounds: int, seconds: float) -> Plan:
    """Return a plan that measures this run alone."""
    runs = (run,)
    plan = replace(full_plan(measure.device()), training=runs, others=runs, evaluation=runs, stacked=run)
    return replace(plan, rounds=rounds, seconds=seconds)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
