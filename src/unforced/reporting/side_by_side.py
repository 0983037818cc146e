"""Diagnoses of several models on one page: verdicts, what they rest on, and every number, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unforced.errors import UserError
from unforced.files import read_json, write_atomically
from unforced.reporting.page import render
from unforced.reporting.page.diagnoses import Diagnosed, side_by_side
from unforced.wording import typed

PAGE = "index.html"
_NEEDED = ("verdict", "problems", "confidence")


def is_diagnosis(path: Path) -> bool:
    """Whether a path names a file of a diagnosis, rather than a folder of runs."""
    return path.suffix == ".json" and not path.is_dir()


def write_side_by_side(files: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Write a page about diagnoses into `folder`; return its summary as JSON values.

    files: as `unforced diagnose --out` and run folders have them. Raises UserError: one is no diagnosis, or
    the folder holds something else.
    """
    diagnoses = {name: read_diagnosis(file) for name, file in zip(_names(files), files, strict=True)}
    columns = [_column(*each, file) for each, file in zip(diagnoses.items(), files, strict=True)]
    if folder.exists() and (not folder.is_dir() or {each.name for each in folder.iterdir()} - {PAGE}):
        raise UserError(f"{folder} exists and is not the folder of such a page; choose another {typed('to')}")
    folder.mkdir(parents=True, exist_ok=True)
    content = render("diagnoses.html", told=side_by_side(columns))
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


def _column(name: str, diagnosis: Mapping[str, Any], file: Path) -> Diagnosed:
    try:
        return Diagnosed.of(diagnosis, name, _asked(diagnosis))
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


def _asked(diagnosis: Mapping[str, Any]) -> str:
    """Say of what model a diagnosis is, and how it was asked, as far as it does."""
    asked = diagnosis.get("asked", {})
    objective = asked.get("trained_on", asked.get("objective", {})).get("name", "")
    task = asked.get("task", {}).get("name", "")
    return ", ".join(filter(None, [str(diagnosis.get("model", "")), task, objective]))
