"""The newest line of a growing metrics.jsonl, read incrementally."""

import json
import os
from typing import Any

from unforced.errors import UserError
from unforced.runs.folder import RunFolder
from unforced.runs.schemas import Evaluation, check


class Tail:
    """Follows a run's metrics.jsonl; each call reads only the lines appended since the last one."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._file: int | None = None  # its number on the disk: a resumed run replaces the file
        self._read = 0
        self._latest: dict[str, Any] | None = None

    def latest(self) -> dict[str, Any] | None:
        """Return the newest complete line; None if there is none or it is damaged."""
        try:
            with self.folder.metrics.open("rb") as file:
                self._follow(file.fileno())
                file.seek(self._read)
                appended = file.read()
        except OSError:
            return None
        lines, end, _ = appended.rpartition(b"\n")
        if end:
            self._read += len(lines) + 1
            self._latest = _evaluation(lines.rpartition(b"\n")[2])
        return self._latest

    def _follow(self, handle: int) -> None:
        """Start over if the file was replaced or has become shorter."""
        state = os.fstat(handle)
        if state.st_ino != self._file or state.st_size < self._read:
            self._file, self._read, self._latest = state.st_ino, 0, None


def _evaluation(line: bytes) -> dict[str, Any] | None:
    try:
        return check(Evaluation, json.loads(line), "metrics.jsonl")
    except (ValueError, RecursionError, UserError):
        return None
