"""Split a projection into attention heads and rotate queries and keys to their positions, in one pass.

Pairs of neighbouring features are complex numbers; position t rotations pair i by t * base^(-2i/depth).
Source: arXiv 2104.09864, Sec. 3.4. Written as one autograd function because on a processor the
element-wise passes that autograd would make of it cost as much as the attention itself.
"""

from typing import Any

import torch
from jaxtyping import Complex64, Float, Int
from torch import Tensor

Rotations = Complex64[Tensor, "#batch 1 time pairs"]


def rotations(positions: Int[Tensor, "#batch time"], depth: int, base: float) -> Rotations:
    """Return the unit complex number that each feature pair is multiplied by, per position."""
    frequency = base ** (-torch.arange(0, depth, 2, device=positions.device) / depth)
    angle = positions[:, None, :, None].float() * frequency
    return torch.polar(torch.ones_like(angle), angle)


def split_heads(
    projected: Float[Tensor, "batch time features"],
    kinds: int,
    heads: int,
    rotations: Rotations | None,
    rotated: int,
    dtype: torch.dtype,
) -> tuple[Tensor, ...]:
    """Split into `kinds` tensors (queries, keys, values) of [batch heads time depth] in `dtype`.

    The first `rotated` kinds are rotated by `rotations`.
    """
    split: tuple[Tensor, ...] = _SplitHeads.apply(projected, kinds, heads, rotations, rotated, dtype)  # type: ignore[no-untyped-call]
    return split


class _SplitHeads(torch.autograd.Function):
    @staticmethod
    def forward(
        projected: Tensor,
        kinds: int,
        heads: int,
        rotations: Rotations | None,
        rotated: int,
        dtype: torch.dtype,
    ) -> tuple[Tensor, ...]:
        batch, time, features = projected.shape
        depth = features // (kinds * heads)
        split = projected.view(batch, time, kinds, heads, depth).permute(2, 0, 3, 1, 4)
        if rotations is None:
            return split.to(dtype, memory_format=torch.contiguous_format, copy=True).unbind(0)
        output = split.new_empty(split.shape, dtype=torch.float32).copy_(split)
        pairs = torch.view_as_complex(output[:rotated].unflatten(-1, (-1, 2)))
        pairs.mul_(rotations)
        return output.to(dtype).unbind(0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        projected, _, _, ctx.rotations, ctx.rotated, _ = inputs
        ctx.dtype = projected.dtype

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        projected: Tensor,
        kinds: int,
        heads: int,
        rotations: Tensor | None,
        *others: Any,
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """Fold the mapped axis into the batch."""
        count = info.batch_size
        folded = _folded(projected, in_dims[0], count)
        if rotations is not None and (in_dims[3] is not None or len(rotations) > 1):
            rotations = _folded(rotations, in_dims[3], count, len(folded) // count)
        split = _SplitHeads.apply(folded, kinds, heads, rotations, *others)  # type: ignore[no-untyped-call]
        return tuple(each.unflatten(0, (count, -1)) for each in split), (0,) * kinds

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        batch, heads, time, depth = gradients[0].shape
        shape = batch, time, len(gradients), heads, depth
        output = gradients[0].new_empty(shape, dtype=ctx.dtype)
        rotated = 0 if ctx.rotations is None else ctx.rotated
        for kind, gradient in enumerate(gradients):
            place = output[:, :, kind].transpose(1, 2)
            if kind < rotated:
                pairs = torch.view_as_complex(gradient.float().contiguous().unflatten(-1, (-1, 2)))
                place.copy_(torch.view_as_real(pairs * ctx.rotations.conj()).flatten(-2))
            else:
                place.copy_(gradient)
        return output.view(batch, time, -1), None, None, None, None, None


def _folded(tensor: Tensor, axis: int | None, count: int, batch: int = -1) -> Tensor:
    """Fold an axis of length `count` (None: it is missing) into the batch, which has `batch` rows, or one."""
    tensor = tensor.expand(count, *tensor.shape) if axis is None else tensor.movedim(axis, 0)
    return tensor.expand(-1, batch, *tensor.shape[2:]).flatten(0, 1)
