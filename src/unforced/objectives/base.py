"""The objective contract: what is trained and how it is decoded, as pure functions of a batch."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from unforced.data.batch import Batch
from unforced.models.base import Cache, ModelConfig, SequenceModel
from unforced.objectives.view import View, answer_logits
from unforced.parts import Part
from unforced.registry import OBJECTIVES, Registry

Logits = Float[Tensor, "batch answer vocab"]


@dataclass(frozen=True)
class Loss:
    """A summed loss in nats, and the number of targets summed over: never a mean."""

    total: Float[Tensor, ""]
    count: Int[Tensor, ""]


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

    @abstractmethod
    def sequence_length(self, prompt: int, answer: int) -> int:
        """Return the longest sequence that training or decoding feeds the model."""

    @abstractmethod
    def build_heads(self, model: ModelConfig, vocab_size: int, max_length: int) -> nn.Module:
        """Build the trained parts beside the model: heads, a second encoder, or nothing."""

    @abstractmethod
    def view(self, batch: Batch, rng: np.random.Generator) -> View:
        """Lay a batch out for training. Pure: all chance comes from `rng`, seeded by run and step."""

    @abstractmethod
    def loss(self, model: SequenceModel, heads: nn.Module, view: View) -> Loss:
        """Return the summed training loss of a view."""

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


def answer_cross_entropy(model: SequenceModel, view: View) -> Loss:
    """Sum the negative log-likelihood of the targets, in nats, over those that weigh."""
    logits = answer_logits(model, view).float()
    nats = F.cross_entropy(logits.flatten(0, 1), view.targets.flatten(), reduction="none").view_as(
        view.targets
    )
    if view.weights is None:
        return Loss(nats.sum(), torch.full((), nats.numel(), dtype=torch.int64, device=nats.device))
    return Loss(nats.masked_fill(~view.weights, 0.0).sum(), view.weights.sum())
