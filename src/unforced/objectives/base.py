"""The objective contract: what is trained and how it is decoded, as pure functions of a batch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from unforced.data.batch import Batch
from unforced.models.base import Cache, SequenceModel, Trunk
from unforced.objectives.moment import Moment
from unforced.objectives.view import View
from unforced.parts import Part
from unforced.registry import OBJECTIVES, Registry

Logits = Float[Tensor, "batch answer vocab"]


@dataclass(frozen=True)
class Needs:
    """What an objective needs of the model and of the vocabulary.

    attention: what its views ask for; "mask" is any mask. specials: names of further special tokens, whose
    ids batches hold.
    """

    attention: Literal["causal", "full", "mask"] = "causal"
    specials: tuple[str, ...] = ()


class Objective(Part, ABC):
    """A frozen config with the functions that make it an objective. It holds no weights.

    `cache`, where a function takes one, holds the first tokens of the batch's prompts already (not the
    last), so that several questions about the same prompts read them once; it is extended. An objective
    that cannot use it may ignore it.
    """

    registry: ClassVar[Registry] = OBJECTIVES
    reads_answer: ClassVar[bool] = True
    """Whether training shows the true answer so far, so that forced measures speak of what was trained."""
    forced_note: ClassVar[str] = ""
    """What a reader of this objective's forced accuracy must know; empty where nothing."""
    decoding_recipe: ClassVar[str]
    """Python that decodes as `decode` does, on transformers alone.

    It finds `torch`, `model`, `tokenizer`, `prompts` (lines of text, equally many tokens in each) and
    `answer_length`, and leaves token ids in `answers`.
    """
    train_positions: tuple[int, ...] | None = Field(
        None, min_length=1, description="answer positions that the loss counts, forward order (null: all)"
    )

    @property
    def needs(self) -> Needs:
        """What it needs of the model and of the vocabulary."""
        return Needs()

    @property
    @abstractmethod
    def shows(self) -> Literal["prefix", "parts", "nothing"]:
        """What training shows of the true answer when a token is predicted: all before it, parts, nothing."""

    def sequence_length(self, prompt: int, answer: int) -> int:
        """Return the longest sequence that training or decoding feeds the model."""
        return prompt + answer - 1

    def build_heads(self, trunk: Trunk) -> nn.Module:
        """Build the trained parts beside the model: heads, a second encoder, or nothing."""
        return nn.Identity()

    @abstractmethod
    def view(self, batch: Batch, moment: Moment) -> View:
        """Lay a batch out for training. A pure function: all randomness comes from `moment`."""

    @abstractmethod
    def loss(
        self, model: SequenceModel, heads: nn.Module, view: View
    ) -> Mapping[str, Float[Tensor, " batch"]]:
        """Return the loss of each row, summed over its targets, in nats; for each of the view's terms."""

    @abstractmethod
    def decode(
        self, model: SequenceModel, heads: nn.Module, batch: Batch, cache: Cache | None = None
    ) -> Int[Tensor, "batch answer"]:
        """Answer the prompts freely; the batch's answers tell the length alone."""

    @abstractmethod
    def predict(
        self, model: SequenceModel, heads: nn.Module, batch: Batch, cache: Cache | None = None
    ) -> Logits:
        """Return the logits of each answer token on the inputs that training gives for it."""

    @abstractmethod
    def forced(
        self, model: SequenceModel, heads: nn.Module, batch: Batch, cache: Cache | None = None
    ) -> Logits:
        """Return the logits of each answer token with the true answer before it as input."""

    @property
    def trained_mode(self) -> Literal["forced", "free"]:
        """Name the mode of measuring that gives a position the inputs of training."""
        return "forced" if self.reads_answer else "free"

    @property
    def exact_measures(self) -> tuple[str, ...]:
        """Name the accuracies that are all near one where all that is trained is right."""
        if self.train_positions is None:
            return ("free.exact",)
        return tuple(f"{self.trained_mode}.token_{position}" for position in self.train_positions)

    def weights(self, batch: Batch) -> Bool[Tensor, "batch answer"] | None:
        """Say which answer tokens the loss counts: real ones at the positions to train; None for all."""
        if self.train_positions is None:
            return batch.answer_mask
        wanted = batch.covers(self.train_positions).expand(batch.answer.shape)
        return wanted if batch.answer_mask is None else wanted & batch.answer_mask
