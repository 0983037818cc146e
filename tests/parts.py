"""Objectives and decoders of the kinds that are not built in, as another package would define them."""

from typing import ClassVar, Literal

from torch import nn

from unforced.decoding.autoregressive import Autoregressive
from unforced.decoding.base import Decoder, ParallelDecoder, next_token_logits
from unforced.decoding.one_pass import OnePass
from unforced.objectives.base import Objective
from unforced.objectives.losses import cross_entropy
from unforced.objectives.view import ANSWER, answer_logits, answer_states, lay_out


class _Trained(Objective):
    """Trains as next-token prediction does; the tests look at what is said of it."""

    def view(self, batch, moment):
        return lay_out(batch, batch.answer[:, :-1], self.weights(batch))

    def loss(self, model, heads, view):
        return {ANSWER: cross_entropy(answer_logits(model, view), view.targets, view.weights)}


class Blend(_Trained):
    """Says of itself what its settings make of it: how much is teacherless, and how it is decoded."""

    name: Literal["blend"] = "blend"
    decoders: ClassVar[tuple[str, ...]] = ("autoregressive", "one_pass")
    teacherless: float = 0.5
    parallel: bool = False

    @property
    def shows(self):
        return "nothing" if self.teacherless == 1 else "prefix"

    @property
    def default_decoder(self):
        return OnePass() if self.parallel else Autoregressive()


class Rounds(Decoder):
    """Claims to write in any order."""

    writes = "any_order"
    name: Literal["rounds"] = "rounds"

    def decode(self, model, heads, prompts, cache=None):
        return Autoregressive().decode(model, heads, prompts, cache)

    def teacher_forced(self, model, heads, batch, cache=None):
        return next_token_logits(model, batch, cache)


class Partial(_Trained):
    """Shows random parts of the answer."""

    name: Literal["partial"] = "partial"
    decoders: ClassVar[tuple[str, ...]] = ("rounds",)

    @property
    def shows(self):
        return "parts"

    @property
    def default_decoder(self):
        return Rounds()


class FromHead(ParallelDecoder):
    """Writes an answer at once, with a head for each of its positions, from the last token of the prompt."""

    needs_heads: ClassVar[bool] = True
    name: Literal["from_head"] = "from_head"

    def logits(self, model, heads, prompts, cache=None):
        hidden = model.hidden(
            prompts.tokens, padding=prompts.mask, cache=cache, query_positions=slice(-1, None)
        )
        return heads(hidden).unflatten(-1, (-1, model.vocab_size))[:, 0, : prompts.room]

    def teacher_forced(self, model, heads, batch, cache=None):
        return self.logits(model, heads, batch.prompts, cache)


class Headed(Objective):
    """Trains a head for each of three positions on the last token of the prompt; beside it, maybe, a twin."""

    name: Literal["headed"] = "headed"
    decoders: ClassVar[tuple[str, ...]] = ("from_head",)
    twin: bool = False

    @property
    def shows(self):
        return "nothing"

    @property
    def default_decoder(self):
        return FromHead()

    def build_heads(self, trunk):
        head = nn.Linear(trunk.width, 3 * trunk.vocab_size)
        if self.twin:
            head.add_module("twin", trunk.twin())
        return head

    def view(self, batch, moment):
        return lay_out(batch, batch.answer[:, :0], self.weights(batch))

    def loss(self, model, heads, view):
        logits = heads(answer_states(model, view)).unflatten(-1, (-1, model.vocab_size))[:, 0]
        return {ANSWER: cross_entropy(logits, view.targets, view.weights)}
