"""Text in, text out: causal language models of transformers with their own tokenizers, decoded greedily."""

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unforced.data.marks import is_only_marks
from unforced.data.template import check_chat, conversation
from unforced.errors import UserError
from unforced.models.failures import as_user_error, first_words
from unforced.models.huggingface import (
    FIELD,
    NO_NUMBERS,
    SEES_LATER,
    check_tokenizer,
    load_network,
    loading,
    read_config,
    read_tokenizer,
    transformers,
)
from unforced.paths import absolute_path
from unforced.wording import named, typed

Ids = list[list[int]]

_TAKE_ANOTHER = (
    "take a model that reads text; a run of unforced is measured by `unforced evaluate RUN_FOLDER`"
)
_TRIED, _PADDING = 8, 3  # tokens that a model is tried on, and how many fewer a padded row has
_SHARED = 2  # of these, how many are read ahead where that is tried
_ROUNDING, _COARSE_ROUNDING = 1e-2, 0.3  # of the logits' deviation: in float32, and in half precision


@dataclass(frozen=True)
class Reader:
    """What a model makes of a prompt before it reads it: its tokenizer, and the length it can read.

    chat: prompts are the text of the tokenizer's chat template, which has the special tokens in it.
    characters: those that answers are written with; a special token made of them alone is part of a text.
    """

    name: str
    tokenizer: Any
    config: Any
    chat: bool = False
    characters: frozenset[str] = frozenset()

    @classmethod
    def load(
        cls, name_or_path: str, chat: bool = False, characters: frozenset[str] = frozenset()
    ) -> "Reader":
        """Load a model's config and tokenizer, not its weights.

        Raises UserError: no model, an encoder-decoder, no tokenizer, or no chat template where one is needed.
        """
        name_or_path = absolute_path(name_or_path)
        config = read_config(name_or_path, None)
        tokenizer = read_tokenizer(name_or_path, None)
        if chat:
            check_chat(tokenizer, name_or_path)
        return cls(name_or_path, tokenizer, config, chat, characters)

    def converse(self, conversations: Sequence[Sequence[dict[str, str]]]) -> list[str]:
        """Write conversations by the tokenizer's chat template, up to where the assistant's turn begins.

        Raises UserError if the template refuses them.
        """
        return [conversation(self.tokenizer, turns, self.name) for turns in conversations]

    def ids(self, prompts: Sequence[str]) -> Ids:
        """Return the tokens of each prompt; what marks the end of a text is taken off again."""
        rows = self.tokenizer(list(prompts), add_special_tokens=not self.chat)["input_ids"]
        end = self.tokenizer.eos_token_id
        return [row[:-1] if row and row[-1] == end and not self.chat else row for row in rows]

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, without the special ones that are no part of an answer."""
        kept = [token for token in ids if token not in self._marks]
        return self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    @cached_property
    def _marks(self) -> frozenset[int]:
        """The special tokens that are no part of an answer: a digit that is a special token may be one."""
        added = self.tokenizer.added_tokens_decoder
        special = {
            *self.tokenizer.all_special_ids,
            *(token for token, added_token in added.items() if added_token.special),
        }
        texts = {token: str(self.tokenizer.convert_ids_to_tokens(token)).strip() for token in special}
        return frozenset(
            token for token, text in texts.items() if not text or not self.characters.issuperset(text)
        )

    def check(self, prompts: Sequence[str], most_tokens: int) -> None:
        """Refuse prompts that the model cannot read whole, with room for an answer. Raises UserError."""
        check_tokenizer(self.tokenizer, prompts[0], self.name, self.config.vocab_size, _TAKE_ANOTHER)
        longest = max(map(len, self.ids(prompts)))
        limit = getattr(self.config, "max_position_embeddings", None)
        if limit is not None and 0 < limit < longest + most_tokens:
            raise UserError(
                f"{self.name} reads at most {limit} tokens; the longest prompt has {longest}, and "
                f"the answer takes up to {most_tokens}; lower {typed('shots')}, or make the task smaller",
                about=FIELD,
            )


class Writer:
    """A model that continues prompts greedily, independently of the batch.

    On a processor its matrix products are of float32, elsewhere of what the weights are saved in. A model
    that says something else in a batch, behind padding say, reads one prompt at a time. What the prompts of a
    batch begin with (the instruction, and worked examples) is read once for all of them, unless the model
    says something else then.
    """

    def __init__(self, reader: Reader, most_tokens: int, device: torch.device) -> None:
        """Load the weights. Raises UserError: they are missing, cannot be run, or the model is not causal."""
        self.reader, self.most_tokens, self.device = reader, most_tokens, device
        dtype: torch.dtype | str = torch.float32 if device.type == "cpu" else "auto"
        with loading(reader.name):
            self.network = (
                load_network(reader.name, None, copy.deepcopy(reader.config), dtype).to(device).eval()
            )
        self.ends = _ends(reader, self.network)
        self.network.generation_config = self._greedy()  # its own may ask for sampling or penalties
        with torch.inference_mode(), _running(reader.name):
            self._check_its_logits()
            self.batches = self._answers_alike_in_a_batch(0)
            self.reads_ahead = (
                self.batches and self._can_be_continued() and self._answers_alike_in_a_batch(_SHARED)
            )

    def _greedy(self) -> Any:
        padding = self.reader.tokenizer.pad_token_id
        is_usable = padding is not None and 0 <= padding < self.reader.config.vocab_size
        return transformers().GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=self.most_tokens,
            eos_token_id=self.ends or None,
            pad_token_id=padding if is_usable else next(iter(self.ends), 0),
        )

    def _check_its_logits(self) -> None:
        tokens = self._some_tokens()
        whole, shorter = self.network(tokens).logits, self.network(tokens[:, :-1]).logits
        if whole.isnan().any():
            raise UserError(f"{self.reader.name} {NO_NUMBERS}", about=FIELD)
        if not _alike(whole[:, :-1], shorter):
            raise UserError(f"{self.reader.name} {SEES_LATER}", about=FIELD)

    def _answers_alike_in_a_batch(self, shared: int) -> bool:
        """Try whether two rows, one of them padded, are gone on from as each is by itself.

        shared: how many tokens they begin with together, which are read ahead.
        """
        row = self._some_tokens()[0].tolist()
        rows = [row, row[:shared] + row[shared + _PADDING :]]
        together = self._next_logits(rows, shared)
        return all(
            _alike_while_equal(
                [step[i] for step in together], [step[0] for step in self._next_logits([row], 0)]
            )
            for i, row in enumerate(rows)
        )

    def _can_be_continued(self) -> bool:
        """Whether the model keeps keys and values of all tokens, and nothing else, of what it has read."""
        cache = getattr(self.network(self._some_tokens(), use_cache=True), "past_key_values", None)
        every_token = transformers().cache_utils.DynamicLayer
        layers = getattr(cache, "layers", [])
        return bool(layers) and all(type(layer) is every_token for layer in layers)

    def _next_logits(self, rows: Ids, shared: int) -> Sequence[Float[Tensor, "rows vocab"]]:
        return self._generate(
            rows, shared, max_new_tokens=2, output_logits=True, return_dict_in_generate=True
        ).logits

    def _generate(self, rows: Ids, shared: int, **settings: Any) -> Any:
        """Go on from rows of tokens, of which the first `shared` are the same."""
        tokens, mask = _padded(rows, self.network.generation_config.pad_token_id, shared)
        if shared:
            read = self.network(torch.tensor([rows[0][:shared]], device=self.device), use_cache=True)
            settings["past_key_values"] = read.past_key_values
            settings["past_key_values"].batch_repeat_interleave(len(rows))
        return self.network.generate(
            input_ids=tokens.to(self.device), attention_mask=mask.to(self.device), **settings
        )

    def _some_tokens(self) -> Int[Tensor, "1 time"]:
        return torch.arange(_TRIED, device=self.device)[None] % self.reader.config.vocab_size

    @torch.inference_mode()
    def __call__(self, prompts: Sequence[str]) -> list[str]:
        """Return what the model writes after each prompt, up to the end of the first line that is not blank.

        Writing stops there, at a token that ends a text, or after `most_tokens`. Raises UserError if the
        model fails.
        """
        rows = self.reader.ids(prompts)
        batches = [rows] if self.batches else [[row] for row in rows]
        return [text for batch in batches for text in self._write(batch)]

    def _write(self, rows: Ids) -> list[str]:
        """Go on from rows of tokens."""
        start = max(map(len, rows))

        def after_a_line(ids: Int[Tensor, "batch time"], scores: Any, **_: Any) -> Bool[Tensor, " batch"]:
            done = [text != first_line(text) for text in map(self._written, ids[:, start:].tolist())]
            return torch.tensor(done, device=ids.device)

        with _running(self.reader.name):
            written = self._generate(
                rows,
                _num_shared(rows) if self.reads_ahead else 0,
                stopping_criteria=transformers().StoppingCriteriaList([after_a_line]),
            )
        return [first_line(self._written(row)) for row in written[:, start:].tolist()]

    def _written(self, ids: list[int]) -> str:
        end = next((i for i, token in enumerate(ids) if token in self.ends), len(ids))
        return self.reader.text(ids[:end])


def _running(name: str) -> AbstractContextManager[None]:
    """Turn whatever a model raises while it is run into one line."""
    return as_user_error(
        lambda error: (
            f"{named(FIELD)}: {name} loads but does not run ({type(error).__name__}: {first_words(error)}); "
            "its config.json may not be that of its weights"
        )
    )


def _alike(logits: Tensor, others: Tensor) -> bool:
    """Say whether logits differ by no more than rounding."""
    most = _ROUNDING if logits.dtype == torch.float32 else _COARSE_ROUNDING
    finite = logits.isfinite() & others.isfinite()  # some models rule tokens out
    logits, others = logits[finite].float(), others[finite].float()
    return bool((logits - others).abs().max() <= most * logits.std())


def _alike_while_equal(steps: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """Compare the logits of each step, up to where rounding made the likeliest tokens differ."""
    for logits, other in zip(steps, others, strict=False):  # one may have come to its end
        if not _alike(logits, other):
            return False
        if logits.argmax() != other.argmax():
            break
    return True


def first_line(text: str) -> str:
    """Cut a text after its first line that has more than marks; blank lines and marks before it stay."""
    lines = text.split("\n")
    first = next((i for i, line in enumerate(lines) if not is_only_marks(line)), len(lines))
    return "\n".join(lines[: first + 1])


def _ends(reader: Reader, network: Any) -> list[int]:
    """Collect the tokens that end a text, by the tokenizer and by the model's own settings."""
    candidates = [reader.tokenizer.eos_token_id]
    for settings in (network.generation_config, network.config):
        ids = getattr(settings, "eos_token_id", None)
        candidates += ids if isinstance(ids, list) else [ids]
    return sorted(
        {token for token in candidates if token is not None and 0 <= token < reader.config.vocab_size}
    )


def _num_shared(rows: Ids) -> int:
    """Count the tokens that all rows begin with, and none ends with; 0 if there is one row alone."""
    most = min(map(len, rows)) - 1 if len(rows) > 1 else 0
    return next((i for i in range(most) if len({row[i] for row in rows}) > 1), max(most, 0))


def _padded(
    rows: Ids, padding: int, shared: int = 0
) -> tuple[Int[Tensor, "batch time"], Int[Tensor, "batch time"]]:
    """Right-align rows of tokens behind the `shared` first ones, which all have.

    Return them and a mask that is 0 where there are none.
    """
    longest = max(map(len, rows))
    absent = [longest - len(row) for row in rows]
    tokens = [row[:shared] + [padding] * some + row[shared:] for row, some in zip(rows, absent, strict=True)]
    mask = [[1] * shared + [0] * some + [1] * (longest - shared - some) for some in absent]
    return torch.tensor(tokens), torch.tensor(mask)
