"""The objective contract: what is trained and how it is decoded, as pure functions of a batch."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from unforced.data.batch import Batch
from unforced.models.base import ModelConfig, SequenceModel
from unforced.objectives.view import View, answer_logits


@dataclass(frozen=True)
class Loss:
    """A summed loss in nats, and the number of targets summed over: never a mean."""

    total: Float[Tensor, ""]
    count: Int[Tensor, ""]


class Objective(BaseModel, ABC):
    """A frozen config with the functions that make it an objective. It holds no weights."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    forced_note: ClassVar[str] = ""
    """What a reader of this objective's forced accuracy must know; empty where nothing."""
    name: str

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
    def decode(self, model: SequenceModel, heads: nn.Module, batch: Batch) -> Int[Tensor, "batch answer"]:
        """Answer the prompts freely; the batch's answers tell the length alone."""

    @abstractmethod
    def forced(self, model: SequenceModel, heads: nn.Module, batch: Batch) -> Int[Tensor, "batch answer"]:
        """Predict each answer token with the true answer before it as input."""


def answer_cross_entropy(model: SequenceModel, view: View) -> Loss:
    """Sum the negative log-likelihood of the targets, in nats, over those that weigh."""
    logits = answer_logits(model, view).float()
    nats = F.cross_entropy(logits.flatten(0, 1), view.targets.flatten(), reduction="none").view_as(
        view.targets
    )
    if view.weights is None:
        return Loss(nats.sum(), torch.tensor(nats.numel(), device=nats.device))
    return Loss(nats.masked_fill(~view.weights, 0.0).sum(), view.weights.sum())
