"""`gpt`: a decoder-only Transformer, small and fast, with the field's init choices as switches.

Pre-norm, GELU with four times the width, learned or rotary positions, tied or untied output. The last
block works only at the time steps that the caller asked for: an objective with 5 answer tokens in 31
pays for 5.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from unforced.models.base import Cache, FromScratch, SequenceModel, Trunk
from unforced.models.blocks import AttentionKernel, Layer, TransformerBlock, draw_matrices
from unforced.models.kernels.attention import BACKENDS, REFERENCE, build_bias, select_attention
from unforced.models.kernels.precision import matmul_dtype
from unforced.models.kernels.rotary import rotations
from unforced.models.masks import Attention, Inputs, Padding, QueryPositions, allowed_keys, token_positions

Hidden = Float[Tensor, "batch time width"]


class GPT(FromScratch):
    """A decoder-only Transformer trained from scratch.

    Source: the architecture of arXiv 2403.06963's GPT-Mini (12 layers, width 384, 6 heads), which has no
    `token_shift`: it embeds every token's predecessor along with the token, as the smeared keys of arXiv
    2209.11895 do, so that a look-up ("what stood before this token?") takes one attention layer rather
    than two.
    """

    former_names = MappingProxyType({"smear": "token_shift", "tied": "tie_embeddings", "gelu": "activation"})
    former_values = MappingProxyType(
        {
            "attention": {"explicit": "math", "explicit_fp32": "math_fp32", "fused": "sdpa"},
            "activation": {"exact": "gelu", "tanh": "gelu_tanh"},
        }
    )

    name: Literal["gpt"] = "gpt"
    layers: int = Field(12, ge=1, description="Transformer blocks")
    width: int = Field(384, ge=1, description="features per token")
    heads: int | None = Field(None, ge=1, description="attention heads (null: one per 64 of width)")
    positions: Literal["learned", "rotary"] = Field("rotary", description="how positions are encoded")
    rotary_base: float = Field(10_000.0, gt=1, description="base of the rotary frequencies")
    token_shift: bool = Field(False, description="embed the token before along with each token")
    tie_embeddings: bool = Field(False, description="the output shares the token embedding's matrix")
    activation: Literal["gelu", "gelu_tanh"] = Field(
        "gelu", description="GELU by erf, or its tanh approximation"
    )
    init_std: float | None = Field(
        0.02, gt=0, description="std of initial matrices and embeddings (null: 1/sqrt(fan-in))"
    )
    position_std: float = Field(0.02, gt=0, description="std of initial learned positions")
    residual_init: Literal["scaled", "plain"] = Field(
        "scaled", description="divide the init of residual outputs by sqrt(2 layers), or not"
    )
    attention: Literal["auto", "math", "math_fp32", "sdpa"] = Field(
        "auto", description="attention kernel (auto: by device and length, see docs/performance.md)"
    )

    @property
    def attends(self) -> frozenset[str]:
        """All kinds."""
        return Transformer.attends

    @property
    def stacked_kernels(self) -> Mapping[str, str] | None:
        """All but `sdpa`, whose fused kernels are called model by model."""
        return {"attention": "math"} if self.attention != "sdpa" else None

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
    """Keys and values of the tokens read so far, per layer.

    newest: the last token read, which `token_shift` embeds along with the next; None at first and after
    embeddings.
    """

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
        self.before = nn.Embedding(vocab_size + 1, config.width) if config.token_shift else None
        self.places = nn.Embedding(max_length, config.width) if config.positions == "learned" else None
        self.kernel = AttentionKernel("math" if config.attention == "auto" else config.attention)
        self.blocks = nn.ModuleList(self._new_block() for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.unembedding = nn.Linear(config.width, vocab_size, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        stds = {"places.weight": self.config.position_std}
        draw_matrices(self, self.config.init_std, self._residual_divisor, stds)
        if self.config.tie_embeddings:
            self.unembedding.weight = self.tokens.weight

    @property
    def _residual_divisor(self) -> float:
        return math.sqrt(2 * self.config.layers) if self.config.residual_init == "scaled" else 1.0

    def _new_block(self) -> TransformerBlock:
        config = self.config
        return TransformerBlock(config.width, config.num_heads, config.activation, self.kernel)

    def select_kernels(
        self, device: torch.device, dtype: torch.dtype, length: int, known: Mapping[str, str]
    ) -> dict[str, str]:
        """Select the attention kernel."""
        if device.type == "meta":
            self.kernel.name = REFERENCE
        elif self.config.attention == "auto":
            chosen = known.get("attention", "")
            self.kernel.name = chosen if chosen in BACKENDS else select_attention(device, dtype, length)
        return {"attention": self.kernel.name}

    def embed(
        self,
        tokens: Int[Tensor, "batch time"],
        *,
        padding: Padding | None = None,
        attention: Attention = "causal",
        cache: Cache | None = None,
    ) -> Hidden:
        """Look tokens up, and with `token_shift` the token before each; see SequenceModel."""
        assert cache is None or isinstance(cache, KeyValueCache)
        x = self.tokens(tokens)
        if self.before is None:
            return x
        return x + self.before(self._predecessors(tokens, padding, attention, cache))

    def hidden(
        self,
        inputs: Inputs,
        *,
        positions: Int[Tensor, "#batch time"] | None = None,
        padding: Padding | None = None,
        attention: Attention = "causal",
        cache: Cache | None = None,
        query_positions: QueryPositions | None = None,
    ) -> Float[Tensor, "batch chosen width"]:
        """Return the final hidden states; see SequenceModel."""
        assert cache is None or isinstance(cache, KeyValueCache)
        self.check_attention(attention)
        steps, past = inputs.shape[1], 0 if cache is None else cache.length
        self._check_room(past + steps, cache)
        embedded = inputs.is_floating_point()
        x = inputs if embedded else self.embed(inputs, padding=padding, attention=attention, cache=cache)
        if positions is None:
            positions = token_positions(padding, steps, past, inputs.device)
        turn = None
        if self.places is None:
            depth = self.width // self.config.num_heads
            turn = rotations(positions, depth, self.config.rotary_base)
        else:
            x = x + self.places(positions)
        bias = build_bias(attention, padding, steps, past, inputs.device)
        for layer, block in enumerate(self.blocks):
            last = layer == len(self.blocks) - 1
            extend = None if cache is None else partial(cache.extend, layer)
            x = block(x, bias, turn, query_positions if last else None, extend)
        if cache is not None:
            cache.length += steps
            cache.newest = None if embedded else inputs[:, -1:]
        return self.norm(x)

    def _check_room(self, length: int, cache: KeyValueCache | None) -> None:
        """Raise ValueError for a sequence with more tokens than learned positions, or than a cache holds."""
        if self.places is not None and length > self.max_length:
            raise ValueError(f"a sequence of {length} tokens exceeds {self.max_length} learned positions")
        if cache is not None and length > cache.capacity:
            raise ValueError(f"a cache for {cache.capacity} tokens cannot hold {length}")

    def _predecessors(
        self,
        tokens: Int[Tensor, "batch time"],
        padding: Padding | None,
        attention: Attention,
        cache: KeyValueCache | None,
    ) -> Int[Tensor, "batch time"]:
        """Return the token before each token, or `vocab_size` where it may attend to no earlier one."""
        nothing = torch.full_like(tokens[:, :1], self.vocab_size)
        first = nothing if cache is None or cache.newest is None else cache.newest
        before = torch.cat([first, tokens[:, :-1]], dim=1)
        if padding is None and isinstance(attention, str):
            return before
        steps, past = tokens.shape[1], 0 if cache is None else cache.length
        mask = allowed_keys(attention, padding, steps, past, tokens.device)
        keys = past + steps
        indices = torch.arange(keys - steps, keys, device=mask.device)[None, :, None]
        seen = mask.gather(2, (indices - 1).clamp(min=0).expand(len(mask), -1, -1))[:, :, 0]
        return torch.where(seen, before, nothing)

    def logits(self, hidden: Float[Tensor, "batch chosen width"]) -> Float[Tensor, "batch chosen vocab"]:
        """Unembed hidden states."""
        return self.unembedding(hidden)

    def new_cache(self, batch: int, capacity: int) -> KeyValueCache:
        """Return an empty cache."""
        config, weight = self.config, self.tokens.weight
        shape = (config.layers, batch, config.num_heads, capacity, config.width // config.num_heads)
        dtype = BACKENDS[self.kernel.name].dtype or matmul_dtype(weight)
        empty = weight.new_empty(shape, dtype=dtype)  # of each model's own, in `torch.vmap`
        return KeyValueCache(empty, torch.empty_like(empty))

    def trunk(self) -> Trunk:
        """Return what heads may rely on; its blocks are like those of the model."""
        return Trunk(self.width, self.vocab_size, self.max_length, self._new_layer, self._twin)

    def _new_layer(self) -> Layer:
        layer = Layer(self._new_block(), self.config.rotary_base if self.places is None else None)
        draw_matrices(layer, self.config.init_std, self._residual_divisor)
        return layer

    def _twin(self) -> "Transformer":
        return Transformer(self.config, self.vocab_size, self.max_length)

    def to_transformers(self) -> Any:
        """Return a GPT-2 (learned positions) or GPT-NeoX (rotary ones) with a copy of these weights."""
        from unforced.models.gpt_export import to_transformers  # which knows this module

        return to_transformers(self)
