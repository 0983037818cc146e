"""Runs that differ in nothing but their seed, under the words of a table: topology, model, objective."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unforced.config.settings import Settings
from unforced.evaluation.groups import differing
from unforced.parts import Role, keys_of
from unforced.reporting.collecting import ReportedRun
from unforced.runs.index import settings

_LENGTHS = keys_of(Settings, Role.LENGTH)


@dataclass(frozen=True)
class Group:
    """Runs of one kind, in the order of their seeds.

    objective: with the order, unless that is forward.
    settings: in words, what else tells apart groups of the same topology, model and objective.
    """

    topology: str
    model: str
    objective: str
    settings: str
    runs: Sequence[ReportedRun]

    @property
    def kind(self) -> str:
        """Objective, order, and whatever else tells it from others of its topology and model."""
        return ", ".join(filter(None, (self.objective, self.settings)))

    @property
    def rank(self) -> list[tuple[int, str]]:
        """What kinds are sorted by: plain ones before their variants, 200 problems before 2,000."""
        return natural(f"{self.objective}\n{self.settings}".replace(",", ""))

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
    telling: dict[str, dict[str, None]] = defaultdict(dict)  # an objective's, for one name in all topologies
    for (_, _, objective), rivals in beside.items():
        telling[objective] |= dict.fromkeys(_tell_apart([_without_seed(members[0]) for members in rivals]))
    groups = [
        Group(*names, _in_words(_without_seed(members[0]), list(telling[names[-1]])), members)
        for names, rivals in beside.items()
        for members in rivals
    ]
    return sorted(groups, key=lambda group: [natural(group.topology), natural(group.model), group.rank])


def natural(text: str) -> list[tuple[int, str]]:
    """Return a key by which 10 comes after 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def _without_seed(each: ReportedRun) -> dict[str, Any]:
    return {key: value for key, value in settings(each.run).items() if key != "seed"}


def _names(each: ReportedRun) -> tuple[str, str, str]:
    run = each.run
    order = "" if run.order == "forward" else f" {run.order}"
    return run.task.topology, run.model.name, run.objective.name + order


def _tell_apart(rivals: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the keys in which rivals differ, of their lengths only those that tell more of them apart."""
    keys = differing(rivals)
    told = [key for key in keys if key not in _LENGTHS]
    yield from told
    for key in _LENGTHS:
        if _kinds(rivals, [*told, key]) > _kinds(rivals, told):
            told.append(key)
            yield key


def _kinds(rivals: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> int:
    return len({json.dumps([each.get(key) for key in keys]) for each in rivals})


def _in_words(values: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Write `2 layers, 2,000 problems`; null is left out, so that its kind is the plain one."""
    leaves = Counter(key.rpartition(".")[2] for key in keys)
    words = ["stream"] if "stream" in keys and values["stream"] else []
    for key in keys:
        leaf = key.rpartition(".")[2]
        value = values.get(key)
        if key != "stream" and value is not None:
            words.append(_setting(leaf if leaves[leaf] == 1 else key, value))
    return ", ".join(words)


def _setting(name: str, value: Any) -> str:
    words = name.replace("_", " ")
    if name == "num_train":
        return f"{value:,} problems"
    if name == "stop_when":
        return "never stopped" if value == "never" else f"until {value}"
    if isinstance(value, bool):
        return words if value else f"no {words}"
    if isinstance(value, int) and words.endswith("s"):
        counted = words.removeprefix("num ").removeprefix("max ")
        return f"{value:,} {counted.removesuffix('s') if value == 1 else counted}"
    return f"{words} {value if isinstance(value, str) else json.dumps(value)}"
