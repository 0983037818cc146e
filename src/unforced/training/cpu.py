"""Settings of the process that make training on a processor fast. They change no number above 1e-38."""

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt, in glibc's malloc.h
_NEVER, _LARGEST_THRESHOLD = -1, 32 << 20
_REGION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Treat numbers next to zero as zero: processors take many times longer over them.

    The setting is each thread's own; a thread begins with that of the thread which starts it. All threads
    that PyTorch computes with are set: else a number would depend on the thread that computes it, and an
    interrupted run need not repeat it. Where they cannot be reached, those that ran before are left out.
    """
    before: dict[int, bool] = {}

    def flush() -> None:
        before[get_ident()] = _flushes_denormals()
        torch.set_flush_denormal(True)

    _on_every_thread(flush)
    at_first = before[get_ident()]
    try:
        yield
    finally:
        _on_every_thread(lambda: torch.set_flush_denormal(before.get(get_ident(), at_first)))


def _flushes_denormals() -> bool:
    return sys.float_info.min / 2 == 0.0


def _on_every_thread(function: Callable[[], object]) -> None:
    """Call a function on each thread of PyTorch's pool, this one among them.

    The pool is OpenMP's: GOMP_parallel starts a parallel region in GNU's library, and in LLVM's and Intel's.
    """
    threads = torch.get_num_threads()
    parallel = getattr(ctypes.CDLL(None), "GOMP_parallel", None) if os.name == "posix" else None
    if threads == 1 or parallel is None:
        function()
    else:
        parallel(_REGION(lambda _: function()), None, ctypes.c_uint(threads), ctypes.c_uint(0))


def keep_freed_memory() -> None:
    """Keep what a training step frees for the next one, instead of handing it back to the system.

    Each step would else fault its activations in again, page by page. Where malloc is not glibc's, nothing
    is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
