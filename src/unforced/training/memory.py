"""Running out of memory: one line that names what to lower."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from unforced.errors import UserError

_SIGNS = ("not enough memory", "DefaultCPUAllocator", "out of memory")  # in torch's RuntimeErrors
_IN_TRAINING = "lower batch_size, num_train or the model's size (model.width), or raise gradient_accumulation"


@contextmanager
def told_of_memory(advice: str = _IN_TRAINING) -> Iterator[None]:
    """Turn a failed allocation, and no other error, into a UserError that ends in advice."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise UserError(f"out of memory: {advice}") from error


def _is_out_of_memory(error: Exception) -> bool:
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or any(sign in str(error) for sign in _SIGNS)
