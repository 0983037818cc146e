"""Views: a batch laid out for a model, and how padding is kept out of it."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unforced.data.batch import Batch
from unforced.models.base import Cache, SequenceModel
from unforced.models.masks import Attention


@dataclass(frozen=True)
class View:
    """What the model reads, where it is asked, and what it should say there.

    An objective with more to carry (targets per head, pairs, a noise level) extends it: the training loop
    only hands it from `view` to `loss`.
    """

    inputs: Int[Tensor, "batch time"]
    targets: Int[Tensor, "batch answer"]
    at: slice
    weights: Bool[Tensor, "batch answer"] | None = None
    positions: Int[Tensor, "batch time"] | None = None
    padding: Bool[Tensor, "batch time"] | None = None
    attention: Attention = "causal"


def lay_out(
    batch: Batch,
    answer_inputs: Int[Tensor, "batch inputs"],
    weights: Bool[Tensor, "batch answer"] | None = None,
) -> View:
    """Put `answer_inputs` behind the prompts and ask for the answer from the last prompt token on.

    Padding on the left of prompts is attended by nobody; padding on the right of answers weighs nothing.
    `weights` says which answer tokens weigh (all real ones, if None).
    """
    inputs = torch.cat([batch.prompt, answer_inputs], dim=1)
    at = slice(batch.prompt.shape[1] - 1, inputs.shape[1])
    weights = batch.answer_mask if weights is None else weights
    if batch.prompt_mask is None:
        return View(inputs, batch.answer, at, weights)
    real = torch.cat([batch.prompt_mask, torch.ones_like(answer_inputs, dtype=torch.bool)], dim=1)
    return View(inputs, batch.answer, at, weights, padding=real)


def answer_logits(
    model: SequenceModel, view: View, cache: Cache | None = None
) -> Float[Tensor, "batch answer vocab"]:
    """Return the logits at the positions that a view asks about.

    cache: holds the first tokens of the inputs already, but none that is asked about; it is extended.
    """
    past = 0 if cache is None else cache.length
    hidden = model.hidden(
        view.inputs[:, past:],
        positions=None if view.positions is None else view.positions[:, past:],
        padding=view.padding,
        attention=view.attention if isinstance(view.attention, str) else view.attention[:, past:],
        cache=cache,
        at=slice(view.at.start - past, view.at.stop - past),
    )
    return model.logits(hidden)
