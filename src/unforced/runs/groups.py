"""Groups of finished runs that differ only in their seed, named by task, model and configuration.

Tables, figures, the page, `unforced compare` and runs.csv take grouping, order and names from here.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from unforced.config.settings import Settings, settings_of
from unforced.parts import Role, keys_of
from unforced.runs.finished import FinishedRun

_LENGTHS = keys_of(Settings, Role.LENGTH)
_LARGE = 1000  # from which a whole number is written 1,000 and not 1000.0


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seed, in the order of their seeds.

    objective: with the order, unless that is forward.
    settings: in words, the settings that distinguish groups of the same topology, model and objective.
    """

    topology: str
    model: str
    objective: str
    settings: str
    runs: Sequence[FinishedRun]

    @property
    def facet(self) -> str:
        """Topology and model: groups that share them can be compared in one panel."""
        return f"{self.topology}, {self.model}"

    @property
    def configuration(self) -> str:
        """The group's name within its facet: objective, order and distinguishing settings."""
        return ", ".join(filter(None, (self.objective, self.settings)))

    @property
    def label(self) -> str:
        """The group's full name."""
        return f"{self.facet}, {self.configuration}"

    @property
    def rank(self) -> list[tuple[int, str]]:
        """Sort key of configurations: plain ones before their variants, 200 problems before 2,000."""
        return natural(f"{self.objective}\n{self.settings}".replace(",", ""))

    @property
    def chance(self) -> float | None:
        """The best exact match without lookahead; None if unknown."""
        return self.runs[0].chance

    @property
    def open_ended(self) -> bool:
        """Whether any coherent answer is right; see `FinishedRun.open_ended`."""
        return self.runs[0].open_ended

    @property
    def seeds(self) -> list[int]:
        """The seed of each run."""
        return [run.seed for run in self.runs]

    @property
    def failures(self) -> str:
        """How many seeds failed for which reason, as in `2 diverged`; empty if none failed."""
        causes = Counter(run.failure for run in self.runs if run.failure)
        return ", ".join(f"{count} {cause}" for cause, count in causes.most_common())

    @property
    def mixed_kernels(self) -> str:
        """The kernels in which the seeds differ, with how many ran on each; empty if all ran on the same.

        Kernels and dtypes round differently, and outcomes near a plateau depend on rounding.
        """
        recorded = [run.kernels for run in self.runs if run.kernels]
        return "; ".join(
            f"{key.replace('_', ' ')}: {_counts(kernels.get(key, 'none') for kernels in recorded)}"
            for key in differing(recorded)
        )

    @property
    def verdicts(self) -> Counter[tuple[str, str]]:
        """Names and titles of the verdicts of the diagnosed runs, with how many runs have each."""
        verdicts = [run.diagnosis["verdict"] for run in self.runs if run.diagnosis is not None]
        return Counter((verdict["name"], verdict["title"]) for verdict in verdicts)

    def values(self, measure: str) -> list[float]:
        """Return a measure of result.json, as in `test.free.exact`, of each run that has it."""
        return [run.result[measure]["value"] for run in self.runs if measure in run.result]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Summarise a measure over seeds: median and range (outcomes are bimodal, so no mean)."""
    return {"median": median(values), "low": min(values), "high": max(values)}


def closed(groups: Iterable[Group]) -> list[Group]:
    """Return the groups whose tasks are not open-ended: those whose runs can be solved."""
    return [group for group in groups if not group.open_ended]


def group_runs(runs: Iterable[FinishedRun]) -> list[Group]:
    """Group runs, and name each group by the settings that distinguish it."""
    by_settings: dict[str, list[FinishedRun]] = defaultdict(list)
    for run in runs:
        by_settings[json.dumps(_without_seed(run), sort_keys=True)].append(run)
    by_names: dict[tuple[str, str, str], list[list[FinishedRun]]] = defaultdict(list)
    for members in by_settings.values():
        by_names[_names(members[0])].append(sorted(members, key=lambda run: run.seed))
    keys: dict[str, dict[str, None]] = defaultdict(dict)  # per objective: one name in all topologies
    for (_, _, objective), rivals in by_names.items():
        keys[objective] |= dict.fromkeys(_distinguishing([_without_seed(members[0]) for members in rivals]))
    groups = [
        Group(*names, _in_words(_without_seed(members[0]), list(keys[names[-1]])), members)
        for names, rivals in by_names.items()
        for members in rivals
    ]
    return sorted(groups, key=lambda group: [natural(group.topology), natural(group.model), group.rank])


def natural(text: str) -> list[tuple[int, str]]:
    """Return a key by which 10 comes after 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def differing(mappings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys in which mappings differ."""
    keys = dict.fromkeys(key for mapping in mappings for key in mapping)
    return [key for key in keys if len({json.dumps(mapping.get(key, "")) for mapping in mappings}) > 1]


def _without_seed(run: FinishedRun) -> dict[str, Any]:
    """Return its settings but those that end in `seed`: what they draw (data, weights, a graph) is chance."""
    return {key: value for key, value in settings_of(run.tree).items() if not key.endswith("seed")}


def _names(run: FinishedRun) -> tuple[str, str, str]:
    order = run.tree["order"]
    return run.topology, run.model, run.objective + ("" if order == "forward" else f" {order}")


def _distinguishing(rivals: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the keys in which rivals differ; of their lengths only those that distinguish more of them."""
    differences = differing(rivals)
    keys = [key for key in differences if key not in _LENGTHS]
    yield from keys
    for key in _LENGTHS:
        if _num_distinct(rivals, [*keys, key]) > _num_distinct(rivals, keys):
            keys.append(key)
            yield key


def _num_distinct(rivals: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> int:
    return len({json.dumps([rival.get(key) for key in keys]) for rival in rivals})


def _in_words(values: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Write `2 layers, 2,000 problems`; null is left out, so that its configuration is the plain one."""
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
    if isinstance(value, float) and value >= _LARGE and value.is_integer():
        return f"{words} {value:,.0f}"
    return f"{words} {value if isinstance(value, str) else json.dumps(value)}"


def _counts(values: Iterable[str]) -> str:
    """Write `math 2, sdpa 1`."""
    return ", ".join(f"{value} {count}" for value, count in Counter(values).most_common())
