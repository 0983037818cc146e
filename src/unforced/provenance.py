"""Where the parts of a run come from that are not the package's own: parts.json, and `parts` of env.json.

    [{"kind": "objective", "name": "mixture", "file": "/home/ada/mine.py", "sha256": "9f2c..."},
     {"kind": "model", "name": "gru", "distribution": "recurrent", "version": "1.2"}]

A part that was defined in a notebook cell has neither: other processes cannot have it.
"""

import hashlib
import importlib.metadata
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unforced.errors import PartWarning, UserError
from unforced.files import read_json
from unforced.parts import Config, Part, parts_of
from unforced.plugins import import_from, load_file, plugin_of
from unforced.registry import DECODERS, HEADS, MODELS, OBJECTIVES, TASKS, Registry, file_of
from unforced.wording import offered, typed

PARTS = "parts.json"
"""The file of a run folder that holds the records of its parts."""
Record = Mapping[str, str]
_REGISTRIES = {registry.kind: registry for registry in (TASKS, MODELS, OBJECTIVES, HEADS, DECODERS)}
_by_record: set[str] = set()  # files that were loaded because a run folder names them


def records_of(config: Config) -> list[dict[str, str]]:
    """Say of every part that is not the package's own which file (absolute) or distribution it is from."""
    found = {(part.registry.kind, part.name): _record(part) for part in parts_of(config)}
    return [record for record in found.values() if record]


def read_records(path: Path) -> list[dict[str, str]]:
    """Read parts.json; empty where there is none. Raises UserError."""
    if not path.is_file():
        return []
    records = read_json(path)
    if not isinstance(records, list) or not all(map(_is_record, records)):
        raise UserError(f"{path}: not a list of parts; delete it, and {_load('their files')}")
    return records


def load_parts(records: Iterable[Record]) -> None:
    """Load the files that records name, unless their parts are known already. Raises UserError.

    A file that has changed, and one that is gone, is a PartWarning.
    """
    for record in records:
        registry = _REGISTRIES[record["kind"]]
        if "file" in record:
            _load_from_file(registry, record)
        elif "distribution" in record:
            _check_version(record)


def origin_in_words(records: Iterable[Record], part: str) -> str:
    """Say where an unknown part, as in "objective 'mixture'", came from and how to have it."""
    for record in records:
        if part == f"{record['kind']} {record['name']!r}":
            if "file" in record:
                return f"{part} came from {record['file']}, which is gone; {_load('the file that has it')}"
            if "distribution" in record:
                whole = f"{record['distribution']} {record['version']}"
                return (
                    f"{part} came from {whole}, which is not installed here; install {record['distribution']}"
                )
            return f"{part} was defined in a notebook or a session; put it into a file, and {_load('that')}"
    return (
        f"{part} is not installed here; install the package that the run had it from, or "
        f"{_load('the file that has it')}"
    )


def _load(file: str) -> str:
    """Say how a file with parts is loaded."""
    return f"name {file} with {typed('plugin', 'FILE.py')}" if offered("plugin") else f"import {file} first"


def check_elsewhere(config: Config) -> None:
    """Raise UserError if another process could not have a part: one that only this session knows."""
    for record in records_of(config):
        if "file" not in record and "distribution" not in record:
            raise UserError(
                f"{record['kind']} {record['name']!r} is defined in this session alone; put it into a file, "
                "so that the processes of a study know it"
            )


def _record(part: Part) -> dict[str, str]:
    cls, registry = type(part), part.registry
    source = registry.source(part.name)
    if source is None:
        return {}
    record = {"kind": registry.kind, "name": part.name}
    if source.distribution:
        return record | {"distribution": source.distribution, "version": source.version}
    if plugin := plugin_of(cls):
        return record | {"file": str(plugin.path), "sha256": plugin.sha256}
    file = file_of(cls)
    if file is None or not Path(file).is_file():
        return record
    record |= {"file": file, "sha256": _digest(Path(file))}
    return record if cls.__module__ == "__main__" else record | {"module": cls.__module__}


def _load_from_file(registry: Registry, record: Record) -> None:
    name, file = record["name"], Path(record["file"])
    part = f"{registry.kind} {name!r}"
    if not _is_chosen(registry, name) and not _has(registry, record):
        if not file.is_file():
            return  # reading the config says what is missing
        if "module" not in record or not import_from(record["module"], file):
            load_file(file)
            _by_record.add(str(file))
    if name not in registry.names():
        return
    now = _record_of_class(registry, name)
    if now.get("file") != record["file"]:
        gone = "" if file.is_file() else ", which is gone"
        other = "" if now.get("sha256") == record["sha256"] else ", which is not the same"
        warnings.warn(
            f"{part} came from {file}{gone}; it is taken from {now.get('file', 'this session')}{other}",
            PartWarning,
            stacklevel=2,
        )
    elif now["sha256"] != record["sha256"]:
        warnings.warn(f"{file} has changed since a run with its {part} was begun", PartWarning, stacklevel=2)


def _is_chosen(registry: Registry, name: str) -> bool:
    """Whether a part is known for another reason than that a run folder names its file."""
    return name in registry.names() and _record_of_class(registry, name).get("file") not in _by_record


def _has(registry: Registry, record: Record) -> bool:
    """Whether a part is known from a file of the content that is recorded."""
    name = record["name"]
    return name in registry.names() and _record_of_class(registry, name).get("sha256") == record["sha256"]


def _record_of_class(registry: Registry, name: str) -> dict[str, str]:
    """Return the record of a part that is known by its name."""
    cls = registry.get(name)
    plugin, file = plugin_of(cls), file_of(cls)
    if plugin is not None:
        return {"file": str(plugin.path), "sha256": plugin.sha256}
    return {} if file is None else {"file": file, "sha256": _digest(Path(file))}


def _check_version(record: Record) -> None:
    try:
        version = importlib.metadata.version(record["distribution"])
    except importlib.metadata.PackageNotFoundError:
        return  # reading the config says what is missing
    if version != record["version"]:
        warnings.warn(
            f"{record['distribution']} is {version} here, and was {record['version']} when a run with its "
            f"{record['kind']} {record['name']!r} was begun",
            PartWarning,
            stacklevel=2,
        )


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _is_record(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(isinstance(item, str) for item in value.values())
        and value.get("kind") in _REGISTRIES
        and "name" in value
        and ("file" not in value or "sha256" in value)
        and ("distribution" not in value or "version" in value)
    )
