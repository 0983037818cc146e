"""`report`: tables, figures and a page of finished runs."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from unforced.cli.options import AsJson
from unforced.errors import UserError


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Run folders, or folders that hold some; or files of diagnoses, to compare."),
    ],
    to: Annotated[
        Path | None, typer.Option("--to", "--out", help="Where to write it. [default: report/ in the folder]")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if anything was skipped or left out.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write tables (CSV, Parquet, Markdown, LaTeX), figures (SVG, PNG, PDF) and a page of finished runs.

    A run that is damaged or not finished is skipped, and named in skipped.json and on standard error.

    Of files that `unforced diagnose` wrote, it writes a page that shows them side by side.

    Example: unforced report runs/quickstart

    Example: unforced report plain.json mixture.json --to compared
    """
    from unforced.reporting.report import write_report
    from unforced.reporting.side_by_side import is_diagnosis

    files = [path for path in folders if is_diagnosis(path)]
    if to is None and (len(folders) > 1 or files):
        raise UserError(
            f"with {len(folders)} {'files' if files else 'folders'}, say where the report goes: --to FOLDER"
        )
    place = to or folders[0] / "report"
    if files:
        _show_side_by_side(folders, files, place, as_json)
        return
    try:
        summary = write_report(folders, place)
    except OSError as error:
        raise UserError(
            f"{error.filename or place}: {error.strerror or error}; choose another folder with --to"
        ) from None
    for folder, reason in summary["skipped"].items():
        print(f"skipped {folder}: {reason}", file=sys.stderr)
    for twin, first in summary["duplicates"].items():
        print(f"duplicate: {twin} is the same run as {first}", file=sys.stderr)
    for note in summary["notes"]:
        print(f"index.html: {note}", file=sys.stderr)
    if as_json:
        print(json.dumps(summary))
    else:
        _show(summary)
    if strict and (summary["skipped"] or summary["notes"]):
        raise typer.Exit(1)


def _show_side_by_side(paths: list[Path], files: list[Path], place: Path, as_json: bool) -> None:
    from unforced.reporting.side_by_side import write_side_by_side

    if len(files) < len(paths):
        raise UserError(f"{files[0]}: give files of diagnoses, or folders of runs, not both at once")
    summary = write_side_by_side(files, place)
    if as_json:
        print(json.dumps(summary))
        return
    for name, verdict in summary["verdicts"].items():
        print(f"{name}: {verdict}")
    print(f"side by side: {place / summary['files'][0]}")


def _show(summary: Mapping[str, Any]) -> None:
    runs, groups = summary["runs"], len(summary["groups"])
    print(f"{runs} run{'s' * (runs != 1)} in {groups} group{'s' * (groups != 1)}; in {summary['folder']}:")
    print("\n".join(f"  {file}" for file in summary["files"]))
    for each in summary["expectations"]:
        less = f" less that of {each['against_group']}" if each["against_group"] else ""
        claim = f"{each['study']}, {each['group']}, {each['measure']}{less}"
        print(f"{claim}: {each['verdict']} ({each['source']})")
