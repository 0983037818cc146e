"""Runs that differ in nothing but their seed, under the words of a table: topology, model, objective."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unforced.config.settings import Settings, settings_of
from unforced.parts import Role, keys_of
from unforced.runs.finished import FinishedRun

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
    runs: Sequence[FinishedRun]

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
    def chance(self) -> float | None:
        """The best accuracy of whole answers without lookahead; None where it is unknown."""
        return self.runs[0].chance

    @property
    def seeds(self) -> list[int]:
        """The seed of each run."""
        return [run.seed for run in self.runs]

    @property
    def failures(self) -> str:
        """How many seeds failed for which reason, as in `2 diverged`; empty where none did."""
        causes = Counter(run.failure for run in self.runs if run.failure)
        return ", ".join(f"{count} {cause}" for cause, count in causes.most_common())

    @property
    def mixed_kernels(self) -> str:
        """The kernels in which the seeds differ, with how many ran on each; empty where they do not.

        Kernels and dtypes round differently, and outcomes near a plateau depend on rounding.
        """
        known = [run.kernels for run in self.runs if run.kernels]
        return "; ".join(
            f"{key.replace('_', ' ')}: {_counts([kernels.get(key, 'none') for kernels in known])}"
            for key in differing(known)
        )

    def values(self, measure: str) -> list[float]:
        """Return a measure of result.json, as in `test.free.exact`, for each run that has it."""
        return [run.result[measure]["value"] for run in self.runs if measure in run.result]


def group_runs(runs: Iterable[FinishedRun]) -> list[Group]:
    """Group runs, and name each group by what tells it from the others."""
    alike: dict[str, list[FinishedRun]] = defaultdict(list)
    for run in runs:
        alike[json.dumps(_without_seed(run), sort_keys=True)].append(run)
    beside: dict[tuple[str, str, str], list[list[FinishedRun]]] = defaultdict(list)
    for members in alike.values():
        beside[_names(members[0])].append(sorted(members, key=lambda run: run.seed))
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


def differing(known: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys in which mappings differ."""
    keys = dict.fromkeys(key for mapping in known for key in mapping)
    return [key for key in keys if len({json.dumps(mapping.get(key, "")) for mapping in known}) > 1]


def _without_seed(run: FinishedRun) -> dict[str, Any]:
    return {key: value for key, value in settings_of(run.tree).items() if key != "seed"}


def _names(run: FinishedRun) -> tuple[str, str, str]:
    order = run.tree["order"]
    return run.topology, run.model, run.objective + ("" if order == "forward" else f" {order}")


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
    return len({json.dumps([rival.get(key) for key in keys]) for rival in rivals})


def _in_words(values: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Write `2 layers, 2,000 problems`; null is left out, so that its kind is the plain one."""
    leaves = Counter(key.removesuffix(".name").rpartition(".")[2] for key in keys)
    words = ["stream"] if "stream" in keys and values.get("stream") else []
    for key in keys:
        key, value = key.removesuffix(".name"), values.get(key)
        leaf = key.rpartition(".")[2]
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


def _counts(values: Iterable[str]) -> str:
    return ", ".join(f"{value} {count}" for value, count in Counter(values).most_common())
