"""Views: a batch laid out for a model, and how padding is kept out of it."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unforced.data.batch import Batch
from unforced.models.base import Cache, SequenceModel
from unforced.models.padding import place


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
    mask: Bool[Tensor, "batch time time"] | None = None


def lay_out(
    batch: Batch,
    answer_inputs: Int[Tensor, "batch inputs"],
    weights: Bool[Tensor, "batch answer"] | None = None,
) -> View:
    """Put `answer_inputs` behind the prompts and ask for the answer from the last prompt token on.

    Padding (left of prompts, right of answers) is attended by nobody and weighs nothing; positions count
    real tokens only. `weights` says which answer tokens weigh (all real ones, if None).
    """
    inputs = torch.cat([batch.prompt, answer_inputs], dim=1)
    at = slice(batch.prompt.shape[1] - 1, inputs.shape[1])
    weights = batch.answer_mask if weights is None else weights
    if batch.prompt_mask is None:
        return View(inputs, batch.answer, at, weights)
    real = torch.cat([batch.prompt_mask, torch.ones_like(answer_inputs, dtype=torch.bool)], dim=1)
    positions, mask = place(real)
    return View(inputs, batch.answer, at, weights, positions, mask)


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
        mask=None if view.mask is None else view.mask[:, past:],
        cache=cache,
        at=slice(view.at.start - past, view.at.stop - past),
    )
    return model.logits(hidden)
