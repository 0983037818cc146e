"""Problems in files: lines of text, Parquet, and JSON lines.

Text and JSON lines are read by the tasks that can tell problems from text (path-star: the paper's files).
Problems of other tasks come back from Parquet, which says of what task, seed and split they are, and where in
its stream each one is: they are made again, and compared with the symbols in the file.
"""

import codecs
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from unforced.errors import UserError, unknown
from unforced.files import write_atomically
from unforced.parts import read
from unforced.tasks.base import EMPTY, Order, Problems, Symbols, Task
from unforced.tasks.sampling import block
from unforced.wording import typed

SUFFIXES = (".txt", ".parquet", ".jsonl")
MOST_SYMBOLS = 500_000_000  # in one file: some gigabytes of memory, some minutes
Columns = dict[str, list[Any]]
_SYMBOLS = ("prompt_symbols", "answer_symbols")
_MARKS = ("decisive", "given_away")
_INDEX = "index"
_PART = 1 << 16


def most_problems(task: Task) -> int:
    """Return how many problems of a task one file takes."""
    return MOST_SYMBOLS // (task.prompt_length + task.answer_length)


def write_problems(
    path: Path, task: Task, problems: Problems, order: Order, origin: dict[str, Any] | None = None
) -> None:
    """Write problems as text (.txt), a table (.parquet) or JSON objects (.jsonl), by the suffix of `path`.

    Tables and objects have the columns prompt and answer (text), prompt_symbols and answer_symbols (lists of
    integers, without padding); decisive and given_away (lists of booleans, one for each answer symbol; see
    `Lookahead`) where answers are forward and it is known what needs lookahead; and, if `origin` has a seed
    and a split, the index of each problem in that stream (`origin["index"]`, from 0 if it is not there).
    A table's metadata holds the task, the order and the rest of their `origin`. Raises UserError if the file
    exists or cannot be written, or the suffix is another.
    """
    check_suffix(path)
    try:
        if path.exists():
            raise UserError(f"{path} exists; nothing was written, choose another {typed('out')}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".txt":
            write_atomically(path, _text(task, problems, order))
        else:
            origin = {"task": task.model_dump(mode="json"), "order": order, **(origin or {})}
            index = origin.pop("index", range(len(problems))) if "seed" in origin else None
            write = _parquet if path.suffix.lower() == ".parquet" else _json_lines
            write_atomically(path, write(task, problems, order, origin, index))
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}; nothing was written, choose another {typed('out')}"
        ) from None


def read_problems(
    path: Path,
    family: type[Task],
    order: Order | None = None,
    known: Mapping[str, Any] = EMPTY,
    default_order: Order = "forward",
) -> tuple[Task, Problems, Order]:
    """Read and verify what `write_problems` wrote, or the paper's own files.

    The metadata of a Parquet file fill in what is not given; a file that does not say its order
    has `default_order`. Raises UserError with the line number.
    """
    check_suffix(path)
    known = _checked(family, known)
    if not path.is_file():
        raise UserError(f"{path}: {_kind_of(path)}")
    reader = read(family, {}).text.reader
    if reader is None:
        return _made_again(path, family, order, known)
    symbols: Columns = {}
    written: Mapping[str, Any] = {}
    if path.suffix.lower() in (".parquet", ".jsonl"):
        read_table = _read_parquet if path.suffix.lower() == ".parquet" else _read_json_lines
        lines, symbols, origin = read_table(path)
        symbols.pop(_INDEX, None)
        order, written = order or origin["order"], _checked(family, origin["task"])
        known = {**written, **known}
    else:
        lines = _read_text(path)
    order = order or default_order
    task, problems = reader(lines, str(path), order, known)
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


def lines_of(path: Path) -> list[int]:
    """Return the line of each problem in a file that can be read, from 1; of a table, the row."""
    if path.suffix.lower() == ".parquet":
        return list(range(1, 1 + len(_read_parquet(path)[0])))
    return [number for number, line in enumerate(_read_text(path), start=1) if line.strip()]


def task_of(path: Path) -> str | None:
    """Return the name of the task that a table's metadata hold; None where data are of no known task.

    Raises UserError for a file that `write_problems` wrote, and that does not say of what task it is.
    """
    written = path.suffix.lower() == ".txt"
    if path.suffix.lower() == ".parquet" and path.is_file():
        import pyarrow.parquet as pq

        metadata = pq.read_schema(path).metadata or {}
        name = _origin(path, metadata.get(b"unforced", b"{}"))["task"].get("name")
        if name is not None:
            return str(name)
    elif path.suffix.lower() == ".jsonl" and path.is_file():
        first = next((line for line in _read_text(path) if line.strip()), "")
        written = all(f'"{name}":' in first for name in _SYMBOLS)
    if written:
        raise UserError(f"{path}: it does not say of what task it is; give {typed('task', 'NAME')}")
    return None


def check_suffix(path: Path) -> None:
    """Raise UserError unless `path` ends in a known suffix."""
    if path.suffix.lower() not in SUFFIXES:
        known = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise UserError(f"{path}: unknown format {path.suffix!r}; use a name that ends in {known}")


def _kind_of(path: Path) -> str:
    """Say what a path is that is not a file."""
    if path.is_dir():
        return "a folder, not a file"
    return (
        "a pipe or a device; write its content to a file, and give that" if path.exists() else "no such file"
    )


def _read_text(path: Path) -> list[str]:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            reason = "it is UTF-16; save it as UTF-8"
        else:
            line = content.count(b"\n", 0, error.start) + 1
            reason = f"line {line} is not UTF-8 text; save it as UTF-8"
        raise UserError(f"{path}: {reason}") from None


def _parts(problems: Problems) -> Iterator[Problems]:
    """Cut problems into parts, so that their text is never in memory at once."""
    for start in range(0, len(problems), _PART):
        yield problems.take(slice(start, start + _PART))


def _text(task: Task, problems: Problems, order: Order) -> bytes:
    return b"".join(("\n".join(task.lines(part, order)) + "\n").encode() for part in _parts(problems))


def _parquet(
    task: Task, problems: Problems, order: Order, origin: dict[str, Any], index: Sequence[int] | None
) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = arrow_tables(task, problems, order, origin, index)
    first = next(tables)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, first.schema) as writer:
        for table in itertools.chain([first], tables):
            writer.write_table(table)
    return bytes(sink.getvalue())


def arrow_tables(
    task: Task, problems: Problems, order: Order, origin: dict[str, Any], index: Sequence[int] | None
) -> Iterator[Any]:
    """Yield problems as Arrow tables, part by part; see `write_problems`."""
    import pyarrow as pa

    integers = pa.list_(pa.int32())
    columns = {"prompt": pa.string(), "answer": pa.string(), **dict.fromkeys(_SYMBOLS, integers)}
    if _are_marked(task, order):
        columns |= dict.fromkeys(_MARKS, pa.list_(pa.bool_()))
    if index is not None:
        columns[_INDEX] = pa.int64()
    schema = pa.schema(columns.items(), metadata={"unforced": json.dumps(origin)})
    for table in _tables(task, problems, order, index):
        yield pa.table(table, schema=schema)


def _json_lines(
    task: Task, problems: Problems, order: Order, origin: dict[str, Any], index: Sequence[int] | None
) -> bytes:
    lines = []
    for table in _tables(task, problems, order, index):
        for row in zip(*table.values(), strict=True):
            values = (value.tolist() if isinstance(value, np.ndarray) else value for value in row)
            lines.append(json.dumps(dict(zip(table, values, strict=True)), ensure_ascii=False))
    return ("\n".join(lines) + "\n").encode()


def _tables(task: Task, problems: Problems, order: Order, index: Sequence[int] | None) -> Iterator[Columns]:
    """Yield the columns of the problems, part by part."""
    first = 0
    for part in _parts(problems):
        table = columns_of(task, part, order)
        if index is not None:
            table[_INDEX] = list(index[first : first + len(part)])
        first += len(part)
        yield table


def columns_of(task: Task, problems: Problems, order: Order) -> Columns:
    """Return texts, symbols and marks of problems; see `write_problems`."""
    prompts, answers = zip(*task.texts(problems, order), strict=True)
    symbols = _symbols(task, problems, order)
    table: Columns = {
        "prompt": list(prompts),
        "answer": list(answers),
        **{name: [row[row >= 0].astype(np.int32) for row in rows] for name, rows in symbols.items()},
    }
    ahead = task.lookahead
    if ahead is not None and _are_marked(task, order):
        lengths = task.exists(task.answers(problems)).sum(axis=1)
        for name, marks in zip(_MARKS, (ahead.decisive(problems), ahead.given_away(problems)), strict=True):
            table[name] = [row[:length] for row, length in zip(marks, lengths, strict=True)]
    return table


def _are_marked(task: Task, order: Order) -> bool:
    """Whether it is known which symbols need lookahead; of reversed answers none does."""
    return task.lookahead is not None and order == "forward"


def _symbols(task: Task, problems: Problems, order: Order) -> dict[str, Symbols]:
    rows = (task.prompts(problems), task.in_order(task.answers(problems), order))
    return dict(zip(_SYMBOLS, rows, strict=True))


def _made_again(
    path: Path, family: type[Task], order: Order | None, known: Mapping[str, Any]
) -> tuple[Task, Problems, Order]:
    """Make the problems of a Parquet file again from its origin. Raises UserError if they are not these."""
    name = family.model_fields["name"].default
    if path.suffix.lower() != ".parquet":
        raise UserError(
            f"{path}: problems of {name} cannot be told from text; "
            "give a .parquet file of `unforced data export`"
        )
    lines, columns, origin = _read_parquet(path)
    lacking = {"seed", "split"} - set(origin)
    if _INDEX not in columns or lacking or not lines:
        raise UserError(
            f"{path}: it does not say which problems of {name} it holds: no seed, split and index"
        )
    task = read(family, {**origin["task"], **known}, recorded=True)
    if order not in (None, origin["order"]):
        raise UserError(f"{path}: its answers are {origin['order']}, not {order}")
    index = np.array(columns.pop(_INDEX), dtype=np.int64)
    made = _at(task, origin["seed"], origin["split"], index)
    _check_symbols(path, lines, columns, _symbols(task, made, origin["order"]))
    return task, made, origin["order"]


def _at(task: Task, seed: int, split: str, index: NDArray[np.int64]) -> Problems:
    """Return the problems at these places of a stream."""
    numbers, places = np.divmod(index, task.block_size)
    parts = [block(task, seed, split, number) for number in np.unique(numbers).tolist()]
    within = np.searchsorted(np.unique(numbers), numbers) * task.block_size + places
    return type(parts[0]).concatenate(parts).take(within)


def origin_of(path: Path) -> dict[str, Any]:
    """Return the seed, the split and the indices of a Parquet file's problems, if it says them."""
    if path.suffix.lower() != ".parquet":
        return {}
    _, columns, origin = _read_parquet(path)
    if _INDEX not in columns or "seed" not in origin or "split" not in origin:
        return {}
    return {"seed": origin["seed"], "split": origin["split"], "index": columns[_INDEX]}


def _check_symbols(path: Path, lines: list[str], given: Columns, true: Mapping[str, Symbols]) -> None:
    """Raise UserError unless each column of symbols says what the text says, row by row."""
    rows = [row for row, line in enumerate(lines) if line.strip()]
    for name, column in given.items():
        for row, expected in zip(rows, true[name], strict=True):
            if column[row] != expected[expected >= 0].tolist():
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
    symbols = {name: table[name].to_pylist() for name in (*_SYMBOLS, _INDEX) if name in table.column_names}
    return [f"{prompt}{answer}" for prompt, answer in pairs], symbols, origin


def _read_json_lines(path: Path) -> tuple[list[str], Columns, dict[str, Any]]:
    lines: list[str] = []
    columns: Columns = {}
    rows = _read_text(path)
    for number, line in enumerate(rows, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            lines.append(f"{row['prompt']}{row['answer']}")
        except (ValueError, RecursionError):
            raise UserError(f"{path}:{number}: not JSON") from None
        except (KeyError, TypeError):
            raise UserError(f"{path}:{number}: not an object with prompt and answer") from None
        for name in _SYMBOLS:
            if name in row:
                columns.setdefault(name, []).append(row[name])
    for name, column in columns.items():
        if len(column) != len(lines):
            raise UserError(
                f"{path}: {len(column)} of its {len(lines)} objects have {name}; all or none must"
            )
    return lines, columns, {"task": {}, "order": None}


def _origin(path: Path, metadata: bytes) -> dict[str, Any]:
    """Read the metadata of a table; missing entries are left open."""
    try:
        said = {"task": {}, "order": None, **json.loads(metadata)}
    except (ValueError, TypeError):
        said = {"task": None}
    if not isinstance(said["task"], dict) or said["order"] not in (None, *get_args(Order)):
        raise UserError(f"{path}: its metadata is damaged")
    return said
