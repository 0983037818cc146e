"""Models of transformers that were trained elsewhere, put behind the contracts so that they can be diagnosed.

text    1,7|1,4|7,9|4,2/1,9=1,7,9<eos>      in the tokenizer's tokens, closed by its end-of-text token
symbol  1 7 | 1 4 | 7 9 | 4 2 / 1 9 = 1 7 9  a token id for each symbol of the task, from `first_symbol` on
"""

import contextlib
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from unforced.data.codec import Codec, SymbolCodec
from unforced.data.template import BARE, Template, check_chat
from unforced.data.text import TextCodec
from unforced.data.vocabulary import Vocabulary, build_codec
from unforced.decoding.base import Decoder
from unforced.errors import UserError
from unforced.evaluation.diagnosis import diagnose
from unforced.evaluation.diagnostics import does_not_apply
from unforced.evaluation.evaluator import Evaluator
from unforced.evaluation.probe import spread
from unforced.models.huggingface import FIELD, check_tokenizer
from unforced.models.pretrained import behind_the_contract
from unforced.models.transformers_model import TransformersModel
from unforced.objectives.base import Objective
from unforced.objectives.plain import as_plain, unfit_for_causal
from unforced.parts import tree
from unforced.tasks.base import Order, Problems, Task

Encoding = Literal["text", "symbol"]
NAME = "network"
"""What the model is called in errors."""
_SAMPLE = 16  # problems whose tokens show whether a tokenizer has one for each symbol
_OTHER_QUESTIONS = 4  # whose lengths are looked at where a network has hardly room
_NO_CURVE = "the model was trained elsewhere: there is no record of its training"


@dataclass(frozen=True)
class Given:
    """Problems to ask about, and where each one is: in a line of `source`, or by its number there.

    whole: they are all of the training set.
    """

    problems: Problems
    source: str
    whole: bool = False
    lines: Sequence[int] | None = None

    def place(self, row: int) -> str:
        """Say where a problem is."""
        return f"problem {row} of {self.source}" if self.lines is None else f"{self.source}:{self.lines[row]}"


@dataclass(frozen=True)
class Elsewhere:
    """How a network that was trained elsewhere was given problems.

    encoding: None for `symbol` where the tokenizer has a token for each symbol of the task, else `text`.
    mask_token: the text of the token that hid answer tokens, for objectives that hide some (None: the
    tokenizer's own). first_symbol: the token id of the task's first symbol, where there is no tokenizer.
    template: what stood around prompt and answer, as `Template.parse` reads it. chat: it was the tokenizer's
    chat template.
    """

    task: Task
    objective: Objective
    order: Order
    decoder: Decoder | None = None
    encoding: Encoding | None = None
    mask_token: str | None = None
    first_symbol: int = 0
    template: str | None = None
    chat: bool = False

    def diagnose(
        self, network: Any, tokenizer: Any, train: Given | None, held_out: Given, confidence: float
    ) -> dict[str, Any]:
        """Diagnose a network as runs are, and say how it was asked. Raises UserError.

        train: None where nobody says which problems it was trained on.
        """
        asked_as = as_plain(self.objective, self._decoder())
        if asked_as != self.objective:
            found = replace(self, objective=asked_as).diagnose(
                network, tokenizer, train, held_out, confidence
            )
            return {**found, "asked": {**found["asked"], "trained_on": tree(self.objective)}}
        with self.evaluator(network, tokenizer, [held_out, *filter(None, [train])]) as evaluator:
            known, whole = (None, False) if train is None else (train.problems, train.whole)
            with _in_our_words():
                found = diagnose(evaluator, known, held_out.problems, confidence, whole)
            asked = self._facts(evaluator.codec)
        asked |= {"held_out": held_out.source, "train": None if train is None else train.source}
        return {"asked": asked, **found, **dict.fromkeys(("learned", "grokking"), does_not_apply(_NO_CURVE))}

    def _facts(self, codec: Codec) -> dict[str, Any]:
        """Return as JSON values how the network was asked."""
        return {
            "task": tree(self.task),
            "objective": tree(self.objective),
            "order": self.order,
            "encoding": "text" if isinstance(codec, TextCodec) else "symbol",
            "template": str(codec.template) if isinstance(codec, TextCodec) else None,
            "mask_token": codec.mask_token if self.objective.shows == "nothing" else None,
            "end": codec.end,
        }

    @contextlib.contextmanager
    def evaluator(self, network: Any, tokenizer: Any, given: Sequence[Given]) -> Iterator[Evaluator]:
        """Let a network answer the given problems within this context, and leave it as it was.

        Raises UserError.
        """
        network = _plain(network)
        _check_network(network)
        size = network.config.get_text_config().vocab_size
        decoder = self._decoder()
        codec = self._codec(tokenizer, size)
        if self.objective.shows == "nothing" and codec.mask_token >= size:
            raise UserError(
                f"mask_token: {self.objective.name} hides answer tokens behind a mask token, and the network "
                f"has only the tokens 0 to {size - 1}; name the one of training, as in mask_token='<mask>'"
            )
        with _in_our_words():
            codec = self._with_room(codec, _limit(network), given)
        length = self.objective.sequence_length(codec.prompt_length, codec.answer_length)
        weight = next(network.parameters())
        with _left_as_it_was(network):
            model = behind_the_contract(network, {}, length)
            network.eval()
            _check_model(model, length, weight)
            yield Evaluator(
                self.task, self.order, self.objective, decoder, model, nn.Identity(), weight.device, codec
            )

    def _decoder(self) -> Decoder:
        """Return what writes answers. Raises UserError: it needs what such a network does not have."""
        decoder = self.objective.decoding(self.decoder)
        if not self.objective.fits(decoder):
            raise UserError(f"decoder: {decoder.name} does not fit the objective {self.objective.name}")
        reason = unfit_for_causal(self.objective, decoder)
        if reason and not decoder.needs_heads:
            raise UserError(f"objective: {self.objective.name} {reason}; measure a run of `unforced train`")
        if decoder.needs_heads:
            raise UserError(
                f"objective: {self.objective.name} answers by {decoder.name}, with heads of its own, which a "
                "causal language model of transformers does not have; give the objective whose inputs it was "
                "trained on, next_token or teacherless, or a decoder without heads"
            )
        return decoder

    def _with_room(self, codec: Codec, limit: float, given: Sequence[Given]) -> Codec:
        """Leave answers the room that a network has behind the longest prompt.

        Raises UserError: problems are longer than what it reads.
        """
        needed = self.objective.sequence_length
        if needed(codec.prompt_length, codec.answer_length) <= limit:
            return codec
        prompts, answers, longest = 0, 0, given[0].place(0)
        for some in given:
            for problems in (some.problems, *self._other_questions(some.problems)):
                batch = codec.encode(problems, self.order)
                lengths = np.full(len(batch), batch.prompt.shape[1])
                if batch.prompt_mask is not None:
                    lengths = batch.prompt_mask.sum(1).numpy()
                mask = None if isinstance(codec, SymbolCodec) else batch.answer_mask
                answers = max(answers, codec.answer_length if mask is None else int(mask.sum(1).max()))
                if lengths.max() > prompts:
                    prompts, row = int(lengths.max()), int(lengths.argmax())
                    longest = self.task.place(problems, row) or some.place(row)
        room = codec.answer_length - (needed(prompts, codec.answer_length) - limit)
        if room < answers:
            raise UserError(
                f"network: it reads at most {limit} tokens, and {longest} has {prompts} in its prompt, which "
                f"leaves no room for answers of up to {answers}; leave such problems out, or give the task "
                "that it was trained on"
            )
        return replace(codec, prompt_length=prompts, answer_length=min(int(room), codec.answer_length))

    def _other_questions(self, problems: Problems) -> list[Problems]:
        ahead = self.task.lookahead
        return [] if ahead is None else spread(ahead.counterfactual_prompts(problems), _OTHER_QUESTIONS)

    def _codec(self, tokenizer: Any, size: int) -> Codec:
        in_words = self.chat or self.template is not None
        symbols = None if in_words and self.encoding is None else self._symbols(tokenizer)
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
        template = self._template(tokenizer)
        if tokenizer.eos_token_id is None and not template.after:
            raise UserError(
                "tokenizer: it has no eos_token, which ends an answer; set tokenizer.eos_token to the token "
                "that ended answers in training"
            )
        mask = tokenizer.mask_token if self.mask_token is None else self.mask_token

        def check(text: str) -> None:
            check_tokenizer(tokenizer, text, NAME, size, FIELD)

        with _in_our_words():
            vocabulary = Vocabulary(size, tokenizer, mask, check, template)
            return build_codec(self.task, vocabulary, self.objective.needs.specials)

    def _template(self, tokenizer: Any) -> Template:
        if self.chat and self.template is not None:
            raise UserError("template: the chat template is one, too; give either")
        if self.chat:
            check_chat(tokenizer, NAME)
            return Template.of_chat(tokenizer, NAME)
        return BARE if self.template is None else Template.parse(self.template)


def _plain(network: Any) -> Any:
    """Return the model that peft's adapters stand in; any other as it is. Raises UserError."""
    peft: Any = sys.modules.get("peft")
    if peft is None or not isinstance(network, peft.PeftModel):
        return network
    if any(config.is_prompt_learning for config in network.peft_config.values()):
        raise UserError(
            "network: its adapter stands before the prompt (prompt tuning), where nothing can be asked; "
            "give a model with adapters of its layers, such as LoRA"
        )
    return network.get_base_model()


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


def _limit(network: Any) -> float:
    """Return how many tokens a network reads at the most; infinity where its config does not say."""
    limit = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    return limit if limit is not None and limit > 0 else math.inf


def _check_model(model: nn.Module, length: int, weight: torch.Tensor) -> None:
    """Refuse a network that behaves otherwise behind the contract than by itself. Raises UserError."""
    if isinstance(model, TransformersModel) and weight.dtype == torch.float32:
        with _in_our_words():
            model.check(NAME, length)
    elif isinstance(model, TransformersModel):
        model.skip_masks()


@contextlib.contextmanager
def _in_our_words() -> Iterator[None]:
    """Let errors name what was given here, where they name fields of a run's model."""
    try:
        yield
    except UserError as error:
        line = str(error).replace(f"{FIELD}: {NAME} ", f"{NAME}: it ").replace(FIELD, NAME)
        line = line.replace(f"the tokenizer in {NAME}", "the tokenizer").replace(
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
