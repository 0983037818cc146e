"""Run folders in a tree of them, read for a report: what is whole is read, what is not is named."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from unforced.config import Run
from unforced.errors import UserError
from unforced.evaluation.groups import Finished, read_finished, settings
from unforced.expectations import Expectation
from unforced.files import read_json
from unforced.studies.folder import MARKER
from unforced.training.folder import RunFolder
from unforced.training.records import Count, Proportion, Record, check

_OF_A_RUN = {"config.json", "metrics.jsonl", "result.json"}
_OF_AN_EXPORT = "unforced.json"  # beside a config.json that is transformers'
_NUMBERS = ("steps", "samples", "flops", "seconds")


@dataclass(frozen=True)
class ReportedRun:
    """A finished run: its path below the folder that all have in common, its files, its diagnosis if any."""

    name: str
    finished: Finished
    diagnosis: Mapping[str, Any] | None

    @property
    def run(self) -> Run:
        """The config."""
        return self.finished.run

    @property
    def result(self) -> Mapping[str, Any]:
        """What result.json holds."""
        return self.finished.result

    @property
    def lines(self) -> Sequence[Mapping[str, Any]]:
        """The lines of metrics.jsonl."""
        return self.finished.lines


class StudyRecord(Record):
    """study.json, as far as a report depends on it."""

    runs: dict[str, str]
    name: str = ""
    source: str = ""
    expectations: list[Expectation] = Field(default_factory=list)


@dataclass(frozen=True)
class Study:
    """A study's name, its source, its folder, and what it expects."""

    name: str
    source: str
    path: Path
    expectations: Sequence[Expectation]


@dataclass(frozen=True)
class Collection:
    """All that a report is made of; `skipped` names what was left out, with the reason.

    twins: folders of runs that another folder holds, too, by that folder, which stands for both.
    """

    runs: Sequence[ReportedRun]
    studies: Sequence[Study]
    skipped: Mapping[str, str]
    twins: Mapping[Path, Path]

    def below(self, place: Path) -> list[ReportedRun]:
        """Return the runs in a folder, also those that are reported for their twins there."""
        inside = [each.finished.path for each in self.runs] + list(self.twins)
        chosen = {self.twins.get(path, path) for path in inside if place.resolve() in path.resolve().parents}
        return [each for each in self.runs if each.finished.path in chosen]


def collect_runs(paths: Iterable[Path]) -> Collection:
    """Read every run folder and study.json at or below `paths`. Raises UserError if no run is whole."""
    paths = list(paths)
    folders = sorted({found.resolve(): found for path in paths for found in _folders(path)}.values())
    whole: list[tuple[Finished, Mapping[str, Any] | None]] = []
    studies: list[Study] = []
    skipped: dict[str, str] = {}
    known: dict[str, Path] = {}
    twins: dict[Path, Path] = {}
    for folder in folders:
        try:
            if (folder / MARKER).exists():
                studies.append(_read_study(folder))
            if _is_run(set(os.listdir(folder))):
                finished, diagnosis = _read_run(folder)
                first = known.setdefault(json.dumps(settings(finished.run), sort_keys=True), folder)
                if first == folder:
                    whole.append((finished, diagnosis))
                else:
                    twins[folder] = first  # the same run twice would count as two seeds
        except (UserError, OSError) as error:
            skipped[str(folder)] = str(error)
    if not whole:
        raise UserError(_nothing(paths, skipped))
    return Collection(_named(whole), studies, skipped, twins)


def _nothing(paths: Sequence[Path], skipped: Mapping[str, str]) -> str:
    where = ", ".join(map(str, paths))
    if not skipped:
        return f"no run in {where}; a run folder has a config.json"
    folder, reason = next(iter(skipped.items()))
    return f"no finished run in {where}; {len(skipped)} skipped, the first: {folder}: {reason}"


def _folders(path: Path) -> Iterator[Path]:
    """Yield the folders at or below `path` that hold a run or a study."""
    if not path.is_dir():
        raise UserError(f"{path}: no such folder")
    for place, below, files in os.walk(path):
        below[:] = [name for name in below if name != "checkpoints"]
        if MARKER in files or _is_run(set(files)):
            yield Path(place)


def _is_run(names: set[str]) -> bool:
    return bool(names & _OF_A_RUN) and _OF_AN_EXPORT not in names


def _read_run(folder: Path) -> tuple[Finished, Mapping[str, Any] | None]:
    finished = read_finished(folder)
    _check_result(folder / "result.json", finished.result)
    for number, line in enumerate(finished.lines, 1):
        _check_line(f"{folder / 'metrics.jsonl'}: line {number}", line, finished.run)
    return finished, RunFolder(folder).read_diagnosis()


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


def _read_study(folder: Path) -> Study:
    tree = check(StudyRecord, read_json(folder / MARKER), str(folder / MARKER))
    record = StudyRecord.model_validate(tree)
    return Study(record.name or folder.resolve().name, record.source, folder, record.expectations)


def _named(whole: Sequence[tuple[Finished, Mapping[str, Any] | None]]) -> list[ReportedRun]:
    parents = [finished.path.resolve().parent for finished, _ in whole]
    base = os.path.commonpath(parents)
    return [
        ReportedRun(finished.path.resolve().relative_to(base).as_posix(), finished, diagnosis)
        for finished, diagnosis in whole
    ]
