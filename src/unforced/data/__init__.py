"""From problems to batches of tokens."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unforced.data.stream import ProblemDataset

__all__ = ["ProblemDataset"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from unforced.data import stream  # which brings torch

    return getattr(stream, name)
