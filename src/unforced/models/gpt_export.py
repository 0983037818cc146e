"""A `gpt` as a network of transformers: GPT-2 where positions are learned, GPT-NeoX where they are rotary.

GPT-2 keeps the matrices inside its blocks transposed. GPT-NeoX lays the rows of its joint projection out by
head, then by kind (query, key, value), where ours go by kind, then by head; and it turns feature i of a head
together with feature i + depth/2, where ours turns neighbours. Both are matters of order, so weights move and
no number changes.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from unforced.errors import UserError
from unforced.huggingface import import_transformers
from unforced.models.gpt import Transformer

_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new"}
_NO_TOKENS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
_GPT2 = {
    "tokens": "wte",
    "places": "wpe",
    "norm": "ln_f",
    "blocks": "h",
    "norm1": "ln_1",
    "attention.projection": "attn.c_attn",
    "attention.output": "attn.c_proj",
    "norm2": "ln_2",
    "up": "mlp.c_fc",
    "down": "mlp.c_proj",
}
_GPT_NEOX = {
    "tokens": "embed_in",
    "norm": "final_layer_norm",
    "blocks": "layers",
    "norm1": "input_layernorm",
    "attention.projection": "attention.query_key_value",
    "attention.output": "attention.dense",
    "norm2": "post_attention_layernorm",
    "up": "mlp.dense_h_to_4h",
    "down": "mlp.dense_4h_to_h",
}
Arrange = Callable[[str, Tensor], Tensor]


def to_transformers(model: Transformer) -> Any:
    """Build the network that computes the same. Raises UserError if there is none (token_shift)."""
    if model.before is not None:
        raise UserError(
            "model.token_shift: no network of transformers embeds the token before along with each token; "
            "train with model.token_shift=false to export"
        )
    transformers = import_transformers("unforced export")
    if model.places is not None:
        network = transformers.GPT2LMHeadModel(_gpt2_config(transformers, model))
        _fill(network, model, _GPT2, _transposed)
    else:
        network = transformers.GPTNeoXForCausalLM(_gpt_neox_config(transformers, model))
        _fill(network, model, _GPT_NEOX, partial(_by_head, model.config.num_heads))
    return network


def _gpt2_config(transformers: Any, model: Transformer) -> Any:
    return transformers.GPT2Config(
        vocab_size=model.vocab_size,
        n_positions=model.max_length,
        n_embd=model.width,
        n_layer=model.config.layers,
        n_head=model.config.num_heads,
        activation_function=_ACTIVATIONS[model.config.activation],
        tie_word_embeddings=model.config.tie_embeddings,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        **_NO_TOKENS,
    )


def _gpt_neox_config(transformers: Any, model: Transformer) -> Any:
    return transformers.GPTNeoXConfig(
        vocab_size=model.vocab_size,
        max_position_embeddings=model.max_length,
        hidden_size=model.width,
        intermediate_size=4 * model.width,
        num_hidden_layers=model.config.layers,
        num_attention_heads=model.config.num_heads,
        hidden_act=_ACTIVATIONS[model.config.activation],
        tie_word_embeddings=model.config.tie_embeddings,
        use_parallel_residual=False,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": model.config.rotary_base,
            "partial_rotary_factor": 1.0,
        },
        **_NO_TOKENS,
    )


def _fill(network: Any, model: Transformer, names: Mapping[str, str], arrange: Arrange) -> None:
    """Copy all weights; each of theirs is one of ours."""
    weights = model.state_dict()
    output = weights.pop("unembedding.weight")
    theirs = {_renamed(name, names): arrange(name, tensor) for name, tensor in weights.items()}
    network.base_model.load_state_dict(theirs)
    with torch.no_grad():
        network.get_output_embeddings().weight.copy_(output)


def _renamed(name: str, names: Mapping[str, str]) -> str:
    *path, kind = name.split(".")
    if path[0] != "blocks":
        return f"{names[path[0]]}.{kind}"
    _, layer, *part = path
    return f"{names['blocks']}.{layer}.{names['.'.join(part)]}.{kind}"


def _transposed(name: str, tensor: Tensor) -> Tensor:
    return tensor.mT if name.startswith("blocks.") and tensor.dim() == 2 else tensor


def _by_head(heads: int, name: str, tensor: Tensor) -> Tensor:
    """Sort the rows of a joint projection by head; of queries and keys, the first of each pair come first."""
    if "attention.projection" not in name:
        return tensor
    pairs = tensor.unflatten(0, (3, heads, -1, 2))
    halves = pairs.transpose(2, 3).flatten(2, 3)
    split = torch.cat([halves[:2], pairs[2:].flatten(2, 3)])
    return split.transpose(0, 1).flatten(0, 2)
