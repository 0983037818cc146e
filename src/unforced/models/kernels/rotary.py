"""Split a projection into attention heads and rotate queries and keys to their positions, in one pass.

Pairs of neighbouring features are complex numbers; position t turns pair i by t * base^(-2i/depth).
Source: arXiv 2104.09864, Sec. 3.4. Written as one autograd function because on a processor the
element-wise passes that autograd would make of it cost as much as the attention itself.
"""

from typing import Any

import torch
from jaxtyping import Complex64, Float, Int
from torch import Tensor

Turns = Complex64[Tensor, "#batch 1 time pairs"]


def turns(positions: Int[Tensor, "#batch time"], depth: int, base: float) -> Turns:
    """Return the unit complex number that each feature pair is multiplied by, per position."""
    frequency = base ** (-torch.arange(0, depth, 2, device=positions.device) / depth)
    angle = positions[:, None, :, None].float() * frequency
    return torch.polar(torch.ones_like(angle), angle)


def split_heads(
    projected: Float[Tensor, "batch time features"],
    kinds: int,
    heads: int,
    turns: Turns | None,
    turned: int,
    dtype: torch.dtype,
) -> tuple[Tensor, ...]:
    """Split into `kinds` tensors (queries, keys, values) of [batch heads time depth] in `dtype`.

    The first `turned` kinds are rotated by `turns`.
    """
    split: Tensor = _SplitHeads.apply(projected, kinds, heads, turns, turned, dtype)  # type: ignore[no-untyped-call]
    return split.unbind(0)


class _SplitHeads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        projected: Tensor,
        kinds: int,
        heads: int,
        turns: Turns | None,
        turned: int,
        dtype: torch.dtype,
    ) -> Tensor:
        ctx.turns, ctx.turned, ctx.dtype = turns, turned, projected.dtype
        batch, time, features = projected.shape
        depth = features // (kinds * heads)
        split = projected.view(batch, time, kinds, heads, depth).permute(2, 0, 3, 1, 4)
        if turns is None:
            return split.to(dtype, memory_format=torch.contiguous_format, copy=True)
        output = torch.empty(split.shape, dtype=torch.float32, device=split.device).copy_(split)
        pairs = torch.view_as_complex(output[:turned].unflatten(-1, (-1, 2)))
        pairs.mul_(turns)
        return output.to(dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        kinds, batch, heads, time, depth = gradient.shape
        output = torch.empty((batch, time, kinds, heads, depth), dtype=ctx.dtype, device=gradient.device)
        split = output.permute(2, 0, 3, 1, 4)
        turned = 0 if ctx.turns is None else ctx.turned
        if turned:
            pairs = torch.view_as_complex(gradient[:turned].float().contiguous().unflatten(-1, (-1, 2)))
            split[:turned] = torch.view_as_real(pairs * ctx.turns.conj()).flatten(-2)
        split[turned:] = gradient[turned:]
        return output.view(batch, time, -1), None, None, None, None, None
