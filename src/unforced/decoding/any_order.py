"""Decoders that choose the order in which they write."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unforced.data.batch import Prompts
from unforced.decoding.base import Decoder
from unforced.models.base import Cache, SequenceModel


@dataclass(frozen=True)
class Written:
    """Answers, and the decoding step, from 0, at which each of their tokens was written (-1: at none)."""

    tokens: Int[Tensor, "batch room"]
    step: Int[Tensor, "batch room"]


class AnyOrderDecoder(Decoder):
    """A decoder that writes the tokens of an answer in an order of its own, several at a step or one."""

    writes: ClassVar[Literal["any_order"]] = "any_order"

    @abstractmethod
    def write(
        self, model: SequenceModel, heads: nn.Module, prompts: Prompts, cache: Cache | None = None
    ) -> Written:
        """Answer the prompts, and say when each token was written."""

    def decode(
        self, model: SequenceModel, heads: nn.Module, prompts: Prompts, cache: Cache | None = None
    ) -> Int[Tensor, "batch room"]:
        """Answer the prompts."""
        return self.write(model, heads, prompts, cache).tokens


def without(token: int, logits: Float[Tensor, "*shape vocab"]) -> Float[Tensor, "*shape vocab"]:
    """Return logits with which a token is impossible."""
    tokens = torch.arange(logits.shape[-1], device=logits.device)
    return logits.float().masked_fill(tokens == token, -torch.inf)
