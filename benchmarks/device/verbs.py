"""Verbs of `unforced` in this process, which saves the seconds that another one takes to start."""

import contextlib
import sys
from collections.abc import Sequence

from unforced.cli.main import main


def carry_out(arguments: Sequence[str]) -> int:
    """Carry out a command line with its output among the errors; return its exit code."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            main([*arguments])
    except SystemExit as exit_:
        return int(exit_.code or 0)
