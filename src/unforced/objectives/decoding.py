"""Decoding token by token, with a cache."""

import torch
from jaxtyping import Int
from torch import Tensor

from unforced.data.batch import Batch
from unforced.models.base import Cache, SequenceModel


def autoregressive(
    model: SequenceModel, batch: Batch, cache: Cache | None = None
) -> Int[Tensor, "batch answer"]:
    """Decode greedily: read the prompt once, then one token at a time; cost grows linearly in the answer.

    cache: holds the first tokens of the prompts already, but not the last; it is extended.
    """
    prompt, length = batch.prompt.shape[1], batch.answer.shape[1]
    cache = model.new_cache(len(batch), prompt + length - 1) if cache is None else cache
    real = batch.prompt_mask
    tokens, answer = batch.prompt[:, cache.length :], batch.prompt.new_empty((len(batch), length))
    for i in range(length):
        hidden = model.hidden(tokens, padding=real, cache=cache, at=slice(-1, None))
        answer[:, i] = model.logits(hidden)[:, 0].argmax(-1)
        tokens = answer[:, i : i + 1]
        if real is not None:
            real = torch.cat([real, torch.ones_like(tokens, dtype=torch.bool)], dim=1)
    return answer
