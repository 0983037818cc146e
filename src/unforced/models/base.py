"""The model contract: tokens in, hidden states and logits out.

A model that never heard of an objective serves them all: the loss asks for hidden states at the
positions it needs, and for logits from them.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from unforced.data.codec import Codec, SymbolCodec
from unforced.tasks.base import Task


@runtime_checkable
class Cache(Protocol):
    """What a model remembers of the tokens it has read, so that decoding need not read them again."""

    length: int

    def fork(self) -> "Cache":
        """Return a cache that goes on from here, so that several continuations share what was read.

        Forks may share memory: be done with one before the next is read or extended.
        """


class SequenceModel(torch.nn.Module, ABC):
    """A causal sequence model over token ids.

    Models that attend follow any positions and mask. Recurrent ones do not: they know the order of the
    tokens, and of a mask only the padding, the keys that the last token may not attend to.
    """

    vocab_size: int
    width: int

    @abstractmethod
    def tune(
        self, device: torch.device, dtype: torch.dtype, length: int, known: Mapping[str, str]
    ) -> dict[str, str]:
        """Choose implementations by measurement for sequences of `length` tokens, and return the choices.

        `known` holds the choices of an earlier session of the same run; they are kept where present.
        """

    @abstractmethod
    def hidden(
        self,
        tokens: Int[Tensor, "batch time"],
        *,
        positions: Int[Tensor, "#batch time"] | None = None,
        mask: Bool[Tensor, "#batch time key"] | None = None,
        cache: Cache | None = None,
        at: slice | Int[Tensor, " chosen"] | None = None,
    ) -> Float[Tensor, "batch chosen width"]:
        """Return the final hidden states at the time steps `at` (all, if None).

        positions: where each token stands; 0, 1, ... (after the cache) if None.
        mask: which keys each token may attend to, cached ones first; causal if None.
        cache: read and extended by these tokens.
        """

    @abstractmethod
    def logits(self, hidden: Float[Tensor, "batch chosen width"]) -> Float[Tensor, "batch chosen vocab"]:
        """Unembed hidden states."""

    @abstractmethod
    def new_cache(self, batch: int, capacity: int) -> Cache:
        """Return an empty cache for `capacity` tokens of `batch` sequences."""

    @abstractmethod
    def to_transformers(self) -> Any:
        """Return a network of transformers that computes the same; it may share these weights.

        Raises UserError where transformers has none.
        """


class ModelConfig(BaseModel, ABC):
    """A frozen description that builds a model."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    name: str

    @property
    def keeps_bf16(self) -> bool:
        """Whether some weights are in bf16, so that matrix products must be."""
        return False

    @property
    def origin(self) -> str:
        """Where weights that are not trained come from."""
        return "the model"

    @property
    def hub_name(self) -> str | None:
        """The name on the hub of a model that this one starts from; None where there is none."""
        return None

    def codec(self, task: Task) -> Codec:
        """Return how this model reads and writes a task's problems."""
        return SymbolCodec.of(task)

    @abstractmethod
    def build(self, vocab_size: int, max_length: int) -> SequenceModel:
        """Build the model with fresh weights, drawn from torch's global generator."""
