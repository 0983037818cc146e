"""The model contract: tokens in, hidden states and logits out.

A model that never heard of an objective serves them all: the loss asks for hidden states at the
positions it needs, and for logits from them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unforced.data.vocabulary import Vocabulary
from unforced.errors import UserError
from unforced.models.masks import Attention, Inputs, Padding, QueryPositions, kind_of
from unforced.parts import Part
from unforced.registry import MODELS, Registry


@runtime_checkable
class Cache(Protocol):
    """Decoding state of a model: its KV cache or recurrent state."""

    length: int

    def fork(self) -> "Cache":
        """Return a cache that continues from here, so that several continuations share the prompt.

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

    def select_kernels(
        self, device: torch.device, dtype: torch.dtype, length: int, known: Mapping[str, str]
    ) -> dict[str, str]:
        """Select kernels for sequences of `length` tokens by rule, and return them by kind.

        By default there is nothing to select. device: "meta" selects the kernels whose operations are
        counted. dtype: that of matrix products. known: the kernels of an earlier session of the same run,
        which are kept where they can run.
        """
        return {}

    @abstractmethod
    def embed(
        self,
        tokens: Int[Tensor, "batch time"],
        *,
        padding: Padding | None = None,
        attention: Attention = "causal",
        cache: Cache | None = None,
    ) -> Float[Tensor, "batch time width"]:
        """Return what `hidden` takes in place of the tokens, with equal results.

        The options are those of `hidden`. They matter only where the embedding of a token depends on those
        before it.
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
        query_positions: QueryPositions | None = None,
    ) -> Float[Tensor, "batch chosen width"]:
        """Return the final hidden states at some time steps, the `query_positions`.

        query_positions: all, if None; a slice or indices; or indices for each row.
        inputs: token ids, or embeddings as `embed` returns them; positions are added here.
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
            kinds = ", ".join(sorted(self.attends))
            raise ValueError(f"{type(self).__name__} has no {kind} attention, only {kinds}")

    @abstractmethod
    def trunk(self) -> "Trunk":
        """Return what an objective's heads may rely on."""

    def to_transformers(self) -> Any:
        """Return a network of transformers that computes the same; it may share these weights.

        Raises UserError where transformers has none, as by default.
        """
        raise UserError(
            f"{type(self).__name__} cannot be exported: transformers has no network that computes it"
        )


@dataclass(frozen=True)
class Trunk:
    """What an objective's heads may rely on: the sizes of a model, and more parts like its own.

    max_length  the longest sequence that the run feeds
    block       builds one more layer with fresh weights: a module from hidden states to hidden states, with
                the options `positions`, `padding`, `attention`, `query_positions` of `SequenceModel.hidden`
    twin        builds a second model of the same config, with fresh weights
    """

    width: int
    vocab_size: int
    max_length: int
    block: Callable[[], torch.nn.Module]
    twin: Callable[[], SequenceModel]


@dataclass(frozen=True)
class Origin:
    """Where the weights come from that a run starts with.

    name        what a message calls it
    hub_name    the name on the hub, or None
    keeps_bf16  whether some weights are in bf16, so that matrix products must be
    """

    name: str = "the model"
    hub_name: str | None = None
    keeps_bf16: bool = False


class ModelConfig(Part, ABC):
    """A frozen description that builds a model."""

    registry: ClassVar[Registry] = MODELS

    @property
    @abstractmethod
    def attends(self) -> frozenset[str]:
        """The kinds of attention of the model that it builds; see SequenceModel."""

    @property
    @abstractmethod
    def origin(self) -> Origin:
        """Where its weights come from."""

    @property
    def stacked_kernels(self) -> Mapping[str, str] | None:
        """The kernels, by kind, with which `torch.vmap` can compute several models at once; None: no such."""
        return None

    @property
    def most_tokens(self) -> int | None:
        """The longest sequence that the model reads; None: as long as it is built for."""
        return None

    @abstractmethod
    def vocabulary(self) -> Vocabulary:
        """Return the tokens that it knows before a run."""

    @abstractmethod
    def build(self, vocab_size: int, max_length: int) -> SequenceModel:
        """Build the model with fresh weights, drawn from torch's global generator.

        max_length: the longest sequence that it must be able to read, in tokens.
        """

    @abstractmethod
    def build_empty(self, vocab_size: int, max_length: int) -> SequenceModel:
        """Build the model without weights (on the meta device), so that operations can be counted."""


class FromScratch(ModelConfig, ABC):
    """A model whose weights are all drawn when it is built."""

    @property
    def origin(self) -> Origin:
        """The model itself."""
        return Origin()

    def vocabulary(self) -> Vocabulary:
        """No token."""
        return Vocabulary()

    def build_empty(self, vocab_size: int, max_length: int) -> SequenceModel:
        """Build the model on the meta device."""
        with torch.device("meta"):
            return self.build(vocab_size, max_length)
