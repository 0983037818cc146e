"""How problems stood in the tokens of a model that was trained elsewhere.

text    1,7|1,4|7,9|4,2/1,9=1,7,9<eos>      in the tokenizer's tokens, closed by its end-of-text token
symbol  1 7 | 1 4 | 7 9 | 4 2 / 1 9 = 1 7 9  a token id for each symbol of the task, from `first_symbol` on
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from unforced.data.codec import Codec, SymbolCodec
from unforced.data.template import BARE, Template, check_chat
from unforced.data.vocabulary import Vocabulary, build_codec
from unforced.errors import UserError
from unforced.models.huggingface import check_tokenizer
from unforced.tasks.base import Task
from unforced.wording import typed

Encoding = Literal["text", "symbol"]
_SAMPLE = 16  # problems whose tokens show whether a tokenizer has one for each symbol


@dataclass(frozen=True)
class Format:
    """How problems stood in a model's tokens in its training.

    encoding: None for `symbol` where the tokenizer has a token for each symbol of the task, else `text`.
    mask_token: the text of the token that hid answer tokens, for objectives that hide some (None: the
    tokenizer's own). first_symbol: the token id of the task's first symbol, where there is no tokenizer.
    template: what stood around prompt and answer, as `Template.parse` reads it. chat: it was the tokenizer's
    chat template.
    """

    encoding: Encoding | None = None
    mask_token: str | None = None
    first_symbol: int = 0
    template: str | None = None
    chat: bool = False

    def codec(self, task: Task, specials: Sequence[str], tokenizer: Any, size: int, name: str) -> Codec:
        """Build the codec of a task, with special tokens by name.

        tokenizer: that of training; None where each symbol of the task is a token id. size: the number of
        tokens that the model knows. name: of the model. Raises UserError.
        """
        in_words = self.chat or self.template is not None
        symbols = None if in_words and self.encoding is None else self._in_symbols(task, specials, tokenizer)
        if self.encoding == "symbol" or (self.encoding is None and symbols is not None):
            return _checked(symbols, size, name)
        if tokenizer is None:
            raise UserError(
                f"{typed('model.encoding', 'text')} needs the tokenizer that the model was trained with",
                about="tokenizer",
            )
        return self._in_text(task, specials, tokenizer, size, name)

    def _in_symbols(self, task: Task, specials: Sequence[str], tokenizer: Any) -> SymbolCodec | None:
        """Return the codec of a token per symbol; None where a tokenizer has another."""
        if tokenizer is None:
            return SymbolCodec.of(task, self.first_symbol, specials)
        first = tokenizer.get_vocab().get(task.alphabet[0])
        if first is None:
            return None
        codec = SymbolCodec.of(task, first, specials)
        problems = task.sample(np.random.default_rng(0), _SAMPLE)
        rows = codec.ids(task.prompts(problems)).tolist()
        try:
            read = tokenizer(task.text.prompts(problems), add_special_tokens=False)["input_ids"]
        except Exception:  # tokenizers raises no narrower one
            return None
        same = [[token for token in row if token >= first] for row in rows] == [list(row) for row in read]
        return codec if same and codec.end in (None, tokenizer.eos_token_id) else None

    def _in_text(self, task: Task, specials: Sequence[str], tokenizer: Any, size: int, name: str) -> Codec:
        template = self._template(tokenizer, name)
        if tokenizer.eos_token_id is None and not template.after:
            raise UserError(
                f"the tokenizer of {name} has no eos_token, which ends an answer; set "
                "tokenizer.eos_token to the token that ended answers in training",
                about="tokenizer",
            )
        mask = tokenizer.mask_token if self.mask_token is None else self.mask_token

        def check(text: str) -> None:
            own = f"if it has a token for each symbol of the task, give {typed('model.encoding', 'symbol')}"
            check_tokenizer(tokenizer, text, name, size, own)

        return build_codec(task, Vocabulary(size, tokenizer, mask, check, template, grows=False), specials)

    def _template(self, tokenizer: Any, name: str) -> Template:
        if self.chat and self.template is not None:
            raise UserError(
                f"the chat template is one, too; drop this, or {typed('chat', True)}", about="template"
            )
        if self.chat:
            check_chat(tokenizer, name)
            return Template.of_chat(tokenizer, name)
        return BARE if self.template is None else Template.parse(self.template)


def _checked(symbols: SymbolCodec | None, size: int, name: str) -> SymbolCodec:
    """Refuse a codec in symbols that the model does not know. Raises UserError."""
    if symbols is None:
        raise UserError(
            f"the tokenizer of {name} has no token of its own for each symbol of the task, in their order; "
            f"give {typed('model.encoding', 'text')}, or {typed('first_symbol')} without a tokenizer",
            about="model.encoding",
        )
    last = symbols.mask_token - 1 if symbols.end is None else symbols.end
    if last >= size:
        what = "the symbols of the task" if symbols.end is None else "answers vary in length and"
        raise UserError(
            f"task: {what} end in token {last}, and the network has only the tokens 0 to {size - 1}; give "
            f"{typed('first_symbol')}, the id of the task's first symbol"
        )
    return symbols
