"""Models of transformers that were trained elsewhere, put behind the contracts so that they can be diagnosed.

text    1,7|1,4|7,9|4,2/1,9=1,7,9<eos>      in the tokenizer's tokens, closed by its end-of-text token
symbol  1 7 | 1 4 | 7 9 | 4 2 / 1 9 = 1 7 9  a token id for each symbol of the task, from `first_symbol` on
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from unforced.data.codec import Codec, SymbolCodec
from unforced.data.vocabulary import Vocabulary, build_codec
from unforced.decoding.base import Decoder
from unforced.errors import UserError
from unforced.evaluation.evaluator import Evaluator
from unforced.models.huggingface import FIELD, check_tokenizer
from unforced.models.pretrained import behind_the_contract
from unforced.models.transformers_model import TransformersModel
from unforced.objectives.base import Objective
from unforced.tasks.base import Order, Task

Encoding = Literal["text", "symbol"]
_NAME = "network"
_SAMPLE = 16  # problems whose tokens show whether a tokenizer has one for each symbol


@dataclass(frozen=True)
class Elsewhere:
    """How a network that was trained elsewhere was given problems.

    encoding: None for `symbol` where the tokenizer has a token for each symbol of the task, else `text`.
    mask_token: the text of the token that hid answer tokens, for objectives that hide some (None: the
    tokenizer's own). first_symbol: the token id of the task's first symbol, where there is no tokenizer.
    """

    task: Task
    objective: Objective
    order: Order
    decoder: Decoder | None
    encoding: Encoding | None = None
    mask_token: str | None = None
    first_symbol: int = 0

    @contextlib.contextmanager
    def evaluator(self, network: Any, tokenizer: Any) -> Iterator[Evaluator]:
        """Let a network answer within this context, and leave it as it was. Raises UserError."""
        _check_network(network)
        size = network.config.get_text_config().vocab_size
        codec = self._codec(tokenizer, size)
        if self.objective.shows == "nothing" and codec.mask_token >= size:
            raise UserError(
                f"mask_token: {self.objective.name} hides answer tokens behind a mask token, and the network "
                f"has only the tokens 0 to {size - 1}; name the one of training, as in mask_token='<mask>'"
            )
        length = self.objective.sequence_length(codec.prompt_length, codec.answer_length)
        _check_length(network, length)
        weight = next(network.parameters())
        with _left_as_it_was(network):
            model = behind_the_contract(network, {}, length)
            network.eval()
            _check_model(model, length, weight)
            decoder = self.objective.decoding(self.decoder)
            yield Evaluator(
                self.task, self.order, self.objective, decoder, model, nn.Identity(), weight.device, codec
            )

    def _codec(self, tokenizer: Any, size: int) -> Codec:
        symbols = self._symbols(tokenizer)
        if self.encoding == "symbol" or (self.encoding is None and symbols is not None):
            if symbols is None:
                raise UserError(
                    "encoding: the tokenizer has no token of its own for each symbol of the task, in their "
                    "order; give encoding='text', or no tokenizer and first_symbol="
                )
            if symbols.end is not None and symbols.end >= size:
                raise UserError(
                    f"task: answers vary in length and end in token {symbols.end}, and the network has only "
                    f"the tokens 0 to {size - 1}; give first_symbol=, the id of the task's first symbol"
                )
            return symbols
        if tokenizer is None:
            raise UserError(
                "tokenizer: encoding='text' needs the tokenizer that the network was trained with"
            )
        return self._text_codec(tokenizer, size)

    def _symbols(self, tokenizer: Any) -> SymbolCodec | None:
        """Return the codec of a token per symbol; None where a tokenizer has another."""
        specials = self.objective.needs.specials
        if tokenizer is None:
            return SymbolCodec.of(self.task, self.first_symbol, specials)
        first = tokenizer.get_vocab().get(self.task.alphabet[0])
        if first is None:
            return None
        codec = SymbolCodec.of(self.task, first, specials)
        problems = self.task.sample(np.random.default_rng(0), _SAMPLE)
        rows = codec.ids(self.task.prompts(problems)).tolist()
        try:
            read = tokenizer(self.task.text.prompts(problems), add_special_tokens=False)["input_ids"]
        except Exception:  # tokenizers raises no narrower one
            return None
        same = [[token for token in row if token >= first] for row in rows] == [list(row) for row in read]
        return codec if same and codec.end in (None, tokenizer.eos_token_id) else None

    def _text_codec(self, tokenizer: Any, size: int) -> Codec:
        if tokenizer.eos_token_id is None:
            raise UserError(
                "tokenizer: it has no eos_token, which ends an answer; set tokenizer.eos_token to the token "
                "that ended answers in training"
            )
        mask = tokenizer.mask_token if self.mask_token is None else self.mask_token

        def check(text: str) -> None:
            check_tokenizer(tokenizer, text, _NAME, size, FIELD)

        with _in_our_words():
            return build_codec(
                self.task, Vocabulary(size, tokenizer, mask, check), self.objective.needs.specials
            )


def _check_network(network: Any) -> None:
    is_module = isinstance(network, nn.Module)
    if not is_module or not callable(getattr(network, "get_output_embeddings", None)):
        raise UserError(
            f"network: give a causal language model of transformers, not a {type(network).__name__}; "
            "a run of unforced is diagnosed by uf.load(FOLDER).diagnose()"
        )
    if network.config.is_encoder_decoder or network.get_output_embeddings() is None:
        raise UserError(
            f"network: {type(network).__name__} is not a decoder-only model with an output over tokens; "
            "load it with AutoModelForCausalLM"
        )


def _check_length(network: Any, length: int) -> None:
    limit = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and 0 < limit < length:
        raise UserError(
            f"network: it reads at most {limit} tokens, and problems of this task have up to {length}; "
            "give the task that it was trained on"
        )


def _check_model(model: nn.Module, length: int, weight: torch.Tensor) -> None:
    """Refuse a network that behaves otherwise behind the contract than by itself. Raises UserError."""
    if isinstance(model, TransformersModel) and weight.dtype == torch.float32:
        with _in_our_words():
            model.check(_NAME, length)
    elif isinstance(model, TransformersModel):
        model.skip_masks()


@contextlib.contextmanager
def _in_our_words() -> Iterator[None]:
    """Let errors name what was given here, where they name fields of a run's model."""
    try:
        yield
    except UserError as error:
        line = str(error).replace(f"{FIELD}: {_NAME} ", f"{_NAME}: it ").replace(FIELD, _NAME)
        line = line.replace(f"the tokenizer in {_NAME}", "the tokenizer").replace(
            "model.encoding=", "encoding="
        )
        error.args = (line.replace("model.mask_token", "mask_token"),)
        raise


@contextlib.contextmanager
def _left_as_it_was(network: Any) -> Iterator[None]:
    """Restore how a network attends, and whether it is in training mode."""
    training, attention = network.training, network.config._attn_implementation
    try:
        yield
    finally:
        network.config._attn_implementation = attention
        network.train(training)
