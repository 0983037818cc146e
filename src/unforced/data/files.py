"""Problems in files: the paper's text lines, and Parquet."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
from pydantic import TypeAdapter, ValidationError

from unforced.errors import UserError, unknown
from unforced.files import write_atomically
from unforced.tasks.base import EMPTY, Order, Problems, Task, in_order

SUFFIXES = (".txt", ".parquet")


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
        lines = task.lines(problems, order)
        if path.suffix == ".txt":
            write_atomically(path, ("\n".join(lines) + "\n").encode())
        else:
            origin = {"task": task.model_dump(mode="json"), "order": order, **(origin or {})}
            write_atomically(path, _parquet(lines, task, problems, order, origin))
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
        raise UserError(f"{path}: no such file")
    if path.suffix == ".parquet":
        lines, origin = _read_parquet(path)
        order = order or origin["order"]
        known = _checked(family, origin["task"]) | known
    else:
        lines = _read_text(path)
    order = order or default_order
    task, problems = family.read_lines(lines, str(path), order, known)
    for key, value in known.items():
        if getattr(task, key) != value:
            raise UserError(f"{path}: its problems have {key}={getattr(task, key)}, not {value}")
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
        return path.read_text().split("\n")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file") from None


def _parquet(lines: list[str], task: Task, problems: Problems, order: Order, origin: dict[str, Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    prompts, answers = zip(*(line.split("=") for line in lines), strict=True)
    columns = {
        "prompt": [f"{prompt}=" for prompt in prompts],
        "answer": list(answers),
        "prompt_symbols": _rows(task.prompts(problems)),
        "answer_symbols": _rows(in_order(task.answers(problems), order)),
    }
    table = pa.table(columns).replace_schema_metadata({"unforced": json.dumps(origin)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def _rows(symbols: np.ndarray) -> list[np.ndarray]:
    return list(np.ascontiguousarray(symbols, dtype=np.int32))


def _read_parquet(path: Path) -> tuple[list[str], dict[str, Any]]:
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
    return [f"{prompt}{answer}" for prompt, answer in pairs], origin


def _origin(path: Path, metadata: bytes) -> dict[str, Any]:
    """Read what a table says of itself; what it does not say is left open."""
    try:
        said = {"task": {}, "order": None, **json.loads(metadata)}
    except (ValueError, TypeError):
        said = {"task": None}
    if not isinstance(said["task"], dict) or said["order"] not in (None, *get_args(Order)):
        raise UserError(f"{path}: its metadata is damaged")
    return said
