"""Problems in files: the paper's text lines, and Parquet."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
from pydantic import TypeAdapter, ValidationError

from unforced.errors import UserError, unknown
from unforced.files import write_atomically
from unforced.tasks.base import EMPTY, Order, Problems, Symbols, Task, in_order

SUFFIXES = (".txt", ".parquet")
MOST_SYMBOLS = 500_000_000  # in one file: some gigabytes of memory, some minutes
Columns = dict[str, list[Any]]
_SYMBOLS = ("prompt_symbols", "answer_symbols")
_PART = 1 << 16


def most_problems(task: Task) -> int:
    """Return how many problems of a task one file takes."""
    return MOST_SYMBOLS // (task.prompt_length + task.answer_length)


def write_problems(
    path: Path, task: Task, problems: Problems, order: Order, origin: dict[str, Any] | None = None
) -> None:
    """Write problems as text lines (.txt) or as a table (.parquet) by the suffix of `path`.

    The table has the columns prompt and answer (text), prompt_symbols and answer_symbols (lists of
    integers); its metadata holds the task, the order and their `origin`. Raises UserError if the file
    exists or cannot be written, or the suffix is another.
    """
    check_suffix(path)
    try:
        if path.exists():
            raise UserError(f"{path} exists; nothing was written, choose another --out")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            write_atomically(path, _text(task, problems, order))
        else:
            origin = {"task": task.model_dump(mode="json"), "order": order, **(origin or {})}
            write_atomically(path, _parquet(task, problems, order, origin))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; nothing was written, choose another --out") from None


def read_problems(
    path: Path,
    family: type[Task],
    order: Order | None = None,
    known: Mapping[str, Any] = EMPTY,
    default_order: Order = "forward",
) -> tuple[Task, Problems, Order]:
    """Read and verify what `write_problems` wrote, or the paper's own files.

    What a Parquet file says of itself fills in what is not given; a file that does not say its order
    has `default_order`. Raises UserError with the line number.
    """
    check_suffix(path)
    known = _checked(family, known)
    if not path.is_file():
        raise UserError(f"{path}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
    symbols: Columns = {}
    written: Mapping[str, Any] = {}
    if path.suffix == ".parquet":
        lines, symbols, origin = _read_parquet(path)
        order, written = order or origin["order"], _checked(family, origin["task"])
        known = {**written, **known}
    else:
        lines = _read_text(path)
    order = order or default_order
    task, problems = family.read_lines(lines, str(path), order, known)
    for key, value in known.items():
        if getattr(task, key) != value:
            raise UserError(f"{path}: its problems have {key}={getattr(task, key)}, not {value}")
    if symbols:
        as_written = task.model_copy(update=written)
        if as_written.prompt_length != task.prompt_length:
            raise UserError(f"{path}: its metadata says {as_written}, its text {task}")
        _check_symbols(path, lines, symbols, _symbols(as_written, problems, order))
    return task, problems, order


def _checked(family: type[Task], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of the task as it holds them: JSON has lists where it has tuples."""
    checked = {}
    for key, value in known.items():
        if key not in family.model_fields:
            raise unknown("field", key, family.model_fields)
        field = family.model_fields[key]
        kind: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]
        try:
            checked[key] = kind.validate_python(
                tuple(value) if isinstance(value, list) else value, strict=True
            )
        except ValidationError as error:
            raise UserError(f"{key}: {error.errors()[0]['msg']}, not {value!r}") from None
    return checked


def check_suffix(path: Path) -> None:
    """Raise UserError unless `path` ends in a known suffix."""
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"{path}: unknown format {path.suffix!r}; use a name that ends in {' or '.join(SUFFIXES)}"
        )


def _read_text(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file") from None


def _parts(problems: Problems) -> Iterator[Problems]:
    """Cut problems into parts, so that their text is never in memory at once."""
    for start in range(0, len(problems), _PART):
        yield problems.take(slice(start, start + _PART))


def _text(task: Task, problems: Problems, order: Order) -> bytes:
    return b"".join(("\n".join(task.lines(part, order)) + "\n").encode() for part in _parts(problems))


def _parquet(task: Task, problems: Problems, order: Order, origin: dict[str, Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    integers = pa.list_(pa.int32())
    columns = {"prompt": pa.string(), "answer": pa.string(), **dict.fromkeys(_SYMBOLS, integers)}
    schema = pa.schema(columns.items(), metadata={"unforced": json.dumps(origin)})
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema) as writer:
        for part in _parts(problems):
            writer.write_table(pa.table(_columns(task, part, order), schema=schema))
    return bytes(sink.getvalue())


def _columns(task: Task, problems: Problems, order: Order) -> dict[str, list[Any]]:
    prompts, answers = zip(*(line.split("=") for line in task.lines(problems, order)), strict=True)
    symbols = _symbols(task, problems, order)
    return {
        "prompt": [f"{prompt}=" for prompt in prompts],
        "answer": list(answers),
        **{name: list(np.ascontiguousarray(rows, dtype=np.int32)) for name, rows in symbols.items()},
    }


def _symbols(task: Task, problems: Problems, order: Order) -> dict[str, Symbols]:
    rows = (task.prompts(problems), in_order(task.answers(problems), order))
    return dict(zip(_SYMBOLS, rows, strict=True))


def _check_symbols(path: Path, lines: list[str], given: Columns, true: Mapping[str, Symbols]) -> None:
    """Raise UserError unless each column of symbols says what the text says, row by row."""
    rows = [row for row, line in enumerate(lines) if line.strip()]
    for name, column in given.items():
        for row, expected in zip(rows, true[name].tolist(), strict=True):
            if column[row] != expected:
                raise UserError(f"{path}:{row + 1}: its {name} are not those of its text")


def _read_parquet(path: Path) -> tuple[list[str], Columns, dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file: {error}") from None
    missing = {"prompt", "answer"} - set(table.column_names)
    if missing:
        raise UserError(f"{path}: no column {sorted(missing)[0]!r}; it needs prompt and answer")
    origin = _origin(path, (table.schema.metadata or {}).get(b"unforced", b"{}"))
    pairs = zip(table["prompt"].to_pylist(), table["answer"].to_pylist(), strict=True)
    symbols = {name: table[name].to_pylist() for name in _SYMBOLS if name in table.column_names}
    return [f"{prompt}{answer}" for prompt, answer in pairs], symbols, origin


def _origin(path: Path, metadata: bytes) -> dict[str, Any]:
    """Read what a table says of itself; what it does not say is left open."""
    try:
        said = {"task": {}, "order": None, **json.loads(metadata)}
    except (ValueError, TypeError):
        said = {"task": None}
    if not isinstance(said["task"], dict) or said["order"] not in (None, *get_args(Order)):
        raise UserError(f"{path}: its metadata is damaged")
    return said
