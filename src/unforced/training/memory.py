"""Running out of memory: one line that names what to lower."""

from collections.abc import Iterator
from contextlib import contextmanager

from unforced.errors import TransientError
from unforced.models.failures import is_out_of_memory

_IN_TRAINING = "lower batch_size, num_train or the model's size (model.width), or raise gradient_accumulation"


@contextmanager
def oom_as_user_error(advice: str = _IN_TRAINING) -> Iterator[None]:
    """Turn a failed allocation, and no other error, into a TransientError that ends in advice."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise TransientError(f"out of memory: {advice}") from error
