"""How messages name settings: what is `count=300` in Python is `--count 300` on the command line.

setting          in Python               on the command line
count            count=300               --count 300
model.encoding   model.encoding=symbol   model.encoding=symbol   a field of a run's config: its path

Whoever raises an error says which setting it is about. How that is spelled is said once, where settings are
given: by the command line, and by a function or verb whose own arguments stand for fields of a run
(`renamed`).
"""

import contextlib
import shlex
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

Names = Mapping[str, str | None]
"""What settings are called in one place, where not as elsewhere; None: they cannot be given there."""


@dataclass(frozen=True)
class _Place:
    """Where settings are given: as arguments or as options, and those with another name there.

    A name with a dot is a field's path, and one in capitals is that of an argument without an option.
    """

    style: Literal["arguments", "options"]
    names: Names


_PYTHON = _Place("arguments", MappingProxyType({"plugin": None}))
_COMMAND_LINE = _Place("options", MappingProxyType({}))
_PLACE = ContextVar("place", default=_PYTHON)


@contextlib.contextmanager
def on_the_command_line() -> Iterator[None]:
    """Spell settings as options within this context."""
    with _at(_COMMAND_LINE):
        yield


@contextlib.contextmanager
def renamed(names: Names) -> Iterator[None]:
    """Call settings otherwise within this context."""
    place = _PLACE.get()
    with _at(replace(place, names={**place.names, **names})):
        yield


@contextlib.contextmanager
def _at(place: _Place) -> Iterator[None]:
    token = _PLACE.set(place)
    try:
        yield
    finally:
        _PLACE.reset(token)


def offered(setting: str) -> bool:
    """Whether a setting can be given at all."""
    return _name(setting) is not None


def named(setting: str) -> str:
    """Name a setting, as what an error is about: `count`, `--count`."""
    name = _name(setting) or setting
    return _option(name) if _PLACE.get().style == "options" and _is_argument(name) else name


def typed(setting: str, value: object = None) -> str:
    """Say how a setting is given, with or without a value: `count=300`, `count=`; `--count 300`, `--count`.

    value: True for a switch; a text in capitals stands for what is to be filled in.
    """
    name = _name(setting) or setting
    if not _is_argument(name):
        return name if value is None else f"{name}={value}"
    if _PLACE.get().style == "options":
        option = _option(name)
        return option if value is None or value is True else f"{option} {shlex.quote(str(value))}"
    blank = isinstance(value, str) and value.isupper()
    return f"{name}={'' if value is None else value if blank else repr(value)}"


def _name(setting: str) -> str | None:
    return _PLACE.get().names.get(setting, setting)


def _is_argument(name: str) -> bool:
    return "." not in name and not name.isupper()


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
