"""Losses of each row of a view."""

from collections.abc import Mapping

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unforced.models.base import SequenceModel
from unforced.objectives.view import ANSWER, View, answer_logits


def cross_entropy(
    logits: Float[Tensor, "batch answer vocab"],
    targets: Int[Tensor, "batch answer"],
    weights: Float[Tensor, "batch answer"] | Bool[Tensor, "batch answer"] | None = None,
) -> Float[Tensor, " batch"]:
    """Sum the negative log-likelihood of each row's targets, in nats, by their weights (None: all weigh 1).

    A target of weight 0 adds 0, and a gradient of 0, also where the model holds it impossible.
    """
    return token_losses(logits, targets, weights).sum(1)


def token_losses(
    logits: Float[Tensor, "batch answer vocab"],
    targets: Int[Tensor, "batch answer"],
    weights: Float[Tensor, "batch answer"] | Bool[Tensor, "batch answer"] | None = None,
) -> Float[Tensor, "batch answer"]:
    """Return the negative log-likelihood of each target, times its weight; see `cross_entropy`."""
    flat = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
    nats = flat.view_as(targets)
    if weights is None:
        return nats
    nats = nats.masked_fill(weights == 0, 0.0)
    return nats if not weights.is_floating_point() else nats * weights


def answer_loss(model: SequenceModel, view: View) -> Mapping[str, Float[Tensor, " batch"]]:
    """Return the cross-entropy of the answer as the one term of a loss."""
    return {ANSWER: cross_entropy(answer_logits(model, view), view.targets, view.weights)}
