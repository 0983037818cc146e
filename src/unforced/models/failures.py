"""What a library raised: whether it means a lack of memory, and what it says in short."""

import contextlib
from collections.abc import Callable, Iterator
from textwrap import shorten

import torch

from unforced.errors import UserError

_MOST = 200  # characters of what an error says
_SIGNS = ("not enough memory", "DefaultCPUAllocator", "out of memory")  # in torch's RuntimeErrors


def is_out_of_memory(error: Exception) -> bool:
    """Say whether an allocation failed."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def first_words(error: Exception) -> str:
    """Return the first words of what an error says, on one line; its kind, if it says nothing."""
    return shorten(str(error), _MOST, placeholder=" ...") or type(error).__name__


@contextlib.contextmanager
def as_user_error(say: Callable[[Exception], str]) -> Iterator[None]:
    """Turn whatever a library raises into the UserError that `say` words, but for a lack of memory."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise UserError(say(error)) from error
