"""An objective that asks of the training loop, and of the checks, all that an objective may ask."""

from typing import ClassVar, Literal

import torch
from torch import nn

from unforced.decoding.autoregressive import Autoregressive
from unforced.objectives.base import Objective
from unforced.objectives.losses import cross_entropy
from unforced.objectives.view import ANSWER, Term, count_of, lay_out


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
        return type(view)(
            **{**vars(view), "prompt": None, "terms": {ANSWER: view.terms[ANSWER], "head": head}}
        )

    def loss(self, model, heads, view):
        hidden = model.hidden(view.inputs, padding=view.padding, query_positions=view.query_positions)
        logits = model.logits(hidden)
        answer = cross_entropy(logits, view.targets, view.weights)
        head = view.terms["head"]
        if not head.weight:
            return {ANSWER: answer, "head": torch.zeros_like(answer)}
        real = (view.weights > 0) & (head.count > 0)[:, None]
        return {ANSWER: answer, "head": cross_entropy(logits + heads(hidden), view.targets, real)}
