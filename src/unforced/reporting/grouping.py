"""Runs that differ in nothing but their seed, under the words of a table: topology, model, objective."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unforced.evaluation.finished import settings
from unforced.evaluation.groups import as_typed, differing
from unforced.reporting.collecting import ReportedRun


@dataclass(frozen=True)
class Group:
    """Runs of one kind, in the order of their seeds.

    settings: what else tells the group from others with the same topology, model and objective.
    """

    topology: str
    model: str
    objective: str
    settings: str
    runs: Sequence[ReportedRun]

    @property
    def kind(self) -> str:
        """Objective, order, and whatever else tells it from others of its topology and model."""
        return f"{self.objective} {self.settings}".strip()

    @property
    def label(self) -> str:
        """All of it in one line."""
        return f"{self.topology}, {self.model}, {self.kind}"

    @property
    def chance(self) -> float:
        """The best accuracy of whole answers without lookahead."""
        return self.runs[0].run.task.chance

    @property
    def seeds(self) -> list[int]:
        """The seed of each run."""
        return [each.run.seed for each in self.runs]

    def values(self, measure: str) -> list[float]:
        """Return a measure of result.json, as in `test.free.exact`, for each run that has it."""
        return [each.result[measure]["value"] for each in self.runs if measure in each.result]


def group_runs(runs: Iterable[ReportedRun]) -> list[Group]:
    """Group runs, and name each group by what tells it from the others."""
    alike: dict[str, list[ReportedRun]] = defaultdict(list)
    for each in runs:
        alike[json.dumps(_without_seed(each), sort_keys=True)].append(each)
    beside: dict[tuple[str, str, str], list[list[ReportedRun]]] = defaultdict(list)
    for members in alike.values():
        beside[_names(members[0])].append(sorted(members, key=lambda each: each.run.seed))
    groups = [
        Group(*names, told, members)
        for names, rivals in beside.items()
        for told, members in zip(_tell_apart(rivals), rivals, strict=True)
    ]
    return sorted(groups, key=lambda group: [*map(natural, (group.topology, group.model, group.kind))])


def natural(text: str) -> list[tuple[int, str]]:
    """Return a key by which 10 comes after 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def _without_seed(each: ReportedRun) -> dict[str, Any]:
    return {key: value for key, value in settings(each.run).items() if key != "seed"}


def _names(each: ReportedRun) -> tuple[str, str, str]:
    run = each.run
    order = "" if run.order == "forward" else f" {run.order}"
    return run.task.topology, run.model.name, run.objective.name + order


def _tell_apart(rivals: Sequence[Sequence[ReportedRun]]) -> list[str]:
    known: list[Mapping[str, Any]] = [_without_seed(members[0]) for members in rivals]
    keys = differing(known)
    return [_assignments({key: each[key] for key in keys if key in each}) for each in known]


def _assignments(values: Mapping[str, Any]) -> str:
    """Write `key=value` for each value; null is left out where something else tells the runs apart."""
    told = {key: value for key, value in values.items() if value is not None} or values
    return " ".join(f"{key}={as_typed(value)}" for key, value in told.items())
