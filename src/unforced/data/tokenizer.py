"""A task's symbols as a tokenizer of transformers, for models that leave this package.

    text    1,7|1,4|7,9|4,2/1,9=$$
    tokens  1 7 | 1 4 | 7 9 | 4 2 / 1 9 = $ $

One token per symbol, with the ids of `SymbolCodec`: separators between symbols are not tokens, and decoding
puts them back. `$` is the mask token. Ids before the task's, the vocabulary that a model had already,
decode to `<id>`.
"""

import importlib
import re
from collections.abc import Sequence
from typing import Any

from unforced.huggingface import import_transformers
from unforced.tasks.base import Task

_DUMMY = "$"
END_TEXT = "<end>"
"""How the token is written that ends an answer, where answers vary in length."""
_GLUE = "\0"  # would mark a token that continues the one before it; there are none


def symbol_tokenizer(task: Task, first: int, max_length: int, specials: Sequence[str] = ()) -> Any:
    """Build the tokenizer of a task's prompts and answers, whose first symbol has the id `first`.

    max_length: the longest text, in tokens, that the model reads. specials: names of tokens behind `$`.
    Encoding raises for text that is not a symbol.
    """
    transformers = import_transformers("unforced export")
    tokenizers = importlib.import_module("tokenizers")
    named = [f"<|{name}|>" for name in specials]
    texts = [*(f"<{token}>" for token in range(first)), *task.alphabet, _DUMMY]
    special: dict[str, Any] = {"mask_token": _DUMMY}
    if task.varied:
        texts.append(END_TEXT)
        special |= {"eos_token": END_TEXT, "pad_token": END_TEXT}
    if named:
        texts += named
        special["additional_special_tokens"] = named
    vocabulary = {text: token for token, text in enumerate(texts)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=_GLUE))
    tokenizer.pre_tokenizer, tokenizer.decoder = _apart(tokenizers, task), _together(tokenizers, task)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **special,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
    )


def _apart(tokenizers: Any, task: Task) -> Any:
    """Split a line into symbols: at separators and around signs, or where there are none, each character."""
    split = tokenizers.pre_tokenizers.Split
    if not task.text.separator:
        return split(tokenizers.Regex("."), "isolated")
    signs = split(tokenizers.Regex(_signs(task)), "isolated")
    return tokenizers.pre_tokenizers.Sequence([split(task.text.separator, "removed"), signs])


def _together(tokenizers: Any, task: Task) -> Any:
    """Join symbols into a line: a separator between any two of which none is a sign."""
    decoders = tokenizers.decoders
    if not task.text.separator:
        return decoders.Fuse()
    if task.text.separator == " ":
        return decoders.Sequence([decoders.WordPiece(prefix=_GLUE, cleanup=False), decoders.Fuse()])
    beside_signs = tokenizers.Regex(f" (?={_signs(task)})|(?<={_signs(task)}) ")
    spaced = [decoders.WordPiece(prefix=_GLUE, cleanup=False), decoders.Fuse()]
    replaced = [decoders.Replace(beside_signs, ""), decoders.Replace(" ", task.text.separator)]
    return decoders.Sequence([*spaced, *replaced])


def _signs(task: Task) -> str:
    """Match the symbols that no answer holds."""
    return "|".join(map(re.escape, task.alphabet[task.answer_symbols :]))
