"""Configs recorded by different versions: fields that were added later get their defaults."""

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
    parts = {key: _completed([config[key] for config in trees], key) for key in _PARTS}
    whole = _completed(trees, "")
    return [config | {key: parts[key][i] for key in _PARTS} for i, config in enumerate(whole)]


def _completed(trees: Sequence[Tree], part: str) -> list[Tree]:
    names = [str(config["name"]) if part else "" for config in trees]
    fields: dict[str, dict[str, None]] = {}
    for name, config in zip(names, trees, strict=True):
        fields.setdefault(name, {}).update(dict.fromkeys(config))
    return [_filled(config, part, name, fields[name]) for name, config in zip(names, trees, strict=True)]


def _filled(config: Tree, part: str, name: str, fields: Mapping[str, None]) -> Tree:
    if not fields.keys() - config.keys():
        return config
    if not part:
        setting_keys = {*Settings.model_fields, *Settings.former_names, "schema_version"}
        settings = {key: value for key, value in config.items() if key in setting_keys}
        parts = {key: value for key, value in config.items() if key not in setting_keys}
        return dict.fromkeys(fields) | _read(Settings, settings) | parts  # a part that is missing is null
    try:
        return _read(_PARTS[part].get(name), config)
    except (UserError, ImportError):
        return config


def _read(kind: type[Config], config: Tree) -> Tree:
    return tree(read(kind, config, recorded=True))
