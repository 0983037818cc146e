"""Models that say what a test plants in them, and batches to plant it for."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from unforced.data.batch import Batch
from unforced.decoding.autoregressive import Autoregressive
from unforced.errors import UserError
from unforced.models.base import SequenceModel, Trunk
from unforced.models.blocks import build_layer
from unforced.models.masks import allowed_keys, select

CERTAIN = 1000.0


@dataclass
class ReadTokens:
    """A cache of the tokens read so far."""

    tokens: torch.Tensor
    length: int = 0

    def fork(self):
        return ReadTokens(self.tokens, self.length)


class Planted(SequenceModel):
    """After each token, gives the logits `rule(tokens)`, where `tokens` is what that step may attend to.

    Its hidden states are the logits. `asked` keeps the last ones that were asked for, with gradients, and
    `longest` the length of the longest sequence read.
    """

    attends = frozenset({"causal", "full", "mask"})

    def __init__(self, vocab_size, rule):
        super().__init__()
        self.vocab_size = self.width = vocab_size
        self.rule, self.asked, self.longest = rule, None, 0

    def select_kernels(self, device, dtype, length, known):
        return {}

    def embed(self, tokens, **options):
        return F.one_hot(tokens, self.width).float()

    def trunk(self):
        return Trunk(self.width, self.vocab_size, 100, lambda: build_layer(self.width), lambda: self)

    def new_cache(self, batch, capacity):
        return ReadTokens(torch.zeros(batch, capacity, dtype=torch.long))

    def hidden(
        self, inputs, *, positions=None, padding=None, attention="causal", cache=None, query_positions=None
    ):
        tokens = inputs.argmax(-1) if inputs.is_floating_point() else inputs
        past, steps = 0 if cache is None else cache.length, inputs.shape[1]
        if cache is not None:
            cache.length += steps
            cache.tokens[:, past : cache.length] = tokens
            tokens = cache.tokens[:, : cache.length]
        mask = allowed_keys(attention, padding, steps, past, tokens.device)
        self.longest = max(self.longest, past + steps)
        said = [
            [self.rule(row[seen].tolist()) for seen in allowed]
            for row, allowed in zip(tokens, mask.expand(len(tokens), -1, -1), strict=True)
        ]
        states = torch.stack([torch.stack(row) for row in said])
        self.asked = select(states, query_positions).requires_grad_()
        return self.asked

    def logits(self, hidden):
        return hidden

    def to_transformers(self):
        raise UserError("a rule has no weights")


def certain(vocab_size, token):
    """Logits that leave no doubt."""
    return torch.zeros(vocab_size).index_fill_(0, torch.tensor(token), CERTAIN)


def uniform(vocab_size):
    """A model that knows nothing."""
    return Planted(vocab_size, lambda tokens: torch.zeros(vocab_size))


def oracle(vocab_size, equals, answers):
    """A model that knows the answer (a list) to each prompt (a tuple that ends in `equals`), and its end."""

    def rule(tokens):
        if equals not in tokens:
            return torch.zeros(vocab_size)
        end = tokens.index(equals) + 1
        answer = answers[tuple(tokens[:end])]
        return certain(vocab_size, (answer + [equals] * len(tokens))[len(tokens) - end])

    return Planted(vocab_size, rule)


def chaotic_next(vocab_size, tokens):
    """Next token that depends on every token before it and on where each one stands."""
    state = 17
    for token in tokens:
        state = (state * 31 + token + 1) % 10007
    return state % vocab_size


def chaotic(vocab_size):
    """A model whose every answer token depends on all that it has read."""
    return Planted(vocab_size, lambda tokens: certain(vocab_size, chaotic_next(vocab_size, tokens)))


def autoregressive(model, batch, cache=None):
    """Greedy answers, token by token."""
    return Autoregressive().decode(model, nn.Identity(), batch.prompts, cache)


def ragged(prompts, answers, mask_token, padding=0):
    """Batch prompts (padded on the left) and answers (padded on the right) of different lengths."""
    prompt = max(map(len, prompts))
    answer = max(map(len, answers))
    return Batch(
        torch.tensor([[padding] * (prompt - len(row)) + list(row) for row in prompts]),
        torch.tensor([list(row) + [padding] * (answer - len(row)) for row in answers]),
        mask_token,
        torch.tensor([[i >= prompt - len(row) for i in range(prompt)] for row in prompts]),
        torch.tensor([[i < len(row) for i in range(answer)] for row in answers]),
    )
