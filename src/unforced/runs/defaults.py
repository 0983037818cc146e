"""Configs of runs that were recorded by different versions: fields that came later get their defaults."""

from collections.abc import Mapping, Sequence

from unforced.config.settings import Settings
from unforced.errors import UserError
from unforced.parts import Config, Tree, read, tree
from unforced.registry import MODELS, OBJECTIVES, TASKS

_PARTS = {"task": TASKS, "model": MODELS, "objective": OBJECTIVES}


def with_defaults(trees: Sequence[Tree]) -> list[Tree]:
    """Give each config the fields that others have and it lacks, those of the run and of parts of one name.

    A part's class is imported only where a field is missing; an unknown part stays as it is.
    """
    parts = {key: _completed([each[key] for each in trees], key) for key in _PARTS}
    whole = _completed(trees, "")
    return [each | {key: parts[key][i] for key in _PARTS} for i, each in enumerate(whole)]


def _completed(trees: Sequence[Tree], part: str) -> list[Tree]:
    names = [str(each["name"]) if part else "" for each in trees]
    fields: dict[str, dict[str, None]] = {}
    for name, each in zip(names, trees, strict=True):
        fields.setdefault(name, {}).update(dict.fromkeys(each))
    return [_filled(each, part, name, fields[name]) for name, each in zip(names, trees, strict=True)]


def _filled(known: Tree, part: str, name: str, fields: Mapping[str, None]) -> Tree:
    if not fields.keys() - known.keys():
        return known
    if not part:
        known_keys = {*Settings.model_fields, *Settings.former_names, "schema_version"}
        settings = {key: value for key, value in known.items() if key in known_keys}
        parts = {key: value for key, value in known.items() if key not in known_keys}
        return dict.fromkeys(fields) | _read(Settings, settings) | parts  # a part that is missing is null
    try:
        return _read(_PARTS[part].get(name), known)
    except (UserError, ImportError):
        return known


def _read(kind: type[Config], known: Tree) -> Tree:
    return tree(read(kind, known, recorded=True))
