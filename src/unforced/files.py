"""Files that are written whole or not at all, and folders that one process has to itself."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from unforced.errors import PassingError, UserError

LOCK = ".lock"
_LONGER_THAN_A_LOOK = 0.2  # seconds


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a crash, a kill or a full disk leaves the old content or the new, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    """Write JSON, atomically; on one line, if `indent` is None."""
    write_atomically(path, (json.dumps(value, indent=indent) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON. Raises UserError if the file is absent or no JSON."""
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON, or cut short: {error}") from None


@contextlib.contextmanager
def locked(folder: Path, taken: str) -> Iterator[None]:
    """Have a folder to oneself, until the context or the process ends. Raises UserError if it is `taken`."""
    until = time.monotonic() + _LONGER_THAN_A_LOOK
    with (folder / LOCK).open("a") as lock:
        while not _take(lock):
            if time.monotonic() > until:
                raise PassingError(f"{folder}: {taken}")
            time.sleep(_LONGER_THAN_A_LOOK / 10)
        yield


def is_locked(folder: Path) -> bool:
    """Say whether another process has a folder to itself; to look takes it for an instant."""
    if not (folder / LOCK).exists():
        return False
    with (folder / LOCK).open("a") as lock:
        return not _take(lock)


def _take(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
