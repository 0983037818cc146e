"""Rows of own data from tables of Arrow: a Parquet file, or a folder that `datasets` saved.

Numbers become text as Arrow writes them, the shortest decimal that is the same number in the column's type: a
float 5.0 is `5`, as whole numbers beside a missing one are kept as floats. A label of classes is its name.
"""

import importlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unforced.errors import UserError, shortened
from unforced.paths import is_saved_dataset
from unforced.tasks.own_data.columns import Columns, check_columns

_ROWS = 1 << 12  # read at once
_NO_NUMBERS = ("nan", "inf", "-inf")
Features = Mapping[str, Any]
"""What `datasets` says of each column."""


def parquet_rows(path: Path, columns: Columns) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the place and the fields of each row. Raises UserError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            check_columns(str(path), schema.names, columns)
            features = _features((schema.metadata or {}).get(b"huggingface"))
            begin = 0
            for batch in file.iter_batches(_ROWS, columns=_wanted(schema.names, columns)):
                yield from _rows(pa.Table.from_batches([batch]), str(path), begin, features)
                begin += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file: {error}") from None


def saved_rows(
    path: Path, columns: Columns, given_as: str
) -> Iterator[tuple[str, Mapping[str, Any], str | None]]:
    """Yield the place and the fields of each row, and the split of its table, if that has a name.

    Splits of a saved DatasetDict do not count where no column is to name splits. Raises UserError.
    """
    for split, table in _tables(path, given_as):
        name = str(path) if split is None else f"{path}, {split}"
        check_columns(name, table.column_names, columns, is_split=split is not None)
        wanted = table.select_columns(_wanted(table.column_names, columns)).with_format("arrow")
        features, counted = table.features.to_dict(), split if columns.split is not None else None
        begin = 0
        for part in wanted.iter(_ROWS):
            yield from ((*row, counted) for row in _rows(part, name, begin, features))
            begin += len(part)


def _tables(path: Path, given_as: str) -> list[tuple[str | None, Any]]:
    """Load a saved Dataset, or the splits of a DatasetDict, which have names. Raises UserError."""
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
    return list(found.items()) if isinstance(found, Mapping) else [(None, found)]


def _wanted(names: list[str], columns: Columns) -> list[str]:
    wanted = [columns.prompt, columns.answer, *([columns.split] if columns.split else [])]
    return [name for name in dict.fromkeys(wanted) if name in names]


def _features(metadata: bytes | None) -> Features:
    """Return what `datasets` wrote into a Parquet file about its columns; nothing, if another wrote it."""
    try:
        found = json.loads(metadata or b"{}")["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _rows(table: Any, name: str, begin: int, features: Features) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the rows of a part of a table, whose first one is row `begin`, from 0."""
    names = table.column_names
    columns = [_values(table.column(each), name, begin, _classes(features.get(each))) for each in names]
    for number, fields in enumerate(zip(*columns, strict=True), begin + 1):
        yield f"{name}, row {number}", dict(zip(names, fields, strict=True))


def _values(column: Any, name: str, begin: int, classes: list[str]) -> list[Any]:
    """Return the values of a column: floats as text (but those that are no numbers), classes by name."""
    import pyarrow as pa

    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if pa.types.is_floating(kind.value_type if is_list else kind):
        text = column.cast(pa.list_(pa.string()) if is_list else pa.string())
        return [
            _each(value, lambda one: math.nan if one in _NO_NUMBERS else one) for value in text.to_pylist()
        ]
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        raise UserError(f"{name}, row {begin + _undecodable(column)}: not UTF-8 text") from None
    known = dict(enumerate(classes))
    return [_each(value, known.get) for value in values] if classes else values


def _undecodable(column: Any) -> int:
    """Return the first row of a column that is not UTF-8, from 1."""
    for number, value in enumerate(column, 1):
        try:
            value.as_py()
        except UnicodeDecodeError:
            return number
    return len(column)


def _each(value: Any, change: Any) -> Any:
    """Change a value, or each one of a list."""
    return [change(one) for one in value] if isinstance(value, list) else change(value)


def _classes(feature: Any) -> list[str]:
    """Return the names of classes, if `datasets` calls a column one of classes, or of lists of them."""
    while isinstance(feature, list) or (isinstance(feature, Mapping) and "feature" in feature):
        feature = feature[0] if isinstance(feature, list) and feature else dict(feature).get("feature")
    is_label = isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel"
    return list(feature["names"]) if is_label else []
