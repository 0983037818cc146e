"""Attention kernels, and the rule that selects one.

No kernel is best everywhere: on a CPU, at the few dozen tokens of a path-star problem, a plain
softmax(Q K^T) V beats PyTorch's fused attention; on a GPU, or at length, the fused one wins. They round
differently, so `auto` follows a rule of device, dtype and length, not a clock.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from unforced.models.masks import Attention, Padding, QueryPositions, allowed_keys, select

Queries = Float[Tensor, "batch heads query depth"]
Keys = Float[Tensor, "batch heads key depth"]


_SHORTEST_IN_BF16 = 32
"""Keys from which a softmax in bf16 fills a vector register of a processor (AVX-512)."""


@dataclass(frozen=True)
class AttentionBias:
    """Which keys each query may attend to: `values` are 0 there and -inf elsewhere (None: to all).

    `causal` says that the mask is plain causal and square, for which fused kernels have a fast path.
    """

    values: Float[Tensor, "#batch #heads query key"] | None
    causal: bool = False

    @classmethod
    def of(cls, allowed: Bool[Tensor, "#batch query key"]) -> "AttentionBias":
        """Build a bias from a mask of allowed pairs."""
        return cls(torch.zeros_like(allowed, dtype=torch.float32).masked_fill_(~allowed, -torch.inf)[:, None])

    def rows(self, query_positions: QueryPositions) -> "AttentionBias":
        """Keep the queries `query_positions`."""
        return AttentionBias(
            None
            if self.values is None
            else select(self.values.transpose(1, 2), query_positions).transpose(1, 2)
        )


def build_bias(
    attention: Attention, padding: Padding | None, steps: int, past: int, device: torch.device
) -> AttentionBias:
    """Build the bias of `steps` queries behind `past` cached keys; see `SequenceModel.hidden`."""
    if padding is None and isinstance(attention, str):
        return causal_bias(steps, past, device) if attention == "causal" else AttentionBias(None)
    return AttentionBias.of(allowed_keys(attention, padding, steps, past, device))


def causal_bias(steps: int, past: int, device: torch.device) -> AttentionBias:
    """Each of `steps` queries attends to the `past` keys before them, to itself, and to no later one."""
    if steps == 1:
        return AttentionBias(None)
    values = torch.full((steps, past + steps), -torch.inf, device=device).triu_(past + 1)
    return AttentionBias(values[None, None], causal=past == 0)


def math_attention(query: Queries, key: Keys, value: Keys, bias: AttentionBias) -> Queries:
    """Compute softmax(Q K^T / sqrt(depth) + bias) V with the whole matrix of scores in memory."""
    batch, heads, steps, depth = query.shape
    query, key, value = (x.reshape(batch * heads, -1, depth) for x in (query, key, value))
    values = bias.values
    if values is None:
        scores = torch.bmm(query, key.mT) * depth**-0.5
    else:
        if values.shape[:2] != (1, 1):
            values = values.expand(batch, heads, -1, -1)
        scores = torch.baddbmm(values.flatten(0, 1).to(query.dtype), query, key.mT, alpha=depth**-0.5)
    return torch.bmm(_softmax(scores), value).view(batch, heads, steps, depth)


def _softmax(scores: Float[Tensor, "rows query key"]) -> Float[Tensor, "rows query key"]:
    """Compute the softmax over keys; in fp32 where PyTorch would work number by number in bf16."""
    short = scores.dtype == torch.bfloat16 and scores.shape[-1] < _SHORTEST_IN_BF16
    if short and scores.device.type == "cpu":
        return scores.float().softmax(-1).to(scores.dtype)
    return scores.softmax(-1)


def sdpa_attention(query: Queries, key: Keys, value: Keys, bias: AttentionBias) -> Queries:
    """Call PyTorch's scaled_dot_product_attention (flash or memory-efficient where they exist)."""
    if bias.causal:
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)
    values = None if bias.values is None else bias.values.to(query.dtype)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=values)


@dataclass(frozen=True)
class Backend:
    """A way to compute attention; `dtype` is what it works in (None: that of the matrix products)."""

    attend: Callable[[Queries, Keys, Keys, AttentionBias], Queries]
    dtype: torch.dtype | None = None


BACKENDS = {
    "math": Backend(math_attention),
    "math_fp32": Backend(math_attention, torch.float32),
    "sdpa": Backend(sdpa_attention),
}


REFERENCE = "math"
"""The kernel whose operations are counted, whichever kernel runs."""

_LONGEST_EXPLICIT = {torch.float32: 128, torch.bfloat16: 512}
"""Lengths up to which `math` is the fastest on a CPU: measured, see docs/performance.md."""


def select_attention(device: torch.device, dtype: torch.dtype, length: int) -> str:
    """Return the kernel of `auto`, by a rule, so that equal machines select the same one."""
    if device.type == "cpu" and length <= _LONGEST_EXPLICIT.get(dtype, 0):
        return "math"
    return "sdpa"
