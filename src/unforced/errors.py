"""The user's mistakes: one clear line each, and exit code 2 on the command line."""

import difflib
from collections.abc import Iterable

from unforced.wording import named

TEMPORARY = 75
"""The exit code of a failure that may pass by itself: EX_TEMPFAIL of sysexits.h, on every system."""

MISTAKE = 2
"""The exit code of a user's mistake, for which a retry is useless."""
DIVERGED = 3
"""The exit code of a run that ended because its loss or its gradient was not finite. Its results stand."""


class UserError(Exception):
    """A mistake that the user can mend. Its message is one line: what, where, the limit, what to do.

    about: the setting that was given wrongly, if it is one; the message begins with what that is called where
    it was given (`unforced.wording`).
    """

    def __init__(self, message: str, about: str = "") -> None:
        super().__init__(" ".join(f"{named(about)}: {message}".split() if about else message.split()))


class PartWarning(UserWarning):
    """A part of one's own is not what it was: its file has changed, or is another one. Nothing is refused."""


class TransientError(UserError):
    """One that may pass by itself: a full disk, memory that others hold, a run that another trains."""


class ConfigError(UserError):
    """A config that cannot be built.

    part: the part that no installed package has, as in "objective 'mixture'", if that is why.
    newer: whether a newer version of a package may be able to.
    """

    def __init__(self, message: str, part: str = "", newer: bool = False) -> None:
        super().__init__(message)
        self.part, self.newer = part, newer


def unknown(kind: str, value: str, choices: Iterable[str]) -> UserError:
    """Build the error for a `value` that is not one of `choices`, naming the nearest one."""
    known = sorted(choices)
    near = difflib.get_close_matches(value, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"
    return UserError(f"unknown {kind} {value!r}; {hint}")


def shortened(text: str, most: int) -> str:
    """Return the beginning of a text, at most `most` characters, cut at the end of a word if it has any."""
    if len(text) <= most:
        return text
    head = text[: most + 1]
    words = head.rsplit(maxsplit=1)[0] if len(head.split()) > 1 or head[-1].isspace() else head[:most]
    return f"{words.rstrip()}..."
