"""Paths that a user gives, as they are recorded."""

import os


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
