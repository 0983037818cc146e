"""Files that are written whole or not at all."""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unforced.errors import UserError
from unforced.locks import LOCK

_HOME = re.compile(r"~[^/=\s]*/")


@contextlib.contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """Give a path to write a file to, which becomes `path` at the end of the context.

    A crash, a kill, a full disk or lost power leaves the old content or the new, never a part.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        with draft.open("r+b") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:  # Ctrl-C, too
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """See the names in a folder onto the disk, where the operating system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, see `atomically`."""
    with atomically(path) as draft:
        draft.write_bytes(content)


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    """Write JSON, atomically; on one line, if `indent` is None."""
    write_atomically(path, (json.dumps(value, indent=indent) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON. Raises UserError if the file is absent or no JSON."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON, or cut short: {error}") from None


def expand_home(text: str) -> str:
    """Expand `~/` and `~user/` at the beginning of text that is a path; other text stays as it is.

    A shell expands neither behind `=`. The path of an unknown user stays as it is.
    """
    return os.path.expanduser(text) if _HOME.match(text) else text


def is_blank(folder: Path, marker: Path, inner: Path, first: str = LOCK) -> bool:
    """Whether nothing is in a folder but what a kill can leave while it is made.

    That is its lock, a draft of its `marker`, the folder `inner`, empty, and a file that is written `first`.
    """
    if not folder.is_dir():
        return False
    own = (LOCK, f".{marker.name}.", first, f".{first}.")
    left = [each for each in folder.iterdir() if not each.name.startswith(own)]
    return not left or (left == [inner] and not any(inner.iterdir()))
