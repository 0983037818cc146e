"""The report on a tree of run folders: a tidy table, tables for papers, figures, a page, skipped folders."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from unforced.errors import UserError
from unforced.files import write_atomically, write_json
from unforced.reporting.expectations_table import judge_studies
from unforced.reporting.load import Collection, collect_runs
from unforced.reporting.markdown import plain
from unforced.reporting.page import write_page
from unforced.reporting.report_figures import FIGURES
from unforced.reporting.report_figures.style import FORMATS, image, styled
from unforced.reporting.report_tables import TABLES
from unforced.reporting.tables import WHOLE_ANSWERS, latex, markdown
from unforced.reporting.tidy import tidy_frame
from unforced.runs.groups import Group, group_runs
from unforced.wording import typed

_MARKER = "skipped.json"
_OF_A_GROUP = (
    "topology",
    "model",
    "objective",
    "settings",
    "chance",
    "seeds",
    "failures",
    "mixed_kernels",
)


def write_report(paths: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Write the report on all runs at or below `paths` into `folder`; return its summary as JSON values.

    The same runs give the same bytes. Raises UserError if there are no runs, or `folder` is not a report's.
    """
    collection = collect_runs(paths)
    judged, refused = judge_studies(collection)
    groups = group_runs(collection.runs)
    skipped = {**collection.skipped, **refused}
    _claim(folder)
    write_json(folder / _MARKER, skipped)
    files = [*_tidy(folder, collection, groups)]
    for table in TABLES:
        content = table(groups, judged)
        tables = {table.__name__: content} if content else {}
        files += _replace(folder / "tables", tables, table.__name__, _WRITERS)
    with styled():
        for draw in FIGURES:
            figures = {
                "-".join(filter(None, (draw.__name__, page))): figure for page, figure in draw(groups).items()
            }
            files += _replace(folder / "figures", figures, draw.__name__, _DRAWERS)
    notes = write_page(groups, folder / "index.html", judged, collection.studies, skipped)
    files.append(folder / "index.html")
    return {
        "folder": str(folder),
        "runs": len(collection.runs),
        "groups": [_numbers(group) for group in groups],
        "expectations": [claim.as_dict() for claim in judged],
        "skipped": skipped,
        "notes": notes,
        "duplicates": {str(copy): str(first) for copy, first in collection.duplicates.items()},
        "files": [str(file.relative_to(folder)) for file in files],
    }


def _claim(folder: Path) -> None:
    """Make the report's folder. Raises UserError if it holds something else."""
    if folder.exists() and (
        not folder.is_dir() or (any(folder.iterdir()) and not (folder / _MARKER).exists())
    ):
        raise UserError(f"{folder} exists and is not the folder of a report; choose another {typed('to')}")
    for part in ("tables", "figures"):
        (folder / part).mkdir(parents=True, exist_ok=True)


def _tidy(folder: Path, collection: Collection, groups: Sequence[Group]) -> Iterator[Path]:
    frame = tidy_frame(collection, groups)
    write_atomically(folder / "runs.csv", frame.to_csv(index=False, lineterminator="\n").encode())
    write_atomically(folder / "runs.parquet", frame.to_parquet(index=False))
    yield from (folder / "runs.csv", folder / "runs.parquet")


Writers = Mapping[str, Callable[[Any], bytes]]


def _replace(folder: Path, things: Mapping[str, Any], kind: str, writers: Writers) -> Iterator[Path]:
    """Write things by name in every format, and remove those of the same kind by an earlier report."""
    written = []
    for name, thing in things.items():
        for suffix, write in writers.items():
            written.append(folder / f"{name}.{suffix}")
            write_atomically(written[-1], write(thing))
    for stale in [*folder.glob(f"{kind}.*"), *folder.glob(f"{kind}-*")]:
        if stale not in written:
            stale.unlink()
    yield from written


_DRAWERS: Writers = {suffix: partial(image, suffix=suffix) for suffix in FORMATS}
_WRITERS: Writers = {
    "md": lambda table: f"{markdown(table.frame)}\n{plain(table.note)}\n".encode(),
    "tex": lambda table: latex(table.frame, table.note).encode(),
}


def _numbers(group: Group) -> dict[str, Any]:
    """Return a group's names and the values behind its row of accuracies, in the order of its seeds."""
    names = {key: getattr(group, key) for key in _OF_A_GROUP}
    return names | {measure: group.values(measure) for measure in WHOLE_ANSWERS.values()}
