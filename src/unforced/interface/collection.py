"""Run folders: one loaded, many as tables, and reports on them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from unforced.errors import UserError, unknown
from unforced.interface.fit import Fit
from unforced.reporting.load import Collection, collect_runs
from unforced.reporting.report import write_report
from unforced.reporting.tidy import summary_frame, tidy_frame
from unforced.runs.finished import FinishedRun
from unforced.runs.groups import Group, group_runs

AnyPath = str | PathLike[str]


def load(path: AnyPath, *, base: AnyPath | None = None) -> Fit:
    """Load a run folder, finished or not, with its newest usable weights. Raises UserError.

    base: where the pretrained model that the run started from is now, if it was moved. It is checked by the
    hash of its weights, and holds for the rest of the process.
    """
    return Fit.of_folder(Path(path).expanduser(), None if base is None else Path(base).expanduser())


def runs(*folders: AnyPath) -> "RunCollection":
    """Read every finished run in these folders and below them. Raises UserError if there is none."""
    if not folders:
        raise UserError("runs: give a folder, as in uf.runs('runs')")
    return RunCollection(collect_runs(_paths(folders)))


def report(*folders: AnyPath, to: AnyPath | None = None) -> "Report":
    """Write tables, figures and a page on all finished runs in these folders.

    to: where it is written (None: `report` in the folder, if it is one). Raises UserError.
    """
    if not folders or (to is None and len(folders) > 1):
        raise UserError(f"report: with {len(folders)} folders, say where the report is written: to=FOLDER")
    paths = _paths(folders)
    summary = write_report(paths, paths[0] / "report" if to is None else Path(to).expanduser())
    return Report(Path(summary["folder"]), summary)


def _paths(folders: Iterable[AnyPath]) -> list[Path]:
    return [Path(folder).expanduser() for folder in folders]


@dataclass(frozen=True)
class RunCollection:
    """Finished runs, each once. Iterates over their names, paths below the folder that they share.

    `runs["reversed"]` loads one.
    """

    collection: Collection

    def __len__(self) -> int:
        return len(self.collection.runs)

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __getitem__(self, name: str) -> Fit:
        """Load a run by its name. Raises UserError."""
        if name not in self._named:
            raise unknown("run", name, self._named)
        return load(self._named[name].path)

    @property
    def skipped(self) -> dict[str, str]:
        """Folders that were left out, with the reason."""
        return dict(self.collection.skipped)

    @property
    def groups(self) -> list[Group]:
        """Runs that differ in nothing but their seed."""
        return group_runs(self.collection.runs)

    def to_frame(self) -> pd.DataFrame:
        """Return the tidy table of reports (runs.csv): a row per run, split, mode and measure."""
        return tidy_frame(self.collection, self.groups)

    def summary(self) -> pd.DataFrame:
        """Return a row per run: what it is, its verdict, and the accuracy of whole answers."""
        return summary_frame(self.collection.runs)

    @cached_property
    def _named(self) -> Mapping[str, FinishedRun]:
        return {run.name: run for run in self.collection.runs}

    def __repr__(self) -> str:
        return f"finished runs: {len(self)}\n{self.summary()}"

    def _repr_html_(self) -> str:
        return self.summary().to_html()


@dataclass(frozen=True, repr=False)
class Report:
    """A report that was written. summary: what `unforced report --json` prints."""

    folder: Path
    summary: Mapping[str, Any]

    @property
    def page(self) -> Path:
        """The page, to be opened in a browser."""
        return self.folder / "index.html"

    @property
    def files(self) -> list[Path]:
        """All that was written."""
        return [self.folder / name for name in self.summary["files"]]

    def __repr__(self) -> str:
        skipped = [f"skipped {folder}: {reason}" for folder, reason in self.summary["skipped"].items()]
        numbers = {"run": self.summary["runs"], "group": len(self.summary["groups"])}
        counted = " in ".join(f"{number} {word}{'s' * (number != 1)}" for word, number in numbers.items())
        what = f"{counted}: {self.page}"
        return "\n".join([what, *skipped])
