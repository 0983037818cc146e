"""Rows of data that a user brings: JSON lines, CSV, Parquet, or a folder that `datasets` saved.

    {"prompt": "capital of France?", "answer": "Paris"}              a line of data.jsonl
    {"prompt": "a colour of the flag?", "answer": ["red", "white"]}  with several right answers

Lines are counted as an editor counts them, rows of tables from 1.
"""

import codecs
import contextlib
import csv
import importlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unforced.errors import UserError, shortened, unknown
from unforced.paths import is_saved_dataset

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
_SIGNS = {",": "commas", ";": "semicolons", "\t": "tabs"}  # between the fields of a CSV file


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; `split` may be None, or a name that need not be there."""

    prompt: str
    answer: str
    split: str | None
    needs_split: bool


@dataclass(frozen=True)
class Row:
    """One prompt with its right answers, the first of which is the reference.

    place: what a message calls it, as in `data.jsonl:17`. split: the name that the data give; None if none.
    """

    place: str
    prompt: str
    answers: tuple[str, ...]
    split: str | None


def read_rows(path: Path, columns: Columns, name: str) -> list[Row]:
    """Read all rows. Raises UserError that names the file and the line.

    name: of the field or option that the path was given as.
    """
    if not path.exists():
        raise UserError(f"{name}: there is no {path}; give a file ({', '.join(SUFFIXES)}) or a saved folder")
    rows = [_row(place, fields, columns, split) for place, fields, split in _records(path, columns, name)]
    if not rows:
        raise UserError(f"{path}: no rows in it")
    return rows


def _records(path: Path, columns: Columns, name: str) -> Iterator[tuple[str, Mapping[str, Any], str | None]]:
    """Yield each row: its place, its fields, and the split of its table."""
    if path.is_dir():
        yield from _saved(path, columns, name)
        return
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        yield from ((place, fields, None) for place, fields in _json_lines(path))
    elif suffix in (".csv", ".tsv"):
        yield from ((place, fields, None) for place, fields in _csv(path, columns))
    elif suffix == ".parquet":
        yield from ((place, fields, None) for place, fields in _parquet(path, columns))
    else:
        advice = "; write one object a line, as .jsonl" if suffix == ".json" else ""
        raise UserError(
            f"{name}: {path}: unknown format {suffix!r}; it may be {', '.join(SUFFIXES)}, or a folder "
            f"that datasets saved{advice}"
        )


def _json_lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            raise UserError(
                f"{place}: not JSON; each line is an object with the prompt and the answer"
            ) from None
        if not isinstance(fields, dict):
            raise UserError(f"{place}: not an object with the prompt and the answer")
        yield place, fields


def _csv(path: Path, columns: Columns) -> Iterator[tuple[str, Mapping[str, Any]]]:
    text = _text(path)
    sign = _separator(text, path, columns)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=sign, restkey="", strict=True)
    _check_columns(str(path), list(reader.fieldnames or []), columns)
    begin = reader.line_num + 1
    try:
        for fields in reader:
            place, begin = f"{path}:{begin}", reader.line_num + 1
            if "" in fields and isinstance(fields[""], list):
                raise UserError(
                    f"{place}: more fields than the first line names; quote text that holds {_SIGNS[sign]}"
                )
            yield place, fields
    except csv.Error as error:
        raise UserError(f"{path}:{begin}: not CSV: {error}") from None


def _separator(text: str, path: Path, columns: Columns) -> str:
    """Return what separates fields: the sign by which the first line names the columns.

    Where none does, the one of the suffix; or if that finds a single column, the one that finds most.
    """
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    names = {}
    for sign in (usual, *(each for each in _SIGNS if each != usual)):
        with contextlib.suppress(csv.Error):
            names[sign] = next(csv.reader(io.StringIO(text, newline=""), delimiter=sign, strict=True), [])
    fitting = (sign for sign, found in names.items() if {columns.prompt, columns.answer} <= {*found})
    if len(names.get(usual, [])) > 1 or not names:
        return next(fitting, usual)
    return next(fitting, max(names, key=lambda sign: len(names[sign])))


def _parquet(path: Path, columns: Columns) -> Iterator[tuple[str, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check_columns(str(path), names, columns)
            number = 0
            for batch in file.iter_batches(columns=_wanted(names, columns)):
                for fields in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", fields
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file: {error}") from None


def _saved(
    path: Path, columns: Columns, given_as: str
) -> Iterator[tuple[str, Mapping[str, Any], str | None]]:
    """Read a saved Dataset, or the splits of a DatasetDict, which have names."""
    if not is_saved_dataset(str(path)):
        raise UserError(
            f"{given_as}: {path} is no folder that datasets saved (save_to_disk); give one, or a file"
        )
    try:
        datasets = importlib.import_module("datasets")
    except ImportError:
        raise UserError(
            f"{given_as}: {path} is a folder of datasets, which is not installed; pip install datasets"
        ) from None
    try:
        found = datasets.load_from_disk(str(path))
    except Exception as error:
        words = shortened(" ".join(str(error).split()), 120)
        raise UserError(f"{path}: datasets cannot load it: {words}") from error
    tables = found.items() if isinstance(found, Mapping) else [(None, found)]
    for split, table in tables:
        name = str(path) if split is None else f"{path}, {split}"
        _check_columns(name, table.column_names, columns, is_split=split is not None)
        for number, fields in enumerate(table.select_columns(_wanted(table.column_names, columns)), 1):
            yield f"{name}, row {number}", fields, split


def _wanted(names: list[str], columns: Columns) -> list[str]:
    wanted = [columns.prompt, columns.answer, *([columns.split] if columns.split else [])]
    return [name for name in dict.fromkeys(wanted) if name in names]


def _check_columns(place: str, names: list[str], columns: Columns, is_split: bool = False) -> None:
    """Raise UserError unless the columns are there."""
    for key, name in (("prompt", columns.prompt), ("answer", columns.answer), ("split", columns.split or "")):
        needed = key != "split" or (columns.needs_split and not is_split)
        if needed and name not in names:
            raise UserError(
                f"{place}: no column {name!r}; it has {', '.join(map(str, names)) or 'none'}; "
                f"say which one it is with task.{key}_column"
            )
        if names.count(name) > 1:
            raise UserError(f"{place}: {names.count(name)} columns are named {name!r}; rename or drop one")


def _row(place: str, fields: Mapping[str, Any], columns: Columns, split: str | None) -> Row:
    _check_columns(place, list(fields), columns, is_split=split is not None)
    prompt = _as_text(fields[columns.prompt], f"{place}: the prompt ({columns.prompt})")
    answer, word = fields[columns.answer], f"{place}: the answer ({columns.answer})"
    if isinstance(answer, list | tuple):
        if not answer:
            raise UserError(f"{word} is an empty list; give at least one right answer")
        answers = tuple(dict.fromkeys(_as_text(each, word) for each in answer))
    else:
        answers = (_as_text(answer, word),)
    if split is None and columns.split is not None and columns.split in fields:
        split = _as_text(fields[columns.split], f"{place}: the split ({columns.split})")
    return Row(place, prompt, answers, split)


def _as_text(value: Any, word: str) -> str:
    """Return text, or a number as text. Raises UserError for what is empty or neither."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise UserError(f"{word} is {'missing' if value is None else 'empty'}; drop the row, or fill it in")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserError(
            f"{word} is neither text nor a number: {shortened(json.dumps(value, default=str), 60)}"
        )
    return str(value)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise UserError(f"{path}: it is UTF-16; save it as UTF-8") from None
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8 text; save it as UTF-8") from None


_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
_SPLIT_OF = {name: split for split, names in _NAMES.items() for name in names}


def split_of(row: Row) -> str | None:
    """Return the split that a row names: train, validation or test. Raises UserError for another name."""
    if row.split is None:
        return None
    found = _SPLIT_OF.get(row.split.strip().lower())
    if found is None:
        raise UserError(f"{row.place}: {unknown('split', row.split, _SPLIT_OF)}")
    return found
