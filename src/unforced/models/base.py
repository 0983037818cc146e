"""The model contract: tokens in, hidden states and logits out.

A model that never heard of an objective serves them all: the loss asks for hidden states at the
positions it needs, and for logits from them.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unforced.data.codec import Codec, SymbolCodec
from unforced.models.masks import At, Attention, Inputs, Padding, kind_of
from unforced.parts import Part
from unforced.registry import MODELS, Registry
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
    """A sequence model over token ids.

    attends: the kinds of attention that `hidden` can do: "causal", "full", "mask". A recurrent model has
    causal attention alone, and ignores positions.
    """

    attends: ClassVar[frozenset[str]]
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
        inputs: Inputs,
        *,
        positions: Int[Tensor, "#batch time"] | None = None,
        padding: Padding | None = None,
        attention: Attention = "causal",
        cache: Cache | None = None,
        at: At | None = None,
    ) -> Float[Tensor, "batch chosen width"]:
        """Return the final hidden states at the time steps `at` (all, if None; or indices for each row).

        positions: of each token; counted in real tokens from 0, cached ones included, if None.
        padding: True where a key is real, cached keys first; None if all are. It may stand on either side; a
        padded token attends to itself alone.
        attention: the real keys that each token attends to, cached ones first. Raises ValueError if the model
        does not attend so.
        cache: read and extended by these tokens.
        """

    @abstractmethod
    def logits(self, hidden: Float[Tensor, "batch chosen width"]) -> Float[Tensor, "batch chosen vocab"]:
        """Unembed hidden states."""

    @abstractmethod
    def new_cache(self, batch: int, capacity: int) -> Cache:
        """Return an empty cache for `capacity` tokens of `batch` sequences."""

    def check_attention(self, attention: Attention) -> None:
        """Raise ValueError if the model does not attend so."""
        kind = kind_of(attention)
        if kind not in self.attends:
            known = ", ".join(sorted(self.attends))
            raise ValueError(f"{type(self).__name__} has no {kind} attention, only {known}")

    @abstractmethod
    def to_transformers(self) -> Any:
        """Return a network of transformers that computes the same; it may share these weights.

        Raises UserError where transformers has none.
        """


class ModelConfig(Part, ABC):
    """A frozen description that builds a model."""

    registry: ClassVar[Registry] = MODELS

    @property
    @abstractmethod
    def attends(self) -> frozenset[str]:
        """The kinds of attention of the model that it builds; see SequenceModel."""

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
