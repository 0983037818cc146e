"""Groups of finished runs that differ in nothing but their seed."""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unforced.config import Run
from unforced.evaluation.seeds import Outcome, compare, summarise
from unforced.runs.index import find_finished, settings


@dataclass(frozen=True)
class Groups:
    """Outcomes by group and seed; folders left out, and twins, as in `Found`."""

    outcomes: Mapping[str, Mapping[int, Outcome]]
    chances: Mapping[str, float]
    left_out: Mapping[Path, str]
    twins: Mapping[Path, Path]

    def as_dict(self) -> dict[str, Any]:
        """Summarise each group, and compare each pair of groups that shares seeds."""
        pairs = [
            {"first": first, "second": second, **found}
            for first, second in itertools.combinations(self.outcomes, 2)
            if (found := compare(self.outcomes[first], self.outcomes[second])) is not None
        ]
        horizon = max(each.steps for seeds in self.outcomes.values() for each in seeds.values())
        groups = {
            name: {"chance": self.chances[name], **summarise(seeds, horizon)}
            for name, seeds in self.outcomes.items()
        }
        left_out = {str(folder): reason for folder, reason in self.left_out.items()}
        twins = {str(twin): str(first) for twin, first in self.twins.items()}
        return {"groups": groups, "pairs": pairs, "left_out": left_out, "twins": twins}


def collect(paths: Iterable[Path], measure: str) -> Groups:
    """Find every run folder at or below `paths`, and group those that have finished.

    A group is named by the settings in which the groups differ; `measure` is what counts as its outcome, as
    in `free.exact`. Raises UserError if no run has finished, or one has no such measure.
    """
    found = find_finished(paths)
    outcomes: dict[str, dict[int, Outcome]] = {}
    chances = {}
    for each, name in zip(found.runs, _names([each.run for each in found.runs]), strict=True):
        outcomes.setdefault(name, {})[each.run.seed] = Outcome.of(each, measure)
        chances[name] = each.run.task.chance
    return Groups(outcomes, chances, found.left_out, found.twins)


def _names(runs: list[Run]) -> list[str]:
    """Name each run's group by the settings, the seed aside, in which the runs differ."""
    known = [{key: value for key, value in settings(run).items() if key != "seed"} for run in runs]
    keys = differing(known)
    return [
        " ".join(f"{key.removesuffix('.name')}={as_typed(each[key])}" for key in keys if key in each)
        or "all runs"
        for each in known
    ]


def differing(known: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys in which mappings differ."""
    keys = dict.fromkeys(key for each in known for key in each)
    return [key for key in keys if len({json.dumps(each.get(key, "")) for each in known}) > 1]


def as_typed(value: Any) -> str:
    """Write a value as an override gives it."""
    return value if isinstance(value, str) else json.dumps(value)
