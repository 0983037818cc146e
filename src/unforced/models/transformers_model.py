"""Causal language models of transformers, behind the model contract."""

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from unforced.errors import UserError
from unforced.models.adapters import merge_adapters
from unforced.models.base import Cache, SequenceModel, Trunk
from unforced.models.blocks import build_layer
from unforced.models.failures import first_words
from unforced.models.huggingface import FAMILIES, FIELD, NO_NUMBERS, SEES_LATER, transformers
from unforced.models.kernels.attention import select_attention
from unforced.models.masks import (
    Attention,
    Inputs,
    Padding,
    QueryPositions,
    allowed_keys,
    kind_of,
    select,
    token_positions,
)
from unforced.models.roles import set_role
from unforced.models.transformers_attention import NAMES, register

_PRECISE = (torch.float32, torch.float64)
_SAME, _ALIKE = 1e-2, 0.3  # of the logits' deviation, in half precision: by the same operations, or by others
_PADDING = 3  # tokens that stand before others where it is tried whether a model follows its mask


@dataclass
class TransformersCache:
    """Keys and values as transformers keeps them; updates make new tensors, so forks share the old."""

    entries: Any
    length: int = 0

    def fork(self) -> "TransformersCache":
        """Go on from here."""
        entries = copy.copy(self.entries)
        entries.layers = [copy.copy(layer) for layer in entries.layers]
        return TransformersCache(entries, self.length)


class TransformersModel(SequenceModel):
    """A causal language model of transformers, behind the model contract.

    dropout_rates: what the network's config said of dropout and the like, which are off here.
    """

    attends = frozenset({"causal", "full", "mask"})

    def __init__(self, network: Any, dropout_rates: Mapping[str, float], max_length: int) -> None:
        super().__init__()
        self.network, self.dropout_rates, self.max_length = network, dict(dropout_rates), max_length
        self.vocab_size = network.config.get_text_config().vocab_size
        self.width = network.get_output_embeddings().in_features
        for blocks in (part for part in network.modules() if isinstance(part, nn.ModuleList)):
            for parameter in blocks.parameters():
                if parameter.dim() == 2:
                    set_role(parameter, "matrix")

    def check(self, name: str, length: int, families: str = FAMILIES) -> None:
        """Refuse a network that says something else than this module does, on `length` tokens.

        In half precision the tokens are also read at once here, which rounds as the network does.

        name: of the network. families: which can be taken instead, in words. Raises UserError.
        """
        tokens = torch.arange(length, device=self.network.get_input_embeddings().weight.device)[None]
        tokens = tokens % self.vocab_size
        with torch.inference_mode():
            theirs = self.network(tokens).logits
            shorter = self.network(tokens[:, :-1]).logits
            if theirs.isnan().any():
                half = "; or load it in float32" if theirs.dtype == torch.float16 else ""
                raise UserError(f"{name} {NO_NUMBERS}{half}", about=FIELD)
            if not self._close(theirs[:, :-1], shorter):
                raise UserError(f"{name} {SEES_LATER}", about=FIELD)
            reason = self._unlike(theirs, tokens)
        if reason:
            kind = self.network.config.model_type
            raise UserError(f"{name} ({kind}) {reason}; {families}", about=FIELD)

    def _unlike(self, theirs: Float[Tensor, "1 time vocab"], tokens: Int[Tensor, "1 time"]) -> str:
        """Say in what this module is unlike the network, whose logits of the tokens are given."""
        if self.network.config._attn_implementation != "sdpa":
            return "does not run on PyTorch's attention, which masks padding here"
        self.skip_masks()
        padding = min(_PADDING, tokens.shape[1] - 2)
        try:
            ours = self._logits_in_pieces(tokens, padding=0)
            padded = self._logits_in_pieces(tokens[:, padding:], padding)
            alone = self._logits_in_pieces(tokens[:, padding:], padding=0)
            same = self._is_same(tokens, theirs)
        except (TypeError, ValueError, IndexError, RuntimeError) as error:
            return f"does not take positions and masks as these families do ({first_words(error)})"
        if not (same and self._close(ours, theirs)):
            return (
                "computes its logits in another way than these families: an output layer on hidden states, "
                "which attend to all earlier tokens through a cache"
            )
        return "" if self._close(padded, alone) else "does not keep padding out of what it says"

    def _close(self, logits: Float[Tensor, "1 time vocab"], others: Float[Tensor, "1 time vocab"]) -> bool:
        """Whether logits that other operations found differ by rounding; in half precision, at most tokens.

        There, a few tokens of trained models, such as the first one, are all rounding.
        """
        if self._is_precise:
            return torch.allclose(logits, others, rtol=1e-3, atol=1e-3)
        real = others.isfinite()  # some models rule tokens out
        logits, others = (each.float().where(real, 0) for each in (logits, others))
        deviation = (others - others.mean(-1, keepdim=True)).norm(dim=-1)
        return bool(((logits - others).norm(dim=-1) <= _ALIKE * deviation).float().median() == 1)

    @property
    def _is_precise(self) -> bool:
        return all(each.dtype in _PRECISE for each in self.parameters())

    def _is_same(self, tokens: Int[Tensor, "1 time"], theirs: Float[Tensor, "1 time vocab"]) -> bool:
        """Whether this module finds a network's logits if it reads the tokens as the network did."""
        if self._is_precise:
            return True  # where logits in pieces are compared as closely
        ours = self.logits(self.hidden(tokens)).float()
        deviation = theirs[theirs.isfinite()].float().std().item()
        return torch.allclose(ours, theirs.float(), rtol=_SAME, atol=_SAME * deviation)

    def _logits_in_pieces(self, tokens: Int[Tensor, "1 time"], padding: int) -> Float[Tensor, "1 time vocab"]:
        """Return the logits of tokens, the last one read by itself; none may attend to the padding before."""
        tokens = F.pad(tokens, (padding, 0))
        last = tokens.shape[1] - 1
        real = torch.arange(last + 1, device=tokens.device)[None] >= padding
        cache, states = self.new_cache(1, last + 1), []
        for part, keys in ((slice(0, last), last), (slice(last, None), last + 1)):
            states.append(
                self.hidden(tokens[:, part], padding=real[:, :keys] if padding else None, cache=cache)
            )
        return self.logits(torch.cat(states, dim=1)[:, padding:])

    def trunk(self) -> Trunk:
        """Return what heads may rely on; its blocks are Transformer blocks with rotary positions."""
        return Trunk(
            self.width, self.vocab_size, self.max_length, lambda: build_layer(self.width), self._twin
        )

    def _twin(self) -> "TransformersModel":
        causal, config = transformers().AutoModelForCausalLM, copy.deepcopy(self.network.config)
        config._attn_implementation = "sdpa"
        network = causal.from_config(config, dtype=torch.float32)
        twin = TransformersModel(network, self.dropout_rates, self.max_length)
        twin.skip_masks()
        return twin

    def to_transformers(self) -> Any:
        """Return the network with the vocabulary and the weights that it has now; adapters are added in."""
        network = copy.deepcopy(self.network)
        network.config._attn_implementation = "sdpa"
        merge_adapters(network)
        for key, value in self.dropout_rates.items():
            setattr(network.config, key, value)
        return network

    def skip_masks(self) -> None:
        """Leave masks to this module: without one, transformers would build it, or look for packed rows."""
        self._take_kernel("sdpa")

    def _take_kernel(self, name: str) -> None:
        register()
        self.network.config._attn_implementation = NAMES[name]

    def checkpoint_activations(self) -> None:
        """Compute activations again in the backward pass, rather than keep them."""
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of the method's name
            self.network.gradient_checkpointing_enable({"use_reentrant": False})

    def linear_maps(self) -> list[str]:
        """Return the names of the linear maps that take adapters: all except the output."""
        kinds = (nn.Linear, transformers().pytorch_utils.Conv1D)
        output = self.network.get_output_embeddings()
        return [name for name, part in self.named_modules() if isinstance(part, kinds) and part is not output]

    def token_tables(self) -> list[nn.Parameter]:
        """Return the tables with a row per token: the embedding, and the output if it has its own."""
        embedding, output = self.network.get_input_embeddings(), self.network.get_output_embeddings()
        return [embedding.weight] if output.weight is embedding.weight else [embedding.weight, output.weight]

    def select_kernels(
        self, device: torch.device, dtype: torch.dtype, length: int, known: Mapping[str, str]
    ) -> dict[str, str]:
        """Select the attention kernel, by the rule of `gpt`; operations are counted with PyTorch's."""
        name = known.get("attention", "")
        if device.type == "meta":
            name = "sdpa"
        elif name not in NAMES:
            name = select_attention(device, dtype, length)
        self._take_kernel(name)
        return {"attention": name}

    def embed(
        self,
        tokens: Int[Tensor, "batch time"],
        *,
        padding: Padding | None = None,
        attention: Attention = "causal",
        cache: Cache | None = None,
    ) -> Float[Tensor, "batch time width"]:
        """Look tokens up."""
        return self.network.get_input_embeddings()(tokens)

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
        assert cache is None or isinstance(cache, TransformersCache)
        self.check_attention(attention)
        batch, steps = inputs.shape[:2]
        past = 0 if cache is None else cache.length
        mask = None  # PyTorch's causal attention, which puts the first query beside the first key
        behind = past > 0 and steps > 1
        if padding is not None or positions is not None or kind_of(attention) != "causal" or behind:
            mask = allowed_keys(attention, padding, steps, past, inputs.device)
            mask = mask[:, None].expand(batch, -1, -1, -1)
            positions = (
                token_positions(padding, steps, past, inputs.device) if positions is None else positions
            )
        states = self.network.base_model(
            **{"inputs_embeds" if inputs.is_floating_point() else "input_ids": inputs},
            position_ids=None if positions is None else positions.expand(batch, -1),
            attention_mask=mask,
            past_key_values=None if cache is None else cache.entries,
            use_cache=cache is not None,
        ).last_hidden_state
        if cache is not None:
            cache.length += steps
        return select(states, query_positions)

    def logits(self, hidden: Float[Tensor, "batch chosen width"]) -> Float[Tensor, "batch chosen vocab"]:
        """Unembed hidden states."""
        return self.network.get_output_embeddings()(hidden)

    def new_cache(self, batch: int, capacity: int) -> TransformersCache:
        """Return an empty cache; it grows as it must."""
        return TransformersCache(transformers().DynamicCache(config=self.network.config))
