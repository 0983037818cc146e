"""Attention inside networks of transformers: PyTorch's, or the kernel that is faster on a short sequence."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from unforced.models.huggingface import transformers
from unforced.models.kernels.attention import AttentionBias, causal_bias, math_attention

NAMES = {"sdpa": "unforced_sdpa", "math": "unforced_math"}
"""By our kernel: the name under which transformers knows it, and builds no masks for it."""


@cache
def register() -> None:
    """Let transformers know both kernels."""
    interface = transformers().AttentionInterface
    interface.register(NAMES["sdpa"], interface()["sdpa"])
    interface.register(NAMES["math"], _attend)


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Compute attention as `math_attention` does, called as transformers calls it.

    query: batch, heads, query, depth; key and value may have fewer heads. Returns batch, query, heads, depth.
    A bias by position is left to PyTorch's attention.
    """
    if more.get("position_bias") is not None:
        sdpa = transformers().AttentionInterface()["sdpa"]
        return sdpa(module, query, key, value, attention_mask, scaling=scaling, **more)
    depth, steps, length = query.shape[-1], query.shape[2], key.shape[2]
    if scaling is not None and scaling != depth**-0.5:
        query = query * (scaling * depth**0.5)
    if (groups := query.shape[1] // key.shape[1]) > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    if attention_mask is None:
        bias = causal_bias(steps, length - steps, query.device)
    elif attention_mask.dtype == torch.bool:
        allowed = attention_mask[..., :length]
        bias = AttentionBias(torch.zeros_like(allowed, dtype=query.dtype).masked_fill_(~allowed, -torch.inf))
    else:
        bias = AttentionBias(attention_mask[..., :length])
    return math_attention(query, key, value, bias).transpose(1, 2).contiguous(), None
