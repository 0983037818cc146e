"""Objectives that ask of the training loop, and of the checks, all that objectives may ask."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from unforced.decoding.autoregressive import Autoregressive
from unforced.decoding.base import Decoder
from unforced.objectives.base import Needs, Objective
from unforced.objectives.losses import cross_entropy
from unforced.objectives.view import ANSWER, Term, View, answer_logits, count_of, lay_out


class Scribbled(Objective):
    """Next token, with random inputs hidden, random weights, and a head beside the unembedding.

    Its second term counts a random half of the problems. From half-way on, the head has no gradient.
    """

    decoders: ClassVar[tuple[str, ...]] = ("autoregressive",)
    name: Literal["scribbled"] = "scribbled"

    @property
    def shows(self):
        return "parts"

    @property
    def default_decoder(self):
        return Autoregressive()

    def build_heads(self, trunk):
        head = nn.Linear(trunk.width, trunk.vocab_size)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        return head

    def view(self, batch, moment):
        hidden = moment.uniform(batch.answer.shape[1] - 1) < 0.3
        weights = 0.1 + moment.uniform(batch.answer.shape[1], stream=1)
        real = self.weights(batch)
        weights = weights if real is None else weights * real
        view = lay_out(batch, batch.answer[:, :-1].masked_fill(hidden, batch.mask_token), weights)
        count = count_of(batch.answer, real) * moment.integers(0, 2, stream=2)
        head = Term(count, 0.3 if moment.progress < 0.5 else 0.0)
        return type(view)(**{**vars(view), "terms": {ANSWER: view.terms[ANSWER], "head": head}})

    def loss(self, model, heads, view):
        hidden = model.hidden(view.inputs, padding=view.padding, query_positions=view.query_positions)
        logits = model.logits(hidden)
        answer = cross_entropy(logits, view.targets, view.weights)
        head = view.terms["head"]
        if not head.weight:
            return {ANSWER: answer, "head": torch.zeros_like(answer)}
        real = (view.weights > 0) & (head.count > 0)[:, None]
        return {ANSWER: answer, "head": cross_entropy(logits + heads(hidden), view.targets, real)}


@dataclass(frozen=True)
class Ahead(View):
    """A view that asks for several tokens ahead."""

    further: Tensor | None = None


class TwoAhead(Objective):
    """The next token, and by a layer of its own the one after it: two terms whose counts differ.

    Source: arXiv 2404.19737, Sec. 2, with two heads of which the first is the model's own.
    """

    decoders: ClassVar[tuple[str, ...]] = ("autoregressive",)
    name: Literal["two_ahead"] = "two_ahead"

    @property
    def shows(self):
        return "prefix"

    @property
    def default_decoder(self):
        return Autoregressive()

    def build_heads(self, trunk):
        return trunk.block()

    def view(self, batch, moment):
        weights = self.weights(batch)
        view = lay_out(batch, batch.answer[:, :-1], weights)
        later = (
            view.weights.clone() if view.weights is not None else torch.ones_like(batch.answer, dtype=bool)
        )
        later[:, 0] = False
        terms = {"head_1": view.terms[ANSWER], "head_2": Term(count_of(batch.answer, later), moment.progress)}
        return Ahead(**{**vars(view), "terms": terms}, further=later)

    def loss(self, model, heads, view):
        states = model.hidden(view.inputs, padding=view.padding)
        first = cross_entropy(model.logits(states[:, view.query_positions]), view.targets, view.weights)
        ahead = heads(states, padding=view.padding)[:, view.query_positions]
        second = cross_entropy(model.logits(ahead[:, :-1]), view.targets[:, 1:], view.further[:, 1:])
        return {"head_1": first, "head_2": second}


class Unveiling(Decoder):
    """Writes the surest token first, in any order; each round reads prompt and answer with full attention."""

    writes = "any_order"
    name: Literal["unveiling"] = "unveiling"

    def decode(self, model, heads, prompts, cache=None):
        written = prompts.tokens.new_full((len(prompts), prompts.room), prompts.mask_token)
        for _ in range(prompts.room):
            logits = in_place(model, prompts.tokens, prompts.mask, written)[..., : prompts.mask_token]
            sure = logits.softmax(-1).amax(-1).masked_fill(written != prompts.mask_token, -1)
            place = sure.argmax(1, keepdim=True)
            written.scatter_(1, place, logits.argmax(-1).gather(1, place))
        return written

    def teacher_forced(self, model, heads, batch, cache=None):
        columns = []
        for i in range(batch.answer.shape[1]):
            hidden = batch.answer.clone()
            hidden[:, i:] = batch.mask_token
            columns.append(in_place(model, batch.prompt, batch.prompt_mask, hidden)[:, i])
        return torch.stack(columns, dim=1)


def in_place(model, prompt, real, answer):
    """The logits of each answer token, where it stands."""
    inputs = torch.cat([prompt, answer], dim=1)
    if real is not None:
        real = torch.cat([real, torch.ones_like(answer, dtype=bool)], dim=1)
    hidden = model.hidden(
        inputs, padding=real, attention="full", query_positions=slice(prompt.shape[1], None)
    )
    return model.logits(hidden)


class Diffused(Objective):
    """Masked diffusion: random answer tokens are masked, and told with full attention, weighed by 1/t.

    Source: arXiv 2410.14157, without their reweighting by token.
    """

    decoders: ClassVar[tuple[str, ...]] = ("unveiling",)
    name: Literal["diffused"] = "diffused"

    @property
    def needs(self):
        return Needs(attention="full")

    @property
    def shows(self):
        return "parts"

    @property
    def default_decoder(self):
        return Unveiling()

    def sequence_length(self, prompt, answer):
        return prompt + answer

    def view(self, batch, moment):
        share = moment.uniform(1, stream=1).clamp(min=0.1)
        masked = moment.uniform(batch.answer.shape[1]) < share
        real = self.weights(batch)
        weights = masked / share if real is None else masked * real / share
        inputs = torch.cat([batch.prompt, batch.answer.masked_fill(masked, batch.mask_token)], dim=1)
        padding = None
        if batch.prompt_mask is not None:
            padding = torch.cat([batch.prompt_mask, torch.ones_like(batch.answer, dtype=bool)], dim=1)
        at, terms = slice(batch.prompt.shape[1], None), {"masked": Term(count_of(batch.answer, weights))}
        if batch.answer_mask is not None:  # so that padding is the same everywhere
            inputs[:, at] = inputs[:, at].masked_fill(~batch.answer_mask, batch.mask_token)
        return View(inputs, batch.answer, at, weights, padding=padding, attention="full", terms=terms)

    def loss(self, model, heads, view):
        return {"masked": cross_entropy(answer_logits(model, view), view.targets, view.weights)}


COMING = [Scribbled, TwoAhead, Diffused]
"""Objectives of the kinds that docs/architecture.md says are to come."""
