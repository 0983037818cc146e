"""What the symbols of own data are: characters, or the tokens that a tokenizer cuts text into.

    capital of France?          c a p i t a l ...      or      capital| of| France|?

A symbol is a piece of the text itself, so that the pieces put together are the text: where a tokenizer makes
several tokens of one character, they are one symbol, and blanks that it skips go to the piece behind them.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from unforced.errors import UserError, shortened
from unforced.huggingface import ask_hub, import_transformers

_CHOICES = "give a folder with tokenizer.json, a name on a hub that can be reached, or null for characters"
Cut = Callable[[Sequence[str]], Iterator[list[str]]]
_CHUNK = 4096  # texts tokenised at once


def cutter(tokenizer: str | None) -> Cut:
    """Return what cuts texts into symbols. Raises UserError if the tokenizer cannot be loaded."""
    if tokenizer is None:
        return lambda texts: map(list, texts)
    loaded = _tokenizer(tokenizer)

    def cut(texts: Sequence[str]) -> Iterator[list[str]]:
        for start in range(0, len(texts), _CHUNK):
            chunk = list(texts[start : start + _CHUNK])
            spans = loaded(chunk, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
            yield from map(_pieces, chunk, spans)

    return cut


def _pieces(text: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    """Cut text at the ends of tokens, but not within one that another begins in."""
    begins = [begin for begin, _ in spans[1:]]
    ends = [end for (_, end), begin in zip(spans, begins, strict=False) if begin >= end]
    cuts = [0, *(end for end in dict.fromkeys(ends) if 0 < end < len(text)), len(text)]
    return [text[begin:end] for begin, end in pairwise(cuts)] if text else []


@lru_cache(maxsize=8)
def _tokenizer(name_or_path: str) -> Any:
    transformers = import_transformers("task.tokenizer")
    if os.path.isabs(name_or_path) and not os.path.isdir(name_or_path):
        raise UserError(f"task.tokenizer: there is no folder {name_or_path}; {_CHOICES}")
    try:
        if not os.path.isdir(name_or_path):
            ask_hub(name_or_path)
        loaded = transformers.AutoTokenizer.from_pretrained(name_or_path, trust_remote_code=False)
    except Exception as error:
        words = shortened(" ".join(str(error).split()), 120)
        raise UserError(f"task.tokenizer: {_missing(name_or_path)} ({words}); {_CHOICES}") from error
    if not loaded.is_fast:
        raise UserError(
            f"task.tokenizer: {type(loaded).__name__} cannot tell which characters a token stands for; give "
            "a fast tokenizer (tokenizer.json), or null for characters"
        )
    return loaded


def _missing(name_or_path: str) -> str:
    if os.path.isdir(name_or_path):
        return f"no tokenizer could be loaded from {name_or_path}"
    return f"there is no folder {name_or_path} here, and the hub gave no tokenizer"
