"""Rows of data that a user brings: JSON lines, CSV, Parquet, or a folder that `datasets` saved.

    {"prompt": "capital of France?", "answer": "Paris"}              a line of data.jsonl
    {"prompt": "a colour of the flag?", "answer": ["red", "white"]}  with several right answers

Lines are counted as an editor counts them, rows of tables from 1.
"""

import codecs
import contextlib
import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unforced.errors import UserError, shortened
from unforced.tasks.own_data.arrow import parquet_rows, saved_rows
from unforced.tasks.own_data.columns import Columns, check_columns

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
_SIGNS = {",": "commas", ";": "semicolons", "\t": "tabs"}  # between the fields of a CSV file


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
        yield from saved_rows(path, columns, name)
        return
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        yield from ((place, fields, None) for place, fields in _json_lines(path))
    elif suffix in (".csv", ".tsv"):
        yield from ((place, fields, None) for place, fields in _csv(path, columns))
    elif suffix == ".parquet":
        yield from ((place, fields, None) for place, fields in parquet_rows(path, columns))
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
        try:  # numbers stay as they are written
            fields = json.loads(line, parse_int=str, parse_float=str, object_pairs_hook=_Object)
        except (ValueError, RecursionError):
            raise UserError(
                f"{place}: not JSON; each line is an object with the prompt and the answer"
            ) from None
        if not isinstance(fields, _Object):
            raise UserError(f"{place}: not an object with the prompt and the answer")
        if fields.twice:
            raise UserError(f"{place}: {fields.twice!r} is there twice; rename or drop one")
        yield place, fields


class _Object(dict[str, Any]):
    """An object of JSON; twice: a name that it has twice, if it has one."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        names = [name for name, _ in pairs]
        self.twice = next((name for name in names if names.count(name) > 1), "")


def _csv(path: Path, columns: Columns) -> Iterator[tuple[str, Mapping[str, Any]]]:
    text = _text(path)
    if not text.strip():
        raise UserError(f"{path}: no rows in it; its first line names the columns, as in prompt,answer")
    with _fields_of(len(text)):
        yield from list(_csv_rows(text, path, columns))


@contextlib.contextmanager
def _fields_of(most: int) -> Iterator[None]:
    """Let the csv module read fields of so many characters within this context."""
    before = csv.field_size_limit()
    csv.field_size_limit(max(before, most + 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _csv_rows(text: str, path: Path, columns: Columns) -> Iterator[tuple[str, Mapping[str, Any]]]:
    sign = _separator(text, path, columns)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=sign, restkey="", strict=True)
    check_columns(str(path), list(reader.fieldnames or []), columns)
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


def _row(place: str, fields: Mapping[str, Any], columns: Columns, split: str | None) -> Row:
    check_columns(place, list(fields), columns, is_split=split is not None)
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
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{word} is no number, but {value}; drop the row, fill it in, or write it as text")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserError(
            f"{word} is neither text nor a number: {shortened(json.dumps(value, default=str), 60)}"
        )
    text = str(value)
    if not is_whole(text):
        raise UserError(f"{word} has half a character (a lone surrogate) in {shortened(ascii(text), 60)}")
    return text


def is_whole(text: str) -> bool:
    """Whether text has no half of a character that UTF-16 writes in two, as a text cut by machine may."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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
_OTHERS = [name for name in _SPLIT_OF if name not in _NAMES]


def split_of(row: Row) -> str | None:
    """Return the split that a row names: train, validation or test. Raises UserError for another name."""
    if row.split is None:
        return None
    found = _SPLIT_OF.get(row.split.strip().lower())
    if found is None:
        names = ", ".join(_NAMES)
        raise UserError(
            f"{row.place}: {row.split!r} is no split; it may be {names} (or {', '.join(_OTHERS)}); "
            "if these are no splits, task.split_column=null splits the data by hash of the prompt"
        )
    return found
