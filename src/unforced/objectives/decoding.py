"""Decoders: token by token with a cache, or all at once."""

import torch
from jaxtyping import Int
from torch import Tensor

from unforced.data.batch import Batch
from unforced.models.base import SequenceModel
from unforced.objectives.view import View, answer_logits, place


def predict(model: SequenceModel, view: View) -> Int[Tensor, "batch answer"]:
    """Return the likeliest token at each position that a view asks about, in one pass."""
    return answer_logits(model, view).argmax(-1)


def autoregressive(model: SequenceModel, batch: Batch) -> Int[Tensor, "batch answer"]:
    """Decode greedily: read the prompt once, then one token at a time; cost grows linearly in the answer."""
    prompt, length = batch.prompt.shape[1], batch.answer.shape[1]
    cache = model.new_cache(len(batch), prompt + length - 1)
    real = batch.prompt_mask
    positions, mask = (None, None) if real is None else place(real)
    tokens, answer = batch.prompt, batch.prompt.new_empty((len(batch), length))
    for i in range(length):
        hidden = model.hidden(tokens, positions=positions, mask=mask, cache=cache, at=slice(-1, None))
        answer[:, i] = model.logits(hidden)[:, 0].argmax(-1)
        tokens = answer[:, i : i + 1]
        if real is not None:
            real = torch.cat([real, torch.ones_like(tokens, dtype=torch.bool)], dim=1)
            positions, mask = real.sum(1, keepdim=True) - 1, real[:, None, :]
    return answer
