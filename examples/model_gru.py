"""A model of one's own, a recurrent network: unforced train examples/model_gru.py:recipe --out runs/gru"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

import unforced as uf
from unforced.models.base import FromScratch, SequenceModel, Trunk
from unforced.models.blocks import build_layer
from unforced.models.masks import select


class Gru(FromScratch):
    """Gated recurrent units. Source: arXiv 1406.1078."""

    name: Literal["gru"] = "gru"
    width: int = Field(128, ge=1, description="size of the hidden state")
    attends: ClassVar[frozenset[str]] = frozenset({"causal"})

    def build(self, vocab_size, max_length):
        return GruModel(self.width, vocab_size, max_length)


@dataclass
class State:  # what the network remembers
    hidden: Tensor
    length: int = 0

    def fork(self):
        return replace(self)


class GruModel(SequenceModel):
    attends = Gru.attends

    def __init__(self, width, vocab_size, max_length):
        super().__init__()
        self.width, self.vocab_size, self.max_length = width, vocab_size, max_length
        self.embedding, self.cell = nn.Embedding(vocab_size, width), nn.GRUCell(width, width)
        self.unembedding = nn.Linear(width, vocab_size, bias=False)

    def embed(self, tokens, **options):
        return self.embedding(tokens)

    def hidden(
        self, inputs, *, positions=None, padding=None, attention="causal", cache=None, query_positions=None
    ):
        self.check_attention(attention)
        inputs = inputs if inputs.is_floating_point() else self.embedding(inputs)
        cache, states = cache or self.new_cache(len(inputs), 0), []
        for step in range(inputs.shape[1]):
            states.append(self.cell(inputs[:, step], cache.hidden))
            real = padding is None or padding[:, cache.length, None]
            cache.hidden = states[-1] if real is True else torch.where(real, states[-1], cache.hidden)
            cache.length += 1
        return select(torch.stack(states, dim=1), query_positions)

    def logits(self, hidden):
        return self.unembedding(hidden)

    def new_cache(self, batch, capacity):
        return State(self.unembedding.weight.new_zeros(batch, self.width))

    def trunk(self):
        sizes = self.width, self.vocab_size, self.max_length
        return Trunk(*sizes, block=lambda: build_layer(self.width), twin=lambda: GruModel(*sizes))


def recipe():
    """The quickstart's task and objective."""
    return uf.recipe("quickstart.teacherless").replace(model=Gru())
