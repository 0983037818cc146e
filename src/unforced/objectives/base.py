"""The objective contract: what is trained, as pure functions of a batch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from unforced.data.batch import Batch
from unforced.decoding.base import Decoder
from unforced.decoding.modes import Shows
from unforced.models.base import SequenceModel, Trunk
from unforced.objectives.moment import Moment
from unforced.objectives.view import View
from unforced.parts import Part
from unforced.registry import OBJECTIVES, Registry


@dataclass(frozen=True)
class Needs:
    """What an objective needs of the model and of the vocabulary.

    attention: what its views ask for; "mask" is any mask. specials: names of further special tokens, whose
    ids batches hold.
    """

    attention: Literal["causal", "full", "mask"] = "causal"
    specials: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeadLogits:
    """What a head predicts of answers: logits of each answer token, and which tokens it predicts at all."""

    logits: Float[Tensor, "batch answer vocab"]
    predicts: Bool[Tensor, "batch answer"]


class Objective(Part, ABC):
    """A frozen config with the functions that make it an objective. It holds no weights.

    decoders  names of the decoders that fit
    """

    registry: ClassVar[Registry] = OBJECTIVES
    decoders: ClassVar[tuple[str, ...]] = ()
    train_positions: tuple[int, ...] | None = Field(
        None, min_length=1, description="answer positions that the loss counts, forward order (null: all)"
    )

    @property
    def needs(self) -> Needs:
        """What it needs of the model and of the vocabulary."""
        return Needs()

    @property
    @abstractmethod
    def shows(self) -> Shows:
        """What training shows of the true answer when a token is predicted: all before it, parts, nothing."""

    @property
    @abstractmethod
    def default_decoder(self) -> Decoder:
        """The decoder that fits the training, where a run names no other."""

    def fits(self, decoder: Decoder) -> bool:
        """Whether a decoder fits the training: one of the two names the other."""
        return decoder.name in self.decoders or self.name in decoder.objectives

    def decoding(self, decoder: Decoder | None = None) -> Decoder:
        """Return a decoder (None: the default one), with the settings filled in that training decides.

        Raises ValueError, "FIELD: reason", if such a setting is given and is not that of training.
        """
        return self.default_decoder if decoder is None else decoder

    def check(self, answer: int) -> None:
        """Raise ValueError, "FIELD: reason", if a setting does not go with answers of `answer` tokens."""

    def for_answers(self, answer: int) -> "Objective":
        """Return the objective with what depends on the longest answer filled in, which has `answer` tokens.

        For batches that are padded to their own longest answers; by default, nothing depends on it.
        """
        return self

    def sequence_length(self, prompt: int, answer: int) -> int:
        """Return the longest sequence that training or decoding feeds the model."""
        return prompt + answer - 1

    def build_heads(self, trunk: Trunk) -> nn.Module:
        """Build the modules that are trained with the model: heads, a second encoder, or nothing."""
        return nn.Identity()

    def heads_for(self, decoder: Decoder, heads: nn.Module) -> nn.Module:
        """Return those of the heads that a decoder relies on."""
        return heads

    @abstractmethod
    def view(self, batch: Batch, moment: Moment) -> View:
        """Lay a batch out for training. A pure function: all randomness comes from `moment`."""

    @abstractmethod
    def loss(
        self, model: SequenceModel, heads: nn.Module, view: View
    ) -> Mapping[str, Float[Tensor, " batch"]]:
        """Return the loss of each row, summed over its targets, in nats; for each of the view's terms."""

    def head_logits(self, model: SequenceModel, heads: nn.Module, batch: Batch) -> Mapping[str, HeadLogits]:
        """Return what each head predicts of the answer, given the true tokens that it is trained to see.

        By default, nothing: for objectives whose heads predict no tokens of their own.
        """
        return {}

    def weights(self, batch: Batch) -> Bool[Tensor, "batch answer"] | None:
        """Say which answer tokens the loss counts: real ones at the positions to train; None for all."""
        if self.train_positions is None:
            return batch.answer_mask
        wanted = batch.covers(self.train_positions).expand(batch.answer.shape)
        return wanted if batch.answer_mask is None else wanted & batch.answer_mask
