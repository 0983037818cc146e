"""Configs as trees of JSON values: `dotted.key -> value`, and `dotted.key=value` as it is typed."""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from unforced.errors import UserError, unknown
from unforced.files import expand_home
from unforced.parts import Tree

_NUMBER = re.compile(r"-?(\.[0-9]{1,30}|[0-9]{1,30}\.)")  # which JSON does not take for one


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn a nested tree into `dotted.key -> value`; parts in a list have numbers: `parts.0.name`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            value = {str(index): item for index, item in enumerate(value)}
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def assignments(texts: Iterable[str]) -> Tree:
    """Read `key=value` texts into a tree, as overrides are read."""
    tree: Tree = {}
    for text in texts:
        assign(tree, text, ())
    return tree


def other_decoder(texts: Iterable[str]) -> Any:
    """Read `decoder=NAME` and `decoder.KEY=VALUE`; None where nothing is given. Raises UserError."""
    tree: Tree = {"decoder": {}}
    for text in texts:
        if not text.startswith(("decoder=", "decoder.")):
            raise UserError(
                f"{text!r}: a run is measured as it was trained, by its decoder or another one: "
                "decoder=NAME, decoder.KEY=VALUE"
            )
        assign(tree, text, ("decoder",))
        if not tree["decoder"]:
            raise UserError(f"{text}: name a decoder; where none is given, the run's own decodes")
    return tree["decoder"] or None


def assign(tree: Tree, assignment: str, parts: Collection[str]) -> None:
    """Carry out `dotted.key=value` in a tree. Raises UserError.

    A value is read as JSON (.8 and 8. as numbers, too), and as text where it is not JSON; `~/` at its
    beginning is the home folder. The items of a list are counted from 0.
    parts: the keys at the top that name parts, so that a name may be given to one that is null.
    """
    path, equals, text = assignment.partition("=")
    if not equals or not path or not path.isprintable():
        raise UserError(f"{assignment!r} is not an override; write dotted.key=value, as in seed=3")
    *parents, leaf = path.split(".")
    node: Any = tree
    for depth, parent in enumerate(parents):
        node = _below(node, parent, path, ".".join(parents[: depth + 1]))
    value = _value(text)
    if isinstance(node, list):
        place = _index(node, leaf, path)
        node[place] = _in_place_of(node[place], value)
    elif node is tree and leaf in parts:
        node[leaf] = {"name": value} if isinstance(value, str) else value
    else:
        node[leaf] = _in_place_of(node.get(leaf), value)


def _in_place_of(known: Any, value: Any) -> Any:
    """Return a value; in place of a part, a name as the fields of one, which may be set next."""
    return {"name": value} if isinstance(value, str) and isinstance(known, dict) else value


def _below(node: Any, key: str, path: str, above: str) -> Any:
    """Return what has keys of its own, or items, at a key."""
    if isinstance(node, list):
        place = _index(node, key, path)
        if isinstance(node[place], str):
            node[place] = {"name": node[place]}  # a part, chosen by name a moment ago
        found, nested = node[place], []
    else:
        found, nested = node.get(key), [each for each, value in node.items() if _is_nested(value)]
    if isinstance(found, dict | list):
        return found
    if isinstance(found, float):  # a number may give way to a schedule
        fields: Tree = {}
        node[int(key) if isinstance(node, list) else key] = fields
        return fields
    if not isinstance(node, list) and key in node and found is None:
        raise UserError(f"{path}: {above} is null; write {above}=VALUE before it")
    if isinstance(node, list) or key in node or not nested:
        raise UserError(f"{path}: {key} has no keys below it; write {above}=value")
    raise UserError(f"{path}: {unknown('key', key, nested)}")


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
    )


def _index(items: list[Any], key: str, path: str) -> int:
    if not key.isascii() or not key.isdigit() or len(key) > 9 or int(key) >= len(items):
        limit = f"its items are 0 to {len(items) - 1}" if items else "it is empty"
        raise UserError(f"{path}: {key!r} is not an item of this list; {limit}")
    return int(key)


def with_quoting(message: str, assignments: Iterable[str]) -> str:
    """Say in a message how to type a value: text that JSON takes for something else, or lists and objects."""
    for assignment in assignments:
        path, _, text = assignment.partition("=")
        is_meant = message.startswith(f"{path}:") or repr(text) in message
        if is_meant and text[:1] in ("[", "{") and isinstance(_value(text), str):
            example = '["a", 0.5]' if text.startswith("[") else '{"a": 0.5}'
            advice = "text has double quotes, and numbers begin with a digit"
            return f"{path}: {text} is not JSON: {advice}, as in '{path}={example}'"
        if message.startswith(f"{path}: input should be a valid string, not "):
            value = _value(text)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            kind = "a number" if is_number else "JSON"
            return f"{path}: {text} is read as {kind}, not as text; quote it: '{path}=\"{text}\"'"
    return message


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return float(text) if _NUMBER.fullmatch(text) else expand_home(text)
