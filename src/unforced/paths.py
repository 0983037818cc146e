"""Paths that a user gives, as they are recorded."""

import hashlib
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase

SAVED_DATASET = ("dataset_dict.json", "dataset_info.json")
"""Files of a folder that `datasets` saved, one of which is there."""
_TOKENIZER = (
    "*.model",
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)


def absolute_path(name_or_path: str) -> str:
    """Return the absolute path that is meant by a name or path which a user gives now; links are kept.

    A path is absolute, begins with `./`, `../` or `~/`, or is that of a folder. All else is returned as it
    is: a name (on the hub, say).
    """
    path = os.path.expanduser(name_or_path)
    relative = path in (os.curdir, os.pardir) or path.startswith((f".{os.sep}", f"..{os.sep}"))
    if not path or not (os.path.isabs(path) or relative or os.path.isdir(path)):
        return name_or_path
    plain, kept = os.path.abspath(path), os.path.join(os.getcwd(), path)
    through_a_link = os.path.exists(kept) and not (os.path.exists(plain) and os.path.samefile(plain, kept))
    return kept if through_a_link else plain  # what `LINK/..` is, only the file system knows


def absolute_file(path: str) -> str:
    """Return the absolute path of data that a user names now; links are kept."""
    return os.path.abspath(os.path.expanduser(path))


def is_saved_dataset(path: str) -> bool:
    """Whether a folder is one that `datasets` saved."""
    return any(os.path.isfile(os.path.join(path, name)) for name in SAVED_DATASET)


def data_sha256(path: str) -> str:
    """Hash a file, all files of a folder that `datasets` saved, or a tokenizer's of another folder.

    Of files in a folder, names count as well. Empty where there are none, where a file cannot be read, and
    for a name, which is not an absolute path.
    """
    if not os.path.isabs(path):
        return ""
    try:
        if not os.path.isdir(path):
            with open(path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        names = sorted(_names_of_dataset(path) if is_saved_dataset(path) else _names_of_tokenizer(path))
        digest = hashlib.sha256()
        for name in names:
            with open(os.path.join(path, name), "rb") as file:
                digest.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
        return digest.hexdigest() if names else ""
    except OSError:
        return ""


def _names_of_dataset(folder: str) -> Iterator[str]:
    for place, _, files in os.walk(folder):
        for name in files:
            if not name.startswith("cache-"):  # what `datasets` keeps beside the data
                yield os.path.relpath(os.path.join(place, name), folder)


def _names_of_tokenizer(folder: str) -> Iterator[str]:
    for name in os.listdir(folder):
        if any(fnmatchcase(name, pattern) for pattern in _TOKENIZER):
            yield name
