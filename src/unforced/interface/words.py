"""Errors in the words of Python: what the command line calls `--count 300` is `count=300` here."""

import contextlib
import re
from collections.abc import Iterator

from unforced.errors import UserError

_OPTION = re.compile(r"--([a-z]+)(?: (\d[\d.]*))?\b")


@contextlib.contextmanager
def in_python_words() -> Iterator[None]:
    """Let a UserError that leaves this context name arguments, where it names options."""
    try:
        yield
    except UserError as error:
        error.args = (_OPTION.sub(_argument, str(error)),)
        raise


def _argument(option: re.Match[str]) -> str:
    return "resume=True" if option[1] == "resume" else f"{option[1]}={option[2] or ''}"
