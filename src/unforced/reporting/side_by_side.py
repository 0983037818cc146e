"""Diagnoses of several models on one page: verdicts, what they rest on, and every number, side by side."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unforced.errors import UserError
from unforced.evaluation.glossary import SECTIONS, definition
from unforced.files import read_json, write_atomically
from unforced.reporting.diagnosis import label, rows_of
from unforced.reporting.page import render
from unforced.wording import typed

PAGE = "index.html"
_NEEDED = ("verdict", "problems", "confidence")


@dataclass(frozen=True)
class Row:
    """A measure, what it means, and its value for each model; empty where a diagnosis does not have it."""

    label: str
    meaning: str
    values: tuple[str, ...]

    @property
    def is_silent(self) -> bool:
        """Whether it applies to none of the models."""
        return all(value.startswith("does not apply") or not value for value in self.values)


def is_diagnosis(path: Path) -> bool:
    """Whether a path names a file of a diagnosis, rather than a folder of runs."""
    return path.suffix == ".json" and not path.is_dir()


def write_side_by_side(files: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Write a page about diagnoses into `folder`; return its summary as JSON values.

    files: as `unforced diagnose --out` and run folders have them. Raises UserError: one is no diagnosis, or
    the folder holds something else.
    """
    diagnoses = {name: read_diagnosis(file) for name, file in zip(_names(files), files, strict=True)}
    if folder.exists() and (not folder.is_dir() or {each.name for each in folder.iterdir()} - {PAGE}):
        raise UserError(f"{folder} exists and is not the folder of such a page; choose another {typed('to')}")
    folder.mkdir(parents=True, exist_ok=True)
    content = render(
        "diagnoses.html", names=[*diagnoses], diagnoses=[*diagnoses.values()], **_tables(diagnoses)
    )
    write_atomically(folder / PAGE, content.encode())
    verdicts = {name: each["verdict"]["name"] for name, each in diagnoses.items()}
    return {"folder": str(folder), "verdicts": verdicts, "files": [PAGE]}


def read_diagnosis(file: Path) -> dict[str, Any]:
    """Read a diagnosis. Raises UserError."""
    found = read_json(file)
    if not isinstance(found, dict) or not {*_NEEDED} <= found.keys():
        raise UserError(
            f"{file}: it is no diagnosis; `unforced diagnose --model FOLDER --out FILE` writes one, and "
            "`unforced diagnose RUN` writes RUN/diagnosis.json"
        )
    return found


def _names(files: Sequence[Path]) -> list[str]:
    """Name each file by its stem, or its folder where that says nothing; by all of it where two are alike."""
    names = [
        file.parent.name if file.stem == "diagnosis" and file.parent.name else file.stem for file in files
    ]
    return [name if names.count(name) == 1 else str(file) for name, file in zip(names, files, strict=True)]


def _tables(diagnoses: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    each = [*diagnoses.values()]
    sections = {
        title: [*_rows(section, [one.get(section) for one in each])]
        for section, title in SECTIONS.items()
        if any(section in one for one in each)
    }
    silent = {title for title, rows in sections.items() if all(row.is_silent for row in rows)}
    return {
        "sections": {title: rows for title, rows in sections.items() if title not in silent},
        "silent": [title for title in sections if title in silent],
        "asked": [_asked(one) for one in each],
    }


def _asked(diagnosis: Mapping[str, Any]) -> str:
    """Say of what model a diagnosis is, and how it was asked, as far as it does."""
    asked = diagnosis.get("asked", {})
    objective = asked.get("trained_on", asked.get("objective", {})).get("name", "")
    task = asked.get("task", {}).get("name", "")
    return ", ".join(filter(None, [str(diagnosis.get("model", "")), task, objective]))


def _rows(section: str, values: Iterable[Any]) -> Iterator[Row]:
    """Put the same measures of several diagnoses into a row each, in the order in which they first come."""
    columns = [{} if value is None else dict(rows_of(section, value)) for value in values]
    for path in dict.fromkeys(path for column in columns for path in column):
        yield Row(label(section, path), definition(path), tuple(column.get(path, "") for column in columns))
