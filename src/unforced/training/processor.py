"""Settings of the process that make training on a processor fast. They change no number above 1e-38."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt, in glibc's malloc.h
_NEVER, _LARGEST_THRESHOLD = -1, 32 << 20


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Treat numbers next to zero as zero: processors take many times longer over them."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def keep_freed_memory() -> None:
    """Keep what a training step frees for the next one, instead of handing it back to the system.

    Each step would else fault its activations in again, page by page. Where malloc is not glibc's, nothing
    is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
