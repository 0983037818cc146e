"""Groups of finished runs that differ in nothing but their seed, found in run folders."""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unforced.config import Run, flatten
from unforced.errors import UserError, unknown
from unforced.evaluation.learning import steps_to
from unforced.evaluation.seeds import Outcome, compare, summarise
from unforced.training.folder import RunFolder

_MEASURING = {"seed", "num_test", "num_evaluate"}  # keys that change what is known of a run, not the run


@dataclass(frozen=True)
class Finished:
    """What a finished run left in its folder."""

    run: Run
    path: Path
    result: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]

    def outcome(self, measure: str) -> Outcome:
        """Return how the run ended by `measure`. Raises UserError if it has no such measure."""
        known = [
            key.removeprefix("test.") for key, value in self.result.items() if _is_proportion(key, value)
        ]
        if measure not in known:
            raise UserError(f"{self.path}: {unknown('measure', measure, known)}")
        return Outcome.of(self.result, measure, steps_to(self.lines, f"validation.{measure}"))


@dataclass(frozen=True)
class Groups:
    """Outcomes by group and seed, and the folders that were left out, with the reason."""

    outcomes: Mapping[str, Mapping[int, Outcome]]
    chances: Mapping[str, float]
    left_out: Mapping[str, str]

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
        return {"groups": groups, "pairs": pairs, "left_out": dict(self.left_out)}


def collect(paths: Iterable[Path], measure: str) -> Groups:
    """Find every run folder at or below `paths`, and group those that have finished.

    A group is named by the settings in which the groups differ; `measure` is what counts as its outcome, as
    in `free.exact`. Raises UserError if no run has finished, one has no such measure, or a group holds a
    seed twice.
    """
    finished, left_out = _finished(paths)
    if not finished:
        raise UserError(f"no finished run in {', '.join(map(str, paths))}; {len(left_out)} were left out")
    outcomes: dict[str, dict[int, Outcome]] = {}
    chances = {}
    for each, name in zip(finished, _names([each.run for each in finished]), strict=True):
        seeds = outcomes.setdefault(name, {})
        if each.run.seed in seeds:
            raise UserError(f"{each.path}: seed {each.run.seed} of {name} occurs twice; give each run once")
        seeds[each.run.seed] = each.outcome(measure)
        chances[name] = each.run.task.chance
    return Groups(outcomes, chances, left_out)


def _finished(paths: Iterable[Path]) -> tuple[list[Finished], dict[str, str]]:
    """Read the runs that have finished; say why others were left out."""
    finished: list[Finished] = []
    left_out = {}
    for each in [each for path in paths for each in _run_folders(path)]:
        try:
            finished.append(read_finished(each))
        except UserError as error:
            left_out[str(each)] = str(error)
    return finished, left_out


def read_finished(path: Path) -> Finished:
    """Read a finished run's folder. Raises UserError if it is not finished, or damaged."""
    folder = RunFolder.open(path)
    if not folder.done:
        raise UserError("not finished")
    return Finished(folder.run(), folder.path, folder.read_result(), folder.read_metrics())


def settings(run: Run) -> dict[str, Any]:
    """Return, by dotted key, what decides how a run comes out: what is neither operational nor measuring."""
    ignored = (run.operational | _MEASURING) - {"seed"}
    return {key: value for key, value in flatten(run.tree()).items() if key not in ignored}


def _is_proportion(key: str, value: Any) -> bool:
    return key.startswith("test.") and isinstance(value, dict) and "total" in value


def _run_folders(path: Path) -> list[Path]:
    if not path.is_dir():
        raise UserError(f"{path}: no such folder")
    return sorted(config.parent for config in path.rglob("config.json"))


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
