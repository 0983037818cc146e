"""Finished runs, found in a tree of run folders; damaged and unfinished ones are named with the reason."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unforced.config import settings_of
from unforced.errors import UserError
from unforced.files import read_json
from unforced.runs.defaults import with_defaults
from unforced.runs.finished import FinishedRun
from unforced.runs.folder import RunFolder
from unforced.runs.history import is_margin
from unforced.runs.schemas import PositionCount, Proportion, check, with_present_names

_OF_A_RUN = {"config.json", "metrics.jsonl", "result.json"}
_OF_AN_EXPORT = "unforced.json"  # in a folder whose config.json is that of transformers
COSTS = (
    "steps",
    "samples",
    "flops",
    "flops_per_sample",
    "flops_per_answer",
    "seconds",
    "training_seconds",
)
"""The keys of result.json that say what a run took."""


@dataclass(frozen=True)
class RunIndex:
    """Finished runs, each once.

    skipped: folders of damaged or unfinished runs, with the reason.
    duplicates: folders of runs that an earlier folder holds, too, with that folder.
    """

    runs: Sequence[FinishedRun]
    skipped: Mapping[Path, str]
    duplicates: Mapping[Path, Path]

    @property
    def omitted(self) -> dict[str, dict[str, str]]:
        """The folders that do not count, as JSON values."""
        return {
            name: {str(path): str(reason) for path, reason in paths.items()}
            for name, paths in (("skipped", self.skipped), ("duplicates", self.duplicates))
        }


def find_finished(paths: Iterable[Path]) -> RunIndex:
    """Read every run folder at or below `paths`. Raises UserError if none holds a finished run."""
    paths = list(paths)
    runs: list[FinishedRun] = []
    skipped: dict[Path, str] = {}
    for folder in find_folders(paths):
        try:
            names = set(os.listdir(folder))
            if names & _OF_A_RUN and _OF_AN_EXPORT not in names:
                runs.append(read_finished(folder))
        except (UserError, OSError) as error:
            skipped[folder] = str(error)
    if not runs:
        raise UserError(_nothing(paths, skipped))
    first: dict[str, FinishedRun] = {}
    duplicates: dict[Path, Path] = {}
    for run in _completed(runs):
        same = first.setdefault(json.dumps(settings_of(run.tree), sort_keys=True), run)
        if same is not run:
            duplicates[run.path] = same.path  # the same run twice would count as two seeds
    return RunIndex(_named(list(first.values())), skipped, duplicates)


def find_folders(paths: Iterable[Path]) -> list[Path]:
    """Return every folder at or below `paths` once, in alphabetical order, except those of checkpoints."""
    return sorted({folder.resolve(): folder for path in paths for folder in _below(path)}.values())


def _below(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        raise UserError(f"{path}: no such folder")
    for folder, subfolders, _ in os.walk(path):
        subfolders[:] = [name for name in subfolders if name != "checkpoints"]
        yield Path(folder)


def _nothing(paths: Sequence[Path], skipped: Mapping[Path, str]) -> str:
    where = ", ".join(map(str, paths))
    if not skipped:
        return f"no run in {where}; a run folder has a config.json"
    folder, reason = next(iter(skipped.items()))
    return f"no finished run in {where}; {len(skipped)} left out, the first: {folder}: {reason}"


def _completed(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    trees = with_defaults([run.tree for run in runs])
    return [replace(run, tree=tree) for run, tree in zip(runs, trees, strict=True)]


def _named(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """Name runs by their paths below their common folder."""
    base = os.path.commonpath([run.path.resolve().parent for run in runs])
    return [replace(run, name=run.path.resolve().relative_to(base).as_posix()) for run in runs]


def read_finished(path: Path) -> FinishedRun:
    """Read the folder of a finished run. Raises UserError if it is damaged or unfinished."""
    folder = RunFolder(path)
    if not folder.config.is_file():
        raise UserError(f"{path} is not a run folder: it has no config.json")
    tree = folder.read_config()
    if not folder.done:
        raise UserError("not finished")
    result, lines = folder.read_result(), folder.read_metrics()
    _check_result(folder.result, result)
    for number, line in enumerate(lines, 1):
        _check_line(f"{folder.metrics}: line {number}", line)
    return FinishedRun(path.name, path, tree, result, lines, folder.read_diagnosis(), _environment(folder))


def _environment(folder: RunFolder) -> Mapping[str, Any]:
    """Read env.json; empty if it is missing or damaged."""
    try:
        environment = with_present_names(read_json(folder.env))
    except UserError:
        return {}
    return environment if isinstance(environment, dict) else {}


def _check_result(file: Path, result: Mapping[str, Any]) -> None:
    """Check every measure; `read_result` checks only those that a resumed run needs."""
    for key in COSTS:
        if key in result:
            _check_number(result[key], f"{file}: {key}")
    for key, value in result.items():
        if key.endswith(".errors"):
            if not isinstance(value, dict) or not all(isinstance(count, int) for count in value.values()):
                raise UserError(f"{file}: {key} holds no counts")
        elif is_margin(key):
            _check_number(value, f"{file}: {key}")
        elif key.count(".") == 2:
            check(Proportion, value, f"{file}: {key}")


def _check_line(where: str, line: Mapping[str, Any]) -> None:
    if not isinstance(line.get("samples"), int):
        raise UserError(f"{where}: samples is not a number")
    for key, value in line.items():
        if is_margin(key):
            _check_number(value, f"{where}: {key}")
        elif key.startswith("validation.") and ".token_" in key:
            check(PositionCount, value, f"{where}: {key}")


def _check_number(value: Any, where: str) -> None:
    if not isinstance(value, int | float):
        raise UserError(f"{where} is not a number")
