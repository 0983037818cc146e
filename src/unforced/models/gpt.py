"""`gpt`: a decoder-only Transformer, small and fast, with the field's init choices as switches.

Pre-norm, GELU with four times the width, learned or rotary positions, tied or untied output. The last
block works only at the time steps that the caller asked for: an objective with 5 answer tokens in 31
pays for 5.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from unforced.errors import UserError
from unforced.models.attention import BACKENDS, Pattern, build_pattern, fastest
from unforced.models.base import Cache, ModelConfig, SequenceModel
from unforced.models.masks import At, Attention, Inputs, Padding, allowed_keys, select, token_positions
from unforced.models.precision import full_precision, matrix_dtype
from unforced.models.rotary import Turns, split_heads, turns

Hidden = Float[Tensor, "batch time width"]


class GPT(ModelConfig):
    """A decoder-only Transformer trained from scratch.

    Source: the architecture of arXiv 2403.06963's GPT-Mini (12 layers, width 384, 6 heads), which has no
    `smear`: that switch hands every token its predecessor, as the smeared keys of arXiv 2209.11895 do, so
    that a look-up ("what stood before this token?") takes one attention layer rather than two.
    """

    name: Literal["gpt"] = "gpt"
    layers: int = Field(12, ge=1, description="Transformer blocks")
    width: int = Field(384, ge=1, description="features per token")
    heads: int | None = Field(None, ge=1, description="attention heads (null: one per 64 of width)")
    positions: Literal["learned", "rotary"] = Field("rotary", description="how positions are encoded")
    rotary_base: float = Field(10_000.0, gt=1, description="base of the rotary frequencies")
    smear: bool = Field(False, description="embed the token before along with each token")
    tied: bool = Field(False, description="the output shares the token embedding's matrix")
    gelu: Literal["exact", "tanh"] = Field("exact", description="GELU by erf, or its tanh approximation")
    init_std: float | None = Field(
        0.02, gt=0, description="std of initial matrices and embeddings (null: 1/sqrt(fan-in))"
    )
    position_std: float = Field(0.02, gt=0, description="std of initial learned positions")
    residual_init: Literal["scaled", "plain"] = Field(
        "scaled", description="divide the init of residual outputs by sqrt(2 layers), or not"
    )
    attention: Literal["auto", "explicit", "explicit_fp32", "fused"] = Field(
        "auto", description="attention back-end (auto: the fastest, measured)"
    )

    @property
    def attends(self) -> frozenset[str]:
        """All kinds."""
        return Transformer.attends

    @property
    def num_heads(self) -> int:
        """Attention heads, resolved."""
        return self.heads or max(1, self.width // 64)

    @model_validator(mode="after")
    def _heads_fit(self) -> "GPT":
        if self.width % self.num_heads:
            raise ValueError(f"heads: {self.num_heads} heads do not divide width {self.width}")
        if self.positions == "rotary" and self.width // self.num_heads % 2:
            raise ValueError(
                f"heads: rotary positions need an even width per head, not {self.width // self.num_heads}"
            )
        return self

    def build(self, vocab_size: int, max_length: int) -> "Transformer":
        """Build the model with fresh weights, drawn from torch's global generator."""
        return Transformer(self, vocab_size, max_length)


@dataclass
class KeyValueCache:
    """Keys and values of the tokens read so far, per layer, and the newest of the tokens."""

    keys: Float[Tensor, "layers batch heads capacity depth"]
    values: Float[Tensor, "layers batch heads capacity depth"]
    length: int = 0
    newest: Int[Tensor, "batch 1"] | None = None

    @property
    def capacity(self) -> int:
        """How many tokens it can hold."""
        return self.keys.shape[3]

    def fork(self) -> "KeyValueCache":
        """Go on from here in the same memory."""
        return replace(self)

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write a layer's new keys and values behind the old ones; return all of them."""
        end = self.length + key.shape[2]
        self.keys[layer, :, :, self.length : end] = key
        self.values[layer, :, :, self.length : end] = value
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class Transformer(SequenceModel):
    """The module that a `GPT` config builds."""

    attends = frozenset({"causal", "full", "mask"})

    def __init__(self, config: GPT, vocab_size: int, max_length: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.width, self.max_length = (
            config,
            vocab_size,
            config.width,
            max_length,
        )
        self.tokens = nn.Embedding(vocab_size, config.width)
        self.before = nn.Embedding(vocab_size + 1, config.width) if config.smear else None
        self.places = nn.Embedding(max_length, config.width) if config.positions == "learned" else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.unembedding = nn.Linear(config.width, vocab_size, bias=False)
        self.backend: str = "explicit" if config.attention == "auto" else config.attention
        self._initialise()

    def _initialise(self) -> None:
        config = self.config
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                continue  # layer norms stand at one and zero; biases follow below
            std = config.init_std or parameter.shape[1] ** -0.5
            if name == "places.weight":
                std = config.position_std
            elif name.endswith(("output.weight", "down.weight")) and config.residual_init == "scaled":
                std /= math.sqrt(2 * config.layers)
            nn.init.normal_(parameter, std=std)
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        if config.tied:
            self.unembedding.weight = self.tokens.weight

    def tune(
        self, device: torch.device, dtype: torch.dtype, length: int, known: Mapping[str, str]
    ) -> dict[str, str]:
        """Choose the attention back-end."""
        if self.config.attention == "auto":
            heads = self.config.num_heads
            chosen = known.get("attention", "")
            self.backend = (
                chosen if chosen in BACKENDS else fastest(device, dtype, heads, self.width // heads, length)
            )
        return {"attention": self.backend}

    def hidden(
        self,
        inputs: Inputs,
        *,
        positions: Int[Tensor, "#batch time"] | None = None,
        padding: Padding | None = None,
        attention: Attention = "causal",
        cache: Cache | None = None,
        at: At | None = None,
    ) -> Float[Tensor, "batch chosen width"]:
        """Return the final hidden states; see SequenceModel."""
        assert cache is None or isinstance(cache, KeyValueCache)
        self.check_attention(attention)
        tokens = inputs
        steps, past = tokens.shape[1], 0 if cache is None else cache.length
        if past + steps > self.max_length:
            raise UserError(
                f"a sequence of {past + steps} tokens exceeds the model's {self.max_length} positions"
            )
        if cache is not None and past + steps > cache.capacity:
            raise UserError(f"a cache for {cache.capacity} tokens cannot hold {past + steps}")
        if positions is None:
            positions = token_positions(padding, steps, past, tokens.device)
        pattern = build_pattern(attention, padding, steps, past, tokens.device)
        x = self.tokens(tokens)
        if self.before is not None:
            x = x + self.before(self._predecessors(tokens, padding, attention, cache))
        turn = None
        if self.places is None:
            depth = self.width // self.config.num_heads
            turn = turns(positions, depth, self.config.rotary_base)
        else:
            x = x + self.places(positions)
        for layer, block in enumerate(self.blocks):
            last = layer == len(self.blocks) - 1
            x = block(x, Surroundings(pattern, turn, self.backend, layer, cache), at if last else None)
        if cache is not None:
            cache.length += steps
            cache.newest = tokens[:, -1:]
        return self.norm(x)

    def _predecessors(
        self,
        tokens: Int[Tensor, "batch time"],
        padding: Padding | None,
        attention: Attention,
        cache: KeyValueCache | None,
    ) -> Int[Tensor, "batch time"]:
        """Return the token before each token, or `vocab_size` where there is none that it may attend to."""
        nothing = torch.full_like(tokens[:, :1], self.vocab_size)
        first = nothing if cache is None or cache.newest is None else cache.newest
        before = torch.cat([first, tokens[:, :-1]], dim=1)
        if padding is None and isinstance(attention, str):
            return before
        steps, past = tokens.shape[1], 0 if cache is None else cache.length
        mask = allowed_keys(attention, padding, steps, past, tokens.device)
        keys = past + steps
        own = torch.arange(keys - steps, keys, device=mask.device)[None, :, None]
        seen = mask.gather(2, (own - 1).clamp(min=0).expand(len(mask), -1, -1))[:, :, 0]
        return torch.where(seen, before, nothing)

    def logits(self, hidden: Float[Tensor, "batch chosen width"]) -> Float[Tensor, "batch chosen vocab"]:
        """Unembed hidden states."""
        return self.unembedding(hidden)

    def new_cache(self, batch: int, capacity: int) -> KeyValueCache:
        """Return an empty cache."""
        config, weight = self.config, self.tokens.weight
        shape = (config.layers, batch, config.num_heads, capacity, config.width // config.num_heads)
        dtype = BACKENDS[self.backend].dtype or matrix_dtype(weight)
        empty = torch.empty(shape, dtype=dtype, device=weight.device)
        return KeyValueCache(empty, torch.empty_like(empty))

    def to_transformers(self) -> Any:
        """Return a GPT-2 (learned positions) or GPT-NeoX (rotary ones) with a copy of these weights."""
        from unforced.models.gpt_export import to_transformers  # which knows this module

        return to_transformers(self)


@dataclass(frozen=True)
class Surroundings:
    """What the blocks of one forward pass share."""

    pattern: Pattern
    turns: Turns | None
    backend: str
    layer: int
    cache: KeyValueCache | None


class Block(nn.Module):
    """Attention, then a two-layer perceptron, each behind a layer norm and around a residual."""

    def __init__(self, config: GPT) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.attention = SelfAttention(config.width, config.num_heads)
        self.up = nn.Linear(config.width, 4 * config.width)
        self.down = nn.Linear(4 * config.width, config.width)
        self.gelu = "none" if config.gelu == "exact" else "tanh"

    def forward(self, x: Hidden, around: Surroundings, at: At | None) -> Float[Tensor, "batch chosen width"]:
        """Return the block's output at the time steps `at` (all, if None)."""
        attended = self.attention(self.norm1(x), around, at)
        x = select(x, at) + attended
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate=self.gelu))


class SelfAttention(nn.Module):
    """Multi-head self-attention; queries only where an output is asked for."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projection = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Hidden, around: Surroundings, at: At | None) -> Float[Tensor, "batch chosen width"]:
        """Attend from the time steps `at` to those that the pattern allows."""
        backend = BACKENDS[around.backend]
        query, key, value = self._project(x, around.turns, at, backend.dtype)
        if around.cache is not None:
            key, value = around.cache.extend(around.layer, key, value)
        pattern = around.pattern if at is None else around.pattern.rows(at)
        with full_precision(x.device):
            attended = backend.attend(query, key, value, pattern)
        joined = attended.transpose(1, 2).to(matrix_dtype(x), memory_format=torch.contiguous_format)
        return self.output(joined.flatten(2))

    def _project(
        self, x: Hidden, turns: Turns | None, at: At | None, dtype: torch.dtype | None
    ) -> tuple[Tensor, ...]:
        """Return queries (at `at`), keys and values as [batch heads time depth], rotated to their places."""
        dtype = dtype or matrix_dtype(x)
        if at is None:
            return split_heads(self.projection(x), 3, self.heads, turns, turned=2, dtype=dtype)
        width = x.shape[-1]
        weight, bias = self.projection.weight, self.projection.bias
        asked = F.linear(select(x, at), weight[:width], bias[:width])
        turns_asked = None if turns is None else select(turns[:, 0], at)[:, None]
        (query,) = split_heads(asked, 1, self.heads, turns_asked, turned=1, dtype=dtype)
        others = F.linear(x, weight[width:], bias[width:])
        key, value = split_heads(others, 2, self.heads, turns, turned=1, dtype=dtype)
        return query, key, value
