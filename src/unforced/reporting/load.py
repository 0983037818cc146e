"""The runs and studies of a report, read from a tree of folders; damaged ones are named with the reason."""

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
    """The keys of study.json that a report needs."""

    runs: dict[str, str]
    name: str = ""
    source: str = ""
    expectations: list[Expectation] = Field(default_factory=list)


@dataclass(frozen=True)
class ReportedStudy:
    """A study's name, source, folder and expectations."""

    name: str
    source: str
    path: Path
    expectations: Sequence[Expectation]


@dataclass(frozen=True)
class Collection:
    """The contents of a report. skipped: folders left out, with the reason; duplicates: as in `RunIndex`."""

    runs: Sequence[FinishedRun]
    studies: Sequence[ReportedStudy]
    skipped: Mapping[str, str]
    duplicates: Mapping[Path, Path]

    def below(self, folder: Path) -> list[FinishedRun]:
        """Return the runs in a folder, including those of which it holds a duplicate."""
        inside = [run.path for run in self.runs] + list(self.duplicates)
        chosen = {
            self.duplicates.get(path, path) for path in inside if folder.resolve() in path.resolve().parents
        }
        return [run for run in self.runs if run.path in chosen]


def collect_runs(paths: Iterable[Path]) -> Collection:
    """Read every run folder and study.json at or below `paths`. Raises UserError if none is complete."""
    paths = list(paths)
    index = find_finished(paths)
    skipped = {str(folder): reason for folder, reason in index.skipped.items()}
    studies: list[ReportedStudy] = []
    for folder in find_folders(paths):
        if (folder / STUDY).exists():
            try:
                studies.append(_read_study(folder))
            except (UserError, OSError) as error:
                skipped[str(folder)] = str(error)
    return Collection(index.runs, studies, dict(sorted(skipped.items())), index.duplicates)


def _read_study(folder: Path) -> ReportedStudy:
    tree = check(StudyRecord, read_json(folder / STUDY), str(folder / STUDY))
    record = StudyRecord.model_validate(tree)
    return ReportedStudy(record.name or folder.resolve().name, record.source, folder, record.expectations)
