"""The contract of the heads of `multi_token`: what predicts the tokens at each offset from a position."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unforced.models.base import SequenceModel, Trunk
from unforced.models.roles import set_role
from unforced.objectives.losses import token_losses
from unforced.objectives.schedule import Weight
from unforced.objectives.view import View
from unforced.parts import Part
from unforced.registry import HEADS, Registry

Hidden = Float[Tensor, "batch time width"]
States = Float[Tensor, "batch asked width"]
Logits = Float[Tensor, "batch asked vocab"]


class Heads(Part, ABC):
    """A frozen config with the functions that make it a kind of heads. It holds no weights.

    A head at offset o, asked at a position, predicts the token o further on. It is asked from the last
    prompt token on, as long as that token is one of the answer: for answers of l tokens, at the first
    l - o + 1 positions where next-token prediction is asked. The head at offset 1 is the model itself.
    """

    registry: ClassVar[Registry] = HEADS

    def offsets(self, horizon: int) -> tuple[int, ...]:
        """Return the offsets of `horizon` heads, from 1."""
        return tuple(range(1, horizon + 1))

    def advice(self, answer: int) -> str:
        """Say what to give where even two heads look beyond answers of `answer` tokens."""
        return "use objective=next_token"

    def further_weights(self, horizon: int) -> tuple[Weight, ...]:
        """Return the weights of the losses at the offsets but the first, as the source has them."""
        return (1.0,) * (horizon - 1)

    @property
    def reads_prompt(self) -> bool:
        """Whether heads work on states of the whole prompt, which a mixture does not share among parts."""
        return True

    @abstractmethod
    def build(self, trunk: Trunk, offsets: Sequence[int]) -> nn.Module:
        """Build what the heads train beside the model."""

    @abstractmethod
    def logits(
        self, model: SequenceModel, heads: nn.Module, view: View, offsets: Sequence[int]
    ) -> Sequence[Logits]:
        """Return the logits of each head at the positions where it is asked."""

    @abstractmethod
    def losses(
        self, model: SequenceModel, heads: nn.Module, view: View, offsets: Sequence[int]
    ) -> Sequence[Float[Tensor, " batch"]]:
        """Return the cross-entropy of each head, in nats, summed over the targets of each row."""


class StatefulHeads(Heads, ABC):
    """Heads that compute states of their own, which the model's unembedding turns into logits."""

    @abstractmethod
    def states(
        self, model: SequenceModel, heads: nn.Module, view: View, offsets: Sequence[int]
    ) -> Sequence[States]:
        """Return the states of each head at the positions where it is asked."""

    def logits(
        self, model: SequenceModel, heads: nn.Module, view: View, offsets: Sequence[int]
    ) -> Sequence[Logits]:
        """Unembed the states."""
        return [model.logits(each) for each in self.states(model, heads, view, offsets)]

    def losses(
        self, model: SequenceModel, heads: nn.Module, view: View, offsets: Sequence[int]
    ) -> Sequence[Float[Tensor, " batch"]]:
        """Unembed the states of all heads at once."""
        states = self.states(model, heads, view, offsets)
        targets = torch.cat([view.targets[:, offset - 1 :] for offset in offsets], dim=1)
        weights = view.weights
        if weights is not None:
            weights = torch.cat([weights[:, offset - 1 :] for offset in offsets], dim=1)
        nats = token_losses(model.logits(torch.cat(list(states), dim=1)), targets, weights)
        return [part.sum(1) for part in nats.split([each.shape[1] for each in states], dim=1)]


def asked_at(view: View, offset: int) -> slice:
    """Return the positions of the view's inputs at which the head at an offset is asked."""
    assert isinstance(view.query_positions, slice)
    start, asked = view.query_positions.start, view.targets.shape[1] - offset + 1
    return slice(start, start + max(0, asked))


def linear_map(inputs: int, outputs: int) -> nn.Linear:
    """Build a linear map without bias that keeps the size of states."""
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=inputs**-0.5)
    set_role(layer.weight, "matrix")
    return layer
