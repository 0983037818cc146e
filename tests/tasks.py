"""The tasks that the suites of all tasks run on."""

from unforced.registry import TASKS

READY = [name for name in TASKS.names() if TASKS.get(name)().ready]
"""Those that need no file; `own_data` has a suite of its own."""
