"""Transformer blocks: those of `gpt`, and those of objectives' heads on any model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from unforced.models.kernels.attention import BACKENDS, AttentionBias, build_bias
from unforced.models.kernels.precision import full_precision, matmul_dtype
from unforced.models.kernels.rotary import Rotations, rotations, split_heads
from unforced.models.masks import Attention, Padding, QueryPositions, select, token_positions
from unforced.models.roles import set_role

Hidden = Float[Tensor, "batch time width"]
Activation = Literal["gelu", "gelu_tanh"]
Extend = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Takes new keys and values of a layer; returns them behind those of the tokens read before."""

_WIDTH_PER_HEAD = 64


@dataclass
class AttentionKernel:
    """The name of a model's attention kernel; its blocks share it, so that a later choice holds for all."""

    name: str


class TransformerBlock(nn.Module):
    """Attention, then a two-layer perceptron, each behind a layer norm and around a residual."""

    def __init__(self, width: int, heads: int, activation: Activation, kernel: AttentionKernel) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, kernel)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.approximate = "tanh" if activation == "gelu_tanh" else "none"
        for part in (self.attention.projection, self.attention.output, self.up, self.down):
            set_role(part.weight, "matrix")

    def forward(
        self,
        x: Hidden,
        bias: AttentionBias,
        rotations: Rotations | None,
        query_positions: QueryPositions | None = None,
        extend: Extend | None = None,
    ) -> Float[Tensor, "batch chosen width"]:
        """Return the block's output at the time steps `query_positions` (all, if None)."""
        x = select(x, query_positions) + self.attention(
            self.norm1(x), bias, rotations, query_positions, extend
        )
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate=self.approximate))


class SelfAttention(nn.Module):
    """Multi-head self-attention; queries only where an output is asked for."""

    def __init__(self, width: int, heads: int, kernel: AttentionKernel) -> None:
        super().__init__()
        self.heads, self.kernel = heads, kernel
        self.projection = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(
        self,
        x: Hidden,
        bias: AttentionBias,
        rotations: Rotations | None,
        query_positions: QueryPositions | None = None,
        extend: Extend | None = None,
    ) -> Float[Tensor, "batch chosen width"]:
        """Attend from the time steps `query_positions` to those that the bias allows."""
        backend = BACKENDS[self.kernel.name]
        query, key, value = self._project(x, rotations, query_positions, backend.dtype)
        if extend is not None:
            key, value = extend(key, value)
        bias = bias if query_positions is None else bias.rows(query_positions)
        with full_precision(x.device):
            attended = backend.attend(query, key, value, bias)
        joined = attended.transpose(1, 2).to(matmul_dtype(x), memory_format=torch.contiguous_format)
        return self.output(joined.flatten(2))

    def _project(
        self,
        x: Hidden,
        rotations: Rotations | None,
        query_positions: QueryPositions | None,
        dtype: torch.dtype | None,
    ) -> tuple[Tensor, ...]:
        """Return queries (at their positions), keys and values as [batch heads time depth], rotated."""
        dtype = dtype or matmul_dtype(x)
        if query_positions is None:
            return split_heads(self.projection(x), 3, self.heads, rotations, rotated=2, dtype=dtype)
        width = x.shape[-1]
        weight, bias = self.projection.weight, self.projection.bias
        asked = F.linear(select(x, query_positions), weight[:width], bias[:width])
        turns_asked = None if rotations is None else select(rotations[:, 0], query_positions)[:, None]
        (query,) = split_heads(asked, 1, self.heads, turns_asked, rotated=1, dtype=dtype)
        others = F.linear(x, weight[width:], bias[width:])
        key, value = split_heads(others, 2, self.heads, rotations, rotated=1, dtype=dtype)
        return query, key, value


class Layer(nn.Module):
    """A Transformer block that stands alone: what `Trunk.block` builds.

    rotary_base: base of its rotary frequencies; None for a layer without positions of its own.
    """

    def __init__(self, block: TransformerBlock, rotary_base: float | None) -> None:
        super().__init__()
        self.block, self.rotary_base = block, rotary_base

    def forward(
        self,
        hidden: Hidden,
        *,
        positions: Int[Tensor, "#batch time"] | None = None,
        padding: Padding | None = None,
        attention: Attention = "causal",
        query_positions: QueryPositions | None = None,
    ) -> Float[Tensor, "batch chosen width"]:
        """Return the layer's output; the arguments are those of `SequenceModel.hidden`."""
        steps, device = hidden.shape[1], hidden.device
        turn = None
        if self.rotary_base is not None:
            positions = token_positions(padding, steps, 0, device) if positions is None else positions
            depth = hidden.shape[2] // self.block.attention.heads
            turn = rotations(positions, depth, self.rotary_base)
        bias = build_bias(attention, padding, steps, 0, device)
        return self.block(hidden, bias, turn, query_positions)


def build_layer(width: int) -> Layer:
    """Build a layer for a model that is not made of these blocks: rotary positions, PyTorch's attention."""
    heads = max(1, width // _WIDTH_PER_HEAD)
    while width % heads:
        heads -= 1
    even = width // heads % 2 == 0
    layer = Layer(TransformerBlock(width, heads, "gelu", AttentionKernel("sdpa")), 10_000.0 if even else None)
    draw_matrices(layer, std=0.02, residual_divisor=1.0)
    return layer


def draw_matrices(
    module: nn.Module,
    std: float | None,
    residual_divisor: float,
    stds: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Draw all matrices and tables of a module made of blocks; set biases of linear maps to zero.

    std: None stands for 1/sqrt(fan-in). residual_divisor: of the std of a block's two outputs. stds: by name,
    those of parameters with their own.
    """
    for name, parameter in module.named_parameters():
        if parameter.dim() == 1:
            continue  # layer norms stand at one and zero; biases follow below
        fitting = stds.get(name) or std or parameter.shape[1] ** -0.5
        if name.endswith(("output.weight", "down.weight")):
            fitting /= residual_divisor
        nn.init.normal_(parameter, std=fitting)
    for part in module.modules():
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
