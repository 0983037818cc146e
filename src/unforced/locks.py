"""Folders that one process has to itself.

The lock is the operating system's on the file `.lock` (flock on Linux and macOS): it ends with the process
that holds it, however that ends. Some network file systems have none (Lustre mounted without `flock`, NFS
without a lock daemon). There, the existence of `.lock.soft` is the lock: it names its holder, and a holder
that was killed can leave it behind. The file is then removed by hand, or by the next process on the same
machine where the file system allows it.
"""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from unforced.errors import TransientError

LOCK = ".lock"
_SOFT = ".lock.soft"
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
_LONGER_THAN_A_LOOK = 0.2  # seconds


@contextlib.contextmanager
def locked(folder: Path, taken: str) -> Iterator[None]:
    """Have a folder to oneself, until the context or the process ends.

    Raises TransientError if it is `taken`, and OSError, which names the lock's file, if it cannot be locked.
    """
    try:
        lock = _acquire(folder, _LONGER_THAN_A_LOOK)
    except Timeout as error:
        raise TransientError(f"{folder}: {taken}{_holder(Path(error.lock_file))}") from None
    try:
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Say whether another process has a folder to itself; to look takes it for an instant.

    False where the lock cannot be read: taking it then raises the reason.
    """
    if not (folder / LOCK).exists():
        return False
    try:
        _acquire(folder, 0.0).release()
    except Timeout:
        return True
    except OSError:
        return False
    return False


def _acquire(folder: Path, timeout: float) -> BaseFileLock:
    """Take the lock. Raises Timeout if another process holds it, OSError if it cannot be taken at all."""
    lock: BaseFileLock = FileLock(folder / LOCK, timeout, fallback_to_soft=False)
    try:
        return _taken(lock)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    return _taken(SoftFileLock(folder / _SOFT, timeout))


def _taken(lock: BaseFileLock) -> BaseFileLock:
    try:
        lock.acquire()
    except Timeout:  # which is an OSError, too
        raise
    except OSError as error:
        raise OSError(
            error.errno, f"cannot be locked ({error.strerror or error})", str(lock.lock_file)
        ) from error
    return lock


def _holder(file: Path) -> str:
    """Name the process that holds a lock which is only a file, and what to do if it is gone."""
    if file.name != _SOFT:
        return ""
    try:
        process, machine = file.read_text().splitlines()[:2]
    except (OSError, ValueError):
        return f"; if no process does, delete {file}"
    return f"; process {process} on {machine} does; if it has ended, delete {file}"
