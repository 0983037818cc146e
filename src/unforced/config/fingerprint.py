"""Which runs are the same: a fingerprint to name them by, and a comparison of trees to decide."""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

SCHEMA = 2  # of fingerprints; the first release's hashed every field
_OPERATIONAL = ("checkpoint_every", "keep_checkpoints")


def fingerprint(changed: Mapping[str, Any]) -> str:
    """Hash what is not at its default (16 hexadecimal digits): a new field with a default changes nothing."""
    return _digest({"schema": SCHEMA, **changed})


def tree_digest(recorded: Mapping[str, Any]) -> str:
    """Hash a config as it was recorded, defaults and all; the first release's fingerprint of a run."""
    return _digest({key: value for key, value in recorded.items() if key not in _OPERATIONAL})


def changes(
    was: Mapping[str, Any], now: Mapping[str, Any], ignored: Collection[str], hashes: Collection[str]
) -> list[str]:
    """Return the dotted keys in which two flat trees differ, but for those that are ignored.

    hashes: keys of data's hashes; where one of the two did not record a hash, the data count as the same.
    """
    unknown = {key for key in hashes if not was.get(key) or not now.get(key)}
    keys = dict.fromkeys([*was, *now])
    return [key for key in keys if was.get(key) != now.get(key) and key not in {*ignored, *unknown}]


def _digest(tree: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]
