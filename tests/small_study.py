"""A study of three runs that take a few seconds each, carried out by a process of its own.

python -m tests.small_study FOLDER [local|ray]
"""

import sys
from pathlib import Path

from tests.runs import tiny_run
from unforced.expectations import Expectation
from unforced.studies.runner import run_study
from unforced.study import Study, over_seeds

CHANCE = Expectation(
    group="tiny",
    select={"objective.name": "next_token"},
    measure="test.free.exact",
    relation="at_most",
    value=0.5,
    source="nobody",
)


def small_study():
    """Three seeds of a run that is long enough to be stopped, and writes many checkpoints."""
    run = tiny_run("max_steps=200", "evaluate_every=100", "checkpoint_every=10", "batch_size=64")
    return Study("small", "nobody", over_seeds({"tiny": run}, range(3)), [CHANCE])


def main(out, engine="local"):
    if engine == "ray":
        from unforced.studies.cluster import RayEngine as Engine
    else:
        from unforced.studies.local import LocalEngine as Engine
    place = Engine(workers=2)
    try:
        summary = run_study(small_study(), Path(out), place, watch=lambda statuses: None)
    finally:
        place.close()
    print({name: (status.state, status.attempts) for name, status in summary.statuses.items()})
    return 128 + summary.stopped_by if summary.stopped_by else len(summary.failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
