"""`mamba`: selective state spaces in plain PyTorch, trainable anywhere; faster kernels where they can run.

Parameters have the names and shapes of transformers' `MambaForCausalLM`, so weights go either way. Decoding
carries a state of fixed size: a step costs the same however long the sequence is.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from unforced.errors import UserError
from unforced.huggingface import import_transformers
from unforced.models.adapters import merge_adapters
from unforced.models.base import Cache, FromScratch, SequenceModel, Trunk
from unforced.models.blocks import build_layer
from unforced.models.kernels import convolution
from unforced.models.kernels.convolution import select_convolution
from unforced.models.kernels.scan import BACKENDS, REFERENCE, select_scan
from unforced.models.masks import Attention, Inputs, Padding, QueryPositions, select
from unforced.models.roles import set_role

Hidden = Float[Tensor, "batch time width"]
Inner = Float[Tensor, "batch time channels"]
Real = Bool[Tensor, "#batch time 1"]

_STEP_RANGE = (1e-3, 1e-1)  # initial step sizes delta, log-uniform


class Mamba(FromScratch):
    """A Mamba language model trained from scratch.

    Source: arXiv 2312.00752; initial weights as in its authors' code. The defaults are a common from-scratch
    setting (arXiv 2510.26745: 12 layers, width 384, state 16, convolution 4, expansion 2).
    """

    former_names = MappingProxyType(
        {"state": "d_state", "convolution": "d_conv", "rank": "dt_rank", "tied": "tie_embeddings"}
    )
    former_values = MappingProxyType(
        {"scan": {"steps": "sequential", "doubling": "parallel", "kernels": "mamba_ssm"}}
    )

    name: Literal["mamba"] = "mamba"
    layers: int = Field(12, ge=1, description="Mamba blocks")
    width: int = Field(384, ge=1, description="features per token")
    d_state: int = Field(16, ge=1, description="states per channel")
    d_conv: int = Field(4, ge=1, description="tokens that the short convolution sees")
    expand: int = Field(2, ge=1, description="channels inside a block, in widths")
    dt_rank: int | None = Field(
        None, ge=1, description="rank of the step sizes (null: width / 16, rounded up)"
    )
    tie_embeddings: bool = Field(True, description="the output shares the token embedding's matrix")
    embedding_std: float = Field(0.02, gt=0, description="std of initial embeddings")
    scan: Literal["auto", "sequential", "parallel", "triton", "mamba_ssm"] = Field(
        "auto", description="how the scan is computed (auto: by device, see docs/performance.md)"
    )

    @classmethod
    def of_transformers(cls, network: Any, max_length: int) -> "MambaModel":
        """Take over a `MambaForCausalLM`, weights and all. Raises ValueError if its blocks are not ours."""
        theirs = network.config
        expected = {
            "intermediate_size": theirs.expand * theirs.hidden_size,
            "use_bias": False,
            "use_conv_bias": True,
            "hidden_act": "silu",
            "layer_norm_epsilon": 1e-5,
        }
        for key, value in expected.items():
            if getattr(theirs, key) != value:
                raise ValueError(f"a Mamba with {key} {getattr(theirs, key)} is not supported, only {value}")
        config = cls(
            layers=theirs.num_hidden_layers,
            width=theirs.hidden_size,
            d_state=theirs.state_size,
            d_conv=theirs.conv_kernel,
            expand=theirs.expand,
            dt_rank=theirs.time_step_rank,
            tie_embeddings=theirs.tie_word_embeddings,
        )
        model = MambaModel(config, theirs.vocab_size, max_length)
        model.load_state_dict(network.state_dict())
        model.base = theirs
        return model

    @property
    def attends(self) -> frozenset[str]:
        """Causal attention alone."""
        return MambaModel.attends

    @property
    def channels(self) -> int:
        """Channels inside a block."""
        return self.expand * self.width

    @property
    def step_rank(self) -> int:
        """Rank of the step sizes, resolved."""
        return self.dt_rank or math.ceil(self.width / 16)

    def build(self, vocab_size: int, max_length: int) -> "MambaModel":
        """Build the model with fresh weights, drawn from torch's global generator; no length is too long."""
        return MambaModel(self, vocab_size, max_length)


@dataclass
class LayerState:
    """What a block remembers: the newest inputs of its convolution, and its scan's state (None at first)."""

    recent: Inner
    state: Float[Tensor, "batch state channels"] | None = None


@dataclass
class RecurrentState:
    """What the blocks remember."""

    layers: list[LayerState]
    length: int = 0

    def fork(self) -> "RecurrentState":
        """Go on from here; what was read is not written to again."""
        return RecurrentState([replace(layer) for layer in self.layers], self.length)


@dataclass
class MambaKernels:
    """The kernels of a model, by name, which its blocks share."""

    scan: str
    convolution: str


class MambaModel(SequenceModel):
    """The module that a `Mamba` config builds.

    base: transformers' config of the network that was taken over; None where there was none.
    """

    attends = frozenset({"causal"})
    base: Any = None

    def __init__(self, config: Mamba, vocab_size: int, max_length: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.width = config, vocab_size, config.width
        self.max_length = max_length
        self.kernels = MambaKernels("sequential" if config.scan == "auto" else config.scan, "pytorch")
        self.backbone = Backbone(config, vocab_size, self.kernels)
        self.lm_head = nn.Linear(config.width, vocab_size, bias=False)
        self.checkpointing = False
        nn.init.normal_(self.lm_head.weight, std=config.embedding_std)
        if config.tie_embeddings:
            self.lm_head.weight = self.backbone.embeddings.weight

    def select_kernels(
        self, device: torch.device, dtype: torch.dtype, length: int, known: Mapping[str, str]
    ) -> dict[str, str]:
        """Select the kernels of scan and convolution. Raises UserError if `scan` cannot run on the device."""
        if device.type == "meta":
            self.kernels.scan, self.kernels.convolution = REFERENCE, convolution.REFERENCE
        else:
            self.kernels.scan = self._select_scan(device, known)
            self.kernels.convolution = self._select_convolution(device, known)
        return dict(vars(self.kernels))

    def _select_scan(self, device: torch.device, known: Mapping[str, str]) -> str:
        fixed = self.config.scan
        if fixed != "auto":
            if lack := BACKENDS[fixed].lacks(device):
                raise UserError(f"model.scan: {fixed} {lack}; take auto, sequential or parallel")
            return fixed
        chosen = known.get("scan", "")
        usable = chosen in BACKENDS and BACKENDS[chosen].available(device)
        return chosen if usable else select_scan(device)

    def _select_convolution(self, device: torch.device, known: Mapping[str, str]) -> str:
        width, backends = self.config.d_conv, convolution.BACKENDS
        chosen = known.get("convolution", "pytorch" if known else "")  # what old sessions do not say
        usable = chosen in backends and backends[chosen].available(device, width)
        return chosen if usable else select_convolution(device, width)

    def embed(
        self,
        tokens: Int[Tensor, "batch time"],
        *,
        padding: Padding | None = None,
        attention: Attention = "causal",
        cache: Cache | None = None,
    ) -> Hidden:
        """Look tokens up."""
        return self.backbone.embeddings(tokens)

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
        """Return the final hidden states; see SequenceModel. Positions are ignored."""
        assert cache is None or isinstance(cache, RecurrentState)
        self.check_attention(attention)
        real = None if padding is None else padding[:, -inputs.shape[1] :, None]
        x = inputs if inputs.is_floating_point() else self.embed(inputs)
        for index, block in enumerate(self.backbone.layers):
            state = None if cache is None else cache.layers[index]
            asked = query_positions if index == len(self.backbone.layers) - 1 else None
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, real, state, asked, use_reentrant=False)
            else:
                x = block(x, real, state, asked)
        if cache is not None:
            cache.length += inputs.shape[1]
        return self.backbone.norm_f(x)

    def logits(self, hidden: Float[Tensor, "batch chosen width"]) -> Float[Tensor, "batch chosen vocab"]:
        """Unembed hidden states."""
        return self.lm_head(hidden)

    def checkpoint_activations(self) -> None:
        """Compute activations again in the backward pass, rather than keep them."""
        self.checkpointing = True

    def linear_maps(self) -> list[str]:
        """Return the names of the linear maps that take adapters (the scan applies that of step sizes)."""
        inner = ("in_proj", "x_proj", "out_proj")
        return [name for name, _ in self.named_modules() if name.endswith(inner)]

    def token_tables(self) -> list[nn.Parameter]:
        """Return the tables with a row per token: the embedding, and the output if it has its own."""
        embedding: nn.Parameter = self.backbone.embeddings.get_parameter("weight")
        return (
            [embedding] if self.config.tie_embeddings else [embedding, self.lm_head.get_parameter("weight")]
        )

    def new_cache(self, batch: int, capacity: int) -> RecurrentState:
        """Return an empty cache; it never fills up."""
        config, weight = self.config, self.lm_head.weight
        recent = weight.new_zeros(batch, config.d_conv - 1, config.channels)
        return RecurrentState([LayerState(recent) for _ in range(config.layers)])

    def trunk(self) -> Trunk:
        """Return what heads may rely on; its blocks are Transformer blocks with rotary positions."""
        return Trunk(
            self.width,
            self.vocab_size,
            self.max_length,
            lambda: build_layer(self.width),
            lambda: MambaModel(self.config, self.vocab_size, self.max_length),
        )

    def to_transformers(self) -> Any:
        """Return a `MambaForCausalLM` with a copy of these weights, which have its names."""
        transformers = import_transformers("unforced export")
        theirs = self._fresh_config(transformers) if self.base is None else copy.deepcopy(self.base)
        theirs.vocab_size = self.vocab_size
        network = transformers.MambaForCausalLM(theirs)
        merged = copy.deepcopy(self)
        merge_adapters(merged)
        network.load_state_dict(merged.state_dict())
        return network

    def _fresh_config(self, transformers: Any) -> Any:
        config = self.config
        return transformers.MambaConfig(
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            state_size=config.d_state,
            conv_kernel=config.d_conv,
            expand=config.expand,
            time_step_rank=config.step_rank,
            tie_word_embeddings=config.tie_embeddings,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
        )


class Backbone(nn.Module):
    """Embeddings, blocks and the last norm."""

    def __init__(self, config: Mamba, vocab_size: int, kernels: MambaKernels) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(vocab_size, config.width)
        self.layers = nn.ModuleList(Block(config, kernels) for _ in range(config.layers))
        self.norm_f = nn.RMSNorm(config.width, eps=1e-5)
        nn.init.normal_(self.embeddings.weight, std=config.embedding_std)


class Block(nn.Module):
    """A mixer behind a norm and around a residual."""

    def __init__(self, config: Mamba, kernels: MambaKernels) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(config.width, eps=1e-5)
        self.mixer = Mixer(config, kernels)

    def forward(
        self, x: Hidden, real: Real | None, state: LayerState | None, query_positions: QueryPositions | None
    ) -> Float[Tensor, "batch chosen width"]:
        """Return the block's output at the time steps `query_positions` (all, if None)."""
        mixed = self.mixer(self.norm(x), real, state, query_positions)
        return select(x, query_positions) + mixed


class Mixer(nn.Module):
    """Short convolution and selective scan, gated."""

    def __init__(self, config: Mamba, kernels: MambaKernels) -> None:
        super().__init__()
        self.kernels = kernels
        channels, rank, state = config.channels, config.step_rank, config.d_state
        self.sizes = [rank, state, state]
        self.in_proj = nn.Linear(config.width, 2 * channels, bias=False)
        self.conv1d = nn.Conv1d(channels, channels, config.d_conv, groups=channels)
        self.x_proj = nn.Linear(channels, rank + 2 * state, bias=False)
        self.dt_proj = nn.Linear(rank, channels)
        self.A_log = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(channels, 1))
        self.D = nn.Parameter(torch.ones(channels))
        self.out_proj = nn.Linear(channels, config.width, bias=False)
        set_role(self.A_log, "vector")  # a table of numbers rather than a linear map
        for part in (self.in_proj, self.x_proj, self.dt_proj, self.out_proj):
            set_role(part.weight, "matrix")
        self._initialise(config)

    def _initialise(self, config: Mamba) -> None:
        low, high = (math.log(bound) for bound in _STEP_RANGE)
        step = torch.empty_like(self.dt_proj.bias).uniform_(low, high).exp()
        with torch.no_grad():
            nn.init.uniform_(self.dt_proj.weight, -(self.sizes[0] ** -0.5), self.sizes[0] ** -0.5)
            self.dt_proj.bias.copy_(step + (-torch.expm1(-step)).log())  # the inverse of softplus
            self.out_proj.weight /= math.sqrt(config.layers)

    def forward(
        self, x: Hidden, real: Real | None, state: LayerState | None, query_positions: QueryPositions | None
    ) -> Float[Tensor, "batch chosen width"]:
        """Mix along time, and return the time steps `query_positions`."""
        inner, gate = self.in_proj(x).chunk(2, dim=-1)
        inner = _keep(self._convolve(_keep(inner.float(), real), state), real)
        y = self._scan(inner, state)
        return self.out_proj(select(y, query_positions) * F.silu(select(gate, query_positions)))

    def _convolve(self, inner: Inner, state: LayerState | None) -> Inner:
        """Convolve each channel over the newest tokens, and activate it."""
        weight, bias = self.conv1d.weight[:, 0], self.conv1d.bias
        reach = weight.shape[1] - 1
        assert bias is not None
        if state is None:
            inner = F.pad(inner, (0, 0, reach, 0))
        else:
            inner = torch.cat([state.recent, inner], dim=1)
            state.recent = inner[:, inner.shape[1] - reach :].clone()
        return convolution.BACKENDS[self.kernels.convolution].convolve(inner, weight, bias)

    def _scan(self, inner: Inner, state: LayerState | None) -> Inner:
        """Scan over time in fp32."""
        rank, b, c = self.x_proj(inner).split(self.sizes, dim=-1)
        delta = F.softplus(F.linear(rank, self.dt_proj.weight).float() + self.dt_proj.bias)
        log_decay = -self.A_log.float().exp().T.contiguous()
        start = None if state is None else state.state
        y, last = BACKENDS[self.kernels.scan].scan(inner, delta, log_decay, b.float(), c.float(), start)
        if state is not None:
            state.state = last
        return torch.addcmul(y, inner, self.D)


def _keep(inner: Inner, real: Real | None) -> Inner:
    """Set padding to zero, so that it leaves no trace in any state."""
    return inner if real is None else inner * real
