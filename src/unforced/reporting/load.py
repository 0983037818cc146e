"""Run folders in a tree of them, read for a report: what is whole is read, what is not is named."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from unforced.errors import UserError
from unforced.expectations import Expectation
from unforced.files import read_json
from unforced.runs.finished import FinishedRun
from unforced.runs.folder import STUDY
from unforced.runs.index import find_finished, find_folders
from unforced.runs.schemas import Record, check


class StudyRecord(Record):
    """study.json, as far as a report depends on it."""

    runs: dict[str, str]
    name: str = ""
    source: str = ""
    expectations: list[Expectation] = Field(default_factory=list)


@dataclass(frozen=True)
class ReportedStudy:
    """A study's name, its source, its folder, and what it expects."""

    name: str
    source: str
    path: Path
    expectations: Sequence[Expectation]


@dataclass(frozen=True)
class Collection:
    """All that a report is made of; `skipped` names what was left out, with the reason.

    duplicates: as in `RunIndex`.
    """

    runs: Sequence[FinishedRun]
    studies: Sequence[ReportedStudy]
    skipped: Mapping[str, str]
    duplicates: Mapping[Path, Path]

    def below(self, place: Path) -> list[FinishedRun]:
        """Return the runs in a folder, also those that are reported for their duplicates there."""
        inside = [each.path for each in self.runs] + list(self.duplicates)
        chosen = {
            self.duplicates.get(path, path) for path in inside if place.resolve() in path.resolve().parents
        }
        return [each for each in self.runs if each.path in chosen]


def collect_runs(paths: Iterable[Path]) -> Collection:
    """Read every run folder and study.json at or below `paths`. Raises UserError if no run is whole."""
    paths = list(paths)
    found = find_finished(paths)
    skipped = {str(folder): reason for folder, reason in found.skipped.items()}
    studies: list[ReportedStudy] = []
    for folder in find_folders(paths):
        if (folder / STUDY).exists():
            try:
                studies.append(_read_study(folder))
            except (UserError, OSError) as error:
                skipped[str(folder)] = str(error)
    return Collection(found.runs, studies, dict(sorted(skipped.items())), found.duplicates)


def _read_study(folder: Path) -> ReportedStudy:
    tree = check(StudyRecord, read_json(folder / STUDY), str(folder / STUDY))
    record = StudyRecord.model_validate(tree)
    return ReportedStudy(record.name or folder.resolve().name, record.source, folder, record.expectations)
