"""Finished runs, found in a tree of run folders: what is whole is read, what is not is named."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unforced.config import Run, settings_of
from unforced.errors import UserError
from unforced.runs.folder import RunFolder
from unforced.runs.schemas import Count, Proportion, check

_OF_A_RUN = {"config.json", "metrics.jsonl", "result.json"}
_OF_AN_EXPORT = "unforced.json"  # beside a config.json that is transformers'
_NUMBERS = ("steps", "samples", "flops", "seconds")


@dataclass(frozen=True)
class Finished:
    """What a finished run left in its folder, its diagnosis if it has one."""

    run: Run
    path: Path
    result: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]
    diagnosis: Mapping[str, Any] | None


@dataclass(frozen=True)
class Found:
    """Finished runs, each once.

    left_out: folders that hold no whole run, with the reason.
    twins: folders of runs that another folder holds, too, by that folder, which stands for both.
    """

    runs: Sequence[Finished]
    left_out: Mapping[Path, str]
    twins: Mapping[Path, Path]


def find_finished(paths: Iterable[Path]) -> Found:
    """Read every run folder at or below `paths`. Raises UserError if no run is whole."""
    paths = list(paths)
    runs: list[Finished] = []
    left_out: dict[Path, str] = {}
    first: dict[str, Path] = {}
    twins: dict[Path, Path] = {}
    for folder in find_folders(paths):
        try:
            names = set(os.listdir(folder))
            if not names & _OF_A_RUN or _OF_AN_EXPORT in names:
                continue
            each = _read(folder)
        except (UserError, OSError) as error:
            left_out[folder] = str(error)
            continue
        same = first.setdefault(json.dumps(settings(each.run), sort_keys=True), folder)
        if same == folder:
            runs.append(each)
        else:
            twins[folder] = same  # the same run twice would count as two seeds
    if not runs:
        raise UserError(_nothing(paths, left_out))
    return Found(runs, left_out, twins)


def find_folders(paths: Iterable[Path]) -> list[Path]:
    """Return every folder at or below `paths` once, but none of checkpoints, in alphabetical order."""
    return sorted({folder.resolve(): folder for path in paths for folder in _below(path)}.values())


def settings(run: Run) -> dict[str, Any]:
    """Return, by dotted key, what decides how a run comes out: what is neither operational nor measuring."""
    return settings_of(run.tree())


def _below(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        raise UserError(f"{path}: no such folder")
    for place, below, _ in os.walk(path):
        below[:] = [name for name in below if name != "checkpoints"]
        yield Path(place)


def _nothing(paths: Sequence[Path], left_out: Mapping[Path, str]) -> str:
    where = ", ".join(map(str, paths))
    if not left_out:
        return f"no run in {where}; a run folder has a config.json"
    folder, reason = next(iter(left_out.items()))
    return f"no finished run in {where}; {len(left_out)} left out, the first: {folder}: {reason}"


def _read(path: Path) -> Finished:
    folder = RunFolder.open(path)
    if not folder.done:
        raise UserError("not finished")
    found = Finished(folder.run(), path, folder.read_result(), folder.read_metrics(), folder.read_diagnosis())
    _check_result(folder.result, found.result)
    for number, line in enumerate(found.lines, 1):
        _check_line(f"{folder.metrics}: line {number}", line, found.run)
    return found


def _check_result(file: Path, result: Mapping[str, Any]) -> None:
    """Check every measure, where the run itself has checked those that it depends on."""
    for key in _NUMBERS:
        if key in result and not isinstance(result[key], int | float):
            raise UserError(f"{file}: {key} is no number")
    for key, value in result.items():
        if key.endswith(".errors"):
            if not isinstance(value, dict) or not all(isinstance(count, int) for count in value.values()):
                raise UserError(f"{file}: {key} holds no counts")
        elif key.count(".") == 2:
            check(Proportion, value, f"{file}: {key}")


def _check_line(where: str, line: Mapping[str, Any], run: Run) -> None:
    if not isinstance(line.get("samples"), int):
        raise UserError(f"{where}: samples is no number")
    for mode in ("free", "forced"):
        for position in range(run.task.answer_length):
            key = f"validation.{mode}.token_{position}"
            check(Count, line.get(key), f"{where}: {key}")
