"""What a run's config is made of: frozen models, and parts that are chosen by name through a registry.

    class Mixture(Objective):
        name: Literal["mixture"] = "mixture"
        parts: tuple[Named[Objective], ...]        # ["next_token", {"name": "teacherless"}] in JSON

A part of one's own (a class of a file, of a notebook cell) is known by its name once a config holds it.

A config is read from JSON values by `read`, and written by `tree`. When a default changes, its class's
`schema_version` grows by one, and `earlier_defaults` keeps the old default:

    schema_version: ClassVar[int] = 2
    earlier_defaults: ClassVar[...] = {1: {"init_std": 0.02}}

Then fingerprints of the two differ, and a config that was recorded before the change, and does not state the
field, is read with the old default. A new field with a default needs neither. A field or a value that got
another name is also read by its old one:

    former_names: ClassVar[...] = {"smear": "token_shift"}
    former_values: ClassVar[...] = {"attention": {"fused": "sdpa"}}
"""

import json
from abc import ABC
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from unforced.errors import ConfigError, unknown
from unforced.paths import absolute_file, absolute_path, data_sha256
from unforced.plugins import is_in_file, part_in_file
from unforced.registry import Registry

Tree = dict[str, Any]

_RECORDED, _SETTLED = "recorded", "settled"
_VERSION = "schema_version"


class Role(Enum):
    """What a field of a run is for; a field without a role decides how the run comes out.

    Written on the field: `num_test: Annotated[int, Role.MEASURING] = Field(...)`.
    """

    OPERATIONAL = "changes nothing about the experiment"
    MEASURING = "changes what is measured of a run, not the run"
    TRAINING_SET = "describes a finite training set; null in a stream"
    LENGTH = "decides how long a run takes; names a group of runs only where nothing else does"


def keys_of(config: type[BaseModel], role: Role) -> tuple[str, ...]:
    """Return the names of the fields that have a role, in their order."""
    return tuple(key for key, field in config.model_fields.items() if role in field.metadata)


class Config(BaseModel):
    """A frozen model of exact types, which knows the number of its schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    schema_version: ClassVar[int] = 1
    """Grows by one when a default changes."""
    earlier_defaults: ClassVar[Mapping[int, Mapping[str, Any]]] = MappingProxyType({})
    """By version: the defaults that were changed when the next version was made."""
    former_names: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """By former name of a field: its name."""
    former_values: ClassVar[Mapping[str, Mapping[str, str]]] = MappingProxyType({})
    """By field: its value by the former name of that value."""
    path_fields: ClassVar[tuple[str, ...]] = ()
    """The fields that hold the path of a folder, which is made absolute where it is given, or a name."""
    file_fields: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """By field that holds the path of data (a file or a folder): the field that holds its SHA-256.

    Where the path is given, it is made absolute, and the hash is filled in; a config that was recorded keeps
    it, so that what reads the data can refuse data that have changed. One of `path_fields` may also hold a
    name, which has no hash. An empty hash is unknown.
    """

    @model_validator(mode="before")
    @classmethod
    def _read_fields(cls, fields: Any, info: Any) -> Any:  # a ValidationInfo, which beartype cannot check
        if not isinstance(fields, dict):
            return fields
        known = 1 if info.context == _RECORDED else cls.schema_version
        version = fields.get(_VERSION, known)
        if type(version) is not int or version < 1:
            raise ValueError(f"{_VERSION}: {version!r} is not a version; they count from 1")
        if version > cls.schema_version:
            line = f".{_VERSION}: {version} is newer than {cls.schema_version}, the newest known here"
            raise _Mistake(line, newer=True).for_pydantic()
        fields = {key: _tuples(value) for key, value in fields.items() if key != _VERSION}
        fields = cls.renamed(fields)
        if info.context is None:
            fields = settled(cls, fields)
        for earlier in range(version, cls.schema_version):
            fields = {**cls.earlier_defaults.get(earlier, {}), **fields}
        return fields

    @classmethod
    def renamed(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields with present names; a former name replaces the present one (it was typed)."""
        former = {cls.former_names[key]: value for key, value in fields.items() if key in cls.former_names}
        present = {key: value for key, value in fields.items() if key not in cls.former_names} | former
        for key, values in cls.former_values.items():
            if isinstance(present.get(key), str):
                present[key] = values.get(present[key], present[key])
        return present


class Part(Config, ABC):
    """A config that has a name in a registry: a task, a model, an objective."""

    registry: ClassVar[Registry]
    name: str


AnyConfig = TypeVar("AnyConfig", bound=Config)
AnyPart = TypeVar("AnyPart", bound=Part)


class _ByName:
    """Lets a field take a name, or the fields of a part with its name, in place of the part."""

    def __get_pydantic_core_schema__(self, source: type[Part], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_before_validator_function(partial(_build, source), handler(source))


Named = Annotated[SerializeAsAny[AnyPart], _ByName()]
"""A part by its name: `Named[Objective]`, anywhere in a config, in `tuple[Named[Objective], ...]`, too.

A name may be that of a class in a file: `mine.py:Mixture`.
"""


def parts_of(config: Config) -> Iterator[Part]:
    """Return the parts that a config is made of, and theirs."""
    for key in type(config).model_fields:
        value = getattr(config, key)
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, Part):
                yield item
            if isinstance(item, Config):
                yield from parts_of(item)


def is_recorded(info: Any) -> bool:
    """Whether a validator reads a config that was recorded. info: pydantic's ValidationInfo."""
    return bool(info.context == _RECORDED)


def settled(kind: type[Config], fields: Mapping[str, Any]) -> Tree:
    """Make paths absolute in fields that are given now, so that they mean the same from everywhere."""
    found = dict(fields)
    for key in kind.path_fields:
        if isinstance(fields.get(key), str):
            found[key] = absolute_path(fields[key])
    for key, digest in kind.file_fields.items():
        if isinstance(fields.get(key), str) and fields[key]:
            if key not in kind.path_fields:
                found[key] = absolute_file(fields[key])
            found[digest] = fields.get(digest) or data_sha256(found[key])
        elif key in fields:
            found[digest] = ""
    return found


def settled_part(kind: type[Part], fields: Any) -> Any:
    """Make paths absolute in what is given for a part, if it has a name and fields."""
    name = fields.get("name") if isinstance(fields, Mapping) else None
    if not isinstance(name, str) or name not in kind.registry.names():
        return fields
    return settled(kind.registry.get(name), fields)


def read(
    kind: type[AnyConfig], fields: Mapping[str, Any], *, recorded: bool = False, is_settled: bool = False
) -> AnyConfig:
    """Build a config from JSON values. Raises ConfigError: one line that names the path.

    recorded: the values were written by `tree`, maybe by an earlier version of the package. is_settled: they
    are a config's, changed by values whose paths are absolute. In both cases the file system is not asked.
    """
    try:
        context = _RECORDED if recorded else _SETTLED if is_settled else None
        return kind.model_validate(dict(fields), context=context)
    except ValidationError as error:
        raise _first_mistake(kind, error).error() from None


def read_part(kind: type[AnyPart], path: str, value: Any) -> AnyPart:
    """Build a part from its name, or its fields with the name. Raises ConfigError, beginning with `path`."""
    try:
        return kind.model_validate(_build(kind, value, None))
    except PydanticCustomError as error:
        raise _mistake_of(error.context, path).error() from None


def read_within(kind: type[AnyConfig], value: Any, info: Any) -> AnyConfig:
    """Build a config in a validator of another one, whose path goes before that of a mistake.

    info: pydantic's ValidationInfo, or None.
    """
    try:
        return kind.model_validate(value, context=info and info.context)
    except ValidationError as error:
        raise _first_mistake(kind, error).below().for_pydantic() from None


def tree(config: Config, *, changed: bool = False) -> Tree:
    """Return the fields as JSON values; with `changed`, only names and what is not at its default."""
    dumped = config.model_dump(mode="json")
    version = type(config).schema_version
    found: Tree = {_VERSION: version} if version > 1 else {}
    for key, field in type(config).model_fields.items():
        value = getattr(config, key)
        default = field.get_default(call_default_factory=True)
        if not changed or key == "name" or type(value) is not type(default) or value != default:
            found[key] = _as_json(value, dumped[key], changed)
    return found


def _as_json(value: Any, dumped: Any, changed: bool) -> Any:
    if isinstance(value, Config):
        return tree(value, changed=changed)
    if isinstance(value, list | tuple):
        return [_as_json(*pair, changed) for pair in zip(value, dumped, strict=True)]
    return dumped


def _build(kind: type[Part], value: Any, info: Any) -> Any:
    """Turn a name, or fields with a name, into a part. info: pydantic's, or None.

    A part is left as it is; its class becomes known by its name.
    """
    if isinstance(value, kind):
        kind.registry.add(type(value))
    if isinstance(value, BaseModel):
        return value
    if isinstance(value, str):
        value = {"name": value}
    registry = kind.registry
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise _Mistake(f": give a name, one of {', '.join(registry.names())}").for_pydantic()
    name = value["name"]
    if is_in_file(name):
        name = part_in_file(registry, name)
        value = value | {"name": name}
    if name not in registry.names():
        nearest = unknown(registry.kind, name, registry.names())
        raise _Mistake(f": {nearest}", part=f"{registry.kind} {name!r}").for_pydantic()
    return read_within(registry.get(name), value, info)


@dataclass(frozen=True)
class _Mistake:
    """What is wrong with a config, in words that a path may go before; else as in ConfigError."""

    line: str
    part: str = ""
    newer: bool = False

    def below(self) -> "_Mistake":
        """Let the path of the part go before."""
        return replace(self, line=f".{self.line}")

    def for_pydantic(self) -> PydanticCustomError:
        """Return the error that carries this through pydantic, which adds the path."""
        return PydanticCustomError("mistake", "{line}", {"line": self.line, "mistake": self})

    def error(self) -> ConfigError:
        """Return the error for the user."""
        path, _, rest = self.line.partition(": ")
        line = rest if rest.startswith(f"unknown {path} ") else self.line  # not "task: unknown task"
        return ConfigError(line, self.part, self.newer)


def _first_mistake(kind: type[Config], error: ValidationError) -> _Mistake:
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")  # one that is misspelt
    places = [str(place) for place in first["loc"] if not str(place).startswith("function-")]
    path = ".".join(places)
    if first["type"] == "mistake":
        return _mistake_of(first["ctx"], path)
    if first["type"] == "value_error":  # a validator's, whose words begin with the key
        return _Mistake(".".join([*places, str(first["ctx"]["error"])]))
    if first["type"] == "extra_forbidden":
        return _Mistake(
            f"{path}: {unknown('key', places[-1], _kind_at(kind, places).model_fields)}", newer=True
        )
    if first["type"] == "missing":
        return _Mistake(f"{path}: missing")
    if first["type"] in ("too_short", "too_long"):
        least = first["type"] == "too_short"
        limit = first["ctx"]["min_length" if least else "max_length"]
        items = f"{limit} item{'s' * (limit != 1)}"
        count = first["ctx"]["actual_length"]
        return _Mistake(f"{path}: should have at {'least' if least else 'most'} {items}, not {count}")
    if first["type"] == "model_type":
        keys = ", ".join(_kind_at(kind, places).model_fields)
        first["msg"] = f"input should be an object with keys of {keys}"
    message = (first["msg"][0].lower() + first["msg"][1:]).replace("tuple", "list")
    given = json.dumps(first["input"], default=str)
    return _Mistake(f"{path}: {message}, not {given if len(given) < 80 else given[:80] + '...'}")


def _kind_at(kind: type[BaseModel], places: Iterable[str]) -> type[BaseModel]:
    """Return the config that a path leads to or into: that of a part's fields, of an item of a list."""
    for place in places:
        field = kind.model_fields.get(place)
        kind = kind if field is None else next(_configs_in(field.annotation), kind)
    return kind


def _configs_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _configs_in(inner)


def _mistake_of(context: Mapping[str, Any] | None, path: str) -> _Mistake:
    mistake: _Mistake = (context or {})["mistake"]
    return replace(mistake, line=f"{path}{mistake.line}".removeprefix("."))


def _tuples(value: Any) -> Any:
    """Turn JSON's lists into what configs have in their place."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
