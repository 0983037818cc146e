"""The run's config: one frozen tree that says everything an experiment depends on.

settings.py     settings of a run other than its parts     run.py          the whole run
fingerprint.py  which runs are the same                    overrides.py    `dotted.key=value`

`Run` is imported when it is asked for: it knows models and objectives, and so needs torch.
"""

from typing import TYPE_CHECKING, Any

from unforced.config.overrides import assignments, flatten, other_decoder
from unforced.config.settings import SOLVED, settings_of

if TYPE_CHECKING:
    from unforced.config.run import Run, build_decoder, build_task

__all__ = [
    "SOLVED",
    "Run",
    "assignments",
    "build_decoder",
    "build_task",
    "flatten",
    "other_decoder",
    "settings_of",
]


def __getattr__(name: str) -> Any:
    if name not in ("Run", "build_decoder", "build_task"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from unforced.config import run

    return getattr(run, name)
