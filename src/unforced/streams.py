"""Standard output and standard error whose failure, or encoding, ends no run."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from unforced.errors import TEMPORARY

BROKEN_PIPE = 141
"""The exit code of a process whose output is read no further: 128 + SIGPIPE."""


class LastingStream(io.TextIOBase):
    """A text stream that drops what cannot be written and replaces characters that its encoding lacks.

    failure: why the first text was dropped, None while everything was written. `stream` None is closed.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.failure: Exception | None = None

    def write(self, text: str) -> int:
        """Write text if that is possible. Returns its length in any case."""
        if self.stream is None:
            self.failure = self.failure or ValueError("it is closed")
        elif self.failure is None:
            try:
                self.stream.write(text)
            except UnicodeEncodeError:
                encoding = self.stream.encoding or "ascii"
                return self.write(text.encode(encoding, "replace").decode(encoding))
            except (OSError, ValueError) as error:  # ValueError: the stream was closed
                self.failure = error
        return len(text)

    def flush(self) -> None:
        """Flush if that is possible."""
        if self.stream is not None and self.failure is None:
            try:
                self.stream.flush()
            except (OSError, ValueError) as error:
                self.failure = error

    @property
    def reason(self) -> str:
        """Why writing failed, for a message."""
        return str(getattr(self.failure, "strerror", None) or self.failure)

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

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of what is written."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    @property
    def buffer(self) -> Any:
        """The stream of bytes below. Raises AttributeError if there is none."""
        return self.stream.buffer


def lasting(stream: Any) -> LastingStream:
    """Return a stream that never fails to write."""
    return stream if isinstance(stream, LastingStream) else LastingStream(stream)


class Streams:
    """The standard streams of a command."""

    def __init__(self, output: LastingStream, errors: LastingStream) -> None:
        self.output, self.errors = output, errors

    def finish(self, code: int, as_json: bool) -> int:
        """Flush both, and say once on either that the other could not be written; return the exit code.

        code: the exit code so far. as_json: standard output takes nothing but JSON.
        """
        self.errors.flush()
        if self.errors.failure and not as_json:
            lost = f"unforced: standard error cannot be written ({self.errors.reason}): messages were lost"
            print(lost, file=self.output)
        self.output.flush()
        if self.output.stream is None or self.output.failure is None:
            return code
        if isinstance(self.output.failure, BrokenPipeError):
            return code or BROKEN_PIPE
        print(f"unforced: standard output cannot be written: {self.output.reason}", file=self.errors)
        self.errors.flush()
        return code or TEMPORARY


@contextlib.contextmanager
def lasting_streams() -> Iterator[Streams]:
    """Let no failure of the standard streams end the command.

    A process may be started with its standard streams closed. Then the next files that it opens would take
    their descriptors, and get what libraries print; so the null device takes them first.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    before = sys.stdout, sys.stderr
    streams = Streams(lasting(sys.stdout), lasting(sys.stderr))
    sys.stdout, sys.stderr = streams.output, streams.errors
    try:
        yield streams
    finally:  # the interpreter flushes both at its end, and exits with 120 if that fails
        sys.stdout, sys.stderr = (
            open(os.devnull, "w") if stream.failure else original  # noqa: SIM115
            for stream, original in zip((streams.output, streams.errors), before, strict=True)
        )
