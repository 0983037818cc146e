"""Objectives that add an auxiliary loss to that of next-token prediction."""

from abc import ABC
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from unforced.data.batch import Batch
from unforced.decoding.autoregressive import Autoregressive
from unforced.decoding.base import Decoder
from unforced.models.base import SequenceModel
from unforced.objectives.base import Objective
from unforced.objectives.losses import cross_entropy
from unforced.objectives.schedule import Weight, is_ever_positive
from unforced.objectives.view import ANSWER, NEXT_TOKEN, View, lay_out


class AuxiliaryObjective(Objective, ABC):
    """Next-token prediction with a loss that heads or further targets add; decoded token by token.

    The term NEXT_TOKEN is next-token prediction's own loss. Heads are not needed for decoding.
    """

    decoders: ClassVar[tuple[str, ...]] = ("autoregressive",)

    @property
    def shows(self) -> Literal["prefix"]:
        """All of the answer before a token."""
        return "prefix"

    @property
    def default_decoder(self) -> Decoder:
        """Token by token, greedily, by the model alone."""
        return Autoregressive()


def check_weights(fields: str, *weights: Weight) -> None:
    """Raise ValueError if all weights of what is added to next-token prediction are 0 for the whole run."""
    if not any(is_ever_positive(weight) for weight in weights):
        raise ValueError(f"{fields}: 0 for the whole run trains next_token alone; use objective=next_token")


def next_token_view(objective: Objective, batch: Batch, weight: float = 1.0) -> View:
    """Return the view of next-token prediction, with NEXT_TOKEN as its one term."""
    view = lay_out(batch, batch.answer[:, :-1], objective.weights(batch))
    return replace(view, terms={NEXT_TOKEN: replace(view.terms[ANSWER], weight=weight)})


def next_token_loss(
    model: SequenceModel, hidden: Float[Tensor, "batch answer width"], view: View
) -> Mapping[str, Float[Tensor, " batch"]]:
    """Return the term NEXT_TOKEN, from the states at the view's query positions."""
    return {NEXT_TOKEN: cross_entropy(model.logits(hidden), view.targets, view.weights)}
