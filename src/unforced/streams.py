"""Standard output and standard error of which a failure, or an encoding, ends no run."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from unforced.errors import TEMPORARY

BROKEN_PIPE = 141
"""The exit code of a process whose output is read no further: 128 + SIGPIPE."""


class LastingStream(io.TextIOBase):
    """A text stream that drops what cannot be written and replaces characters that its encoding lacks.

    failure: why the first text was dropped; empty while all was written. `stream` None is a closed stream.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream, self.failure = stream, ""

    def write(self, text: str) -> int:
        """Write text if that is possible. Returns its length in any case."""
        if self.stream is None:
            self.failure = self.failure or "it is closed"
        elif not self.failure:
            try:
                self.stream.write(text)
            except UnicodeEncodeError:
                encoding = self.stream.encoding or "ascii"
                return self.write(text.encode(encoding, "replace").decode(encoding))
            except (OSError, ValueError) as error:  # ValueError: the stream was closed
                self._fail(error)
        return len(text)

    def flush(self) -> None:
        """Flush if that is possible."""
        if self.stream is not None and not self.failure:
            try:
                self.stream.flush()
            except (OSError, ValueError) as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.failure = error.strerror if isinstance(error, OSError) and error.strerror else str(error)

    def writable(self) -> bool:
        """Whether text is taken: always."""
        return True

    def isatty(self) -> bool:
        """Whether this is a terminal."""
        return self.stream is not None and not self.stream.closed and self.stream.isatty()

    def fileno(self) -> int:
        """Return the file descriptor. Raises OSError if there is none."""
        if self.stream is None:
            raise OSError("a closed stream has no file descriptor")
        return self.stream.fileno()

    def __getattribute__(self, name: str) -> Any:
        if name in ("encoding", "errors", "buffer"):  # TextIOBase defines them, as None
            return getattr(object.__getattribute__(self, "stream"), name, None)
        return object.__getattribute__(self, name)


def lasting(stream: TextIO | None) -> LastingStream:
    """Return a stream that never fails to write."""
    return stream if isinstance(stream, LastingStream) else LastingStream(stream)


class Streams:
    """The standard streams of a command."""

    def __init__(self, errors: LastingStream) -> None:
        self.errors = errors

    def finish(self, code: int, as_json: bool) -> int:
        """Flush what was printed, and print once what could not be; return the exit code, given so far.

        as_json: standard output takes nothing but JSON.
        """
        self.errors.flush()
        if self.errors.failure and not as_json:
            with contextlib.suppress(OSError, ValueError):
                print(f"unforced: standard error cannot be written: {self.errors.failure}; messages are lost")
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            code = BROKEN_PIPE
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            print(f"unforced: standard output cannot be written: {reason}", file=self.errors)
            self.errors.flush()
            code = code or TEMPORARY
        else:
            return code
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # the interpreter flushes it at its end
        return code


def is_broken(stream: TextIO | None) -> bool:
    """Whether what was printed to a stream cannot be written."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        return True
    return False


@contextlib.contextmanager
def lasting_streams() -> Iterator[Streams]:
    """Let a failure of standard error end nothing, and replace characters that an encoding lacks.

    A process may be started with its standard streams closed. Then the next files that it opens would take
    their descriptors, and get what libraries print; so the null device takes them first.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if isinstance(sys.stdout, io.TextIOWrapper) and not _takes_everything(sys.stdout):
        sys.stdout.reconfigure(errors="replace")
    errors, before = lasting(sys.stderr), sys.stderr
    sys.stderr = errors
    try:
        yield Streams(errors)
    finally:
        # The interpreter flushes standard error at its end, and exits with 120 where that fails.
        sys.stderr = open(os.devnull, "w") if errors.failure else before  # noqa: SIM115


def _takes_everything(stream: io.TextIOWrapper) -> bool:
    return stream.encoding.lower().replace("-", "") == "utf8" and stream.errors != "strict"
