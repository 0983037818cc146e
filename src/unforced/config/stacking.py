"""Which runs can be trained at once, as rows of one stack. No torch."""

import json
from collections.abc import Sequence
from typing import Any

from unforced.config.overrides import flatten
from unforced.config.run import Run

_MAY_DIFFER = frozenset(
    {
        *("seed", "learning_rate", "min_learning_rate", "schedule", "schedule_steps"),
        *("warmup_steps", "warmup_from_zero", "weight_decay"),
        *("stop_when", "train_past_stop", "evaluate_every", "num_evaluate", "num_test"),
        *("checkpoint_every", "keep_checkpoints"),
    }
)
"""Settings in which runs of a stack may differ: they change neither shapes nor what a step computes."""


def refusal(runs: Sequence[Run]) -> str | None:
    """Say why runs cannot be stacked; None if they can."""
    run, (first, *others) = runs[0], [_shared(each) for each in runs]
    for other in others:
        for key in sorted(first.keys() | other.keys()):
            if first.get(key) != other.get(key):
                return f"they differ in {key}: {first.get(key)} and {other.get(key)}"
    if run.model.stacked_kernels is None:
        return f"the kernels of model {run.model.name} cannot compute several models at once"
    if run.max_seconds is not None:
        return "max_seconds are those of a run alone"
    if run.task.varied:
        return f"the answers of task {run.task.name} vary in length"
    return None


def stack_key(run: Run) -> str | None:
    """Return what runs of a stack have in common, as text; None for a run that no stack can train."""
    return None if refusal([run]) else json.dumps(_shared(run), sort_keys=True)


def _shared(run: Run) -> dict[str, Any]:
    """Return, by dotted key, what must be equal in runs of a stack."""
    return {key: value for key, value in flatten(run.tree()).items() if key not in _MAY_DIFFER}
