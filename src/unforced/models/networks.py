"""Networks of transformers that a user gives: what they must be, and how they are left as they were."""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn

from unforced.errors import UserError
from unforced.models.huggingface import FIELD

_WINDOWS = ("sliding_window", "sliding_window_size", "attention_chunk_size", "attention_window_size")
_SHORT_LAYERS = ("sliding", "chunked", "window", "local")
"""Words in what configs call layers that do not see all tokens before them."""


def plain_network(model: Any, of_a_run: str) -> Any:
    """Return a causal language model of transformers, without the adapters of peft that it may stand in.

    of_a_run: what to do with a run of unforced, which is no such model. Raises UserError.
    """
    if any(each.is_prompt_learning for each in getattr(model, "peft_config", {}).values()):
        raise UserError(
            "it learns prompts (prompt tuning), which only its own forward pass puts in; give "
            "a model with adapters of its layers, as LoraConfig",
            about=FIELD,
        )
    network: Any = model.get_base_model() if hasattr(model, "get_base_model") else model
    kind = type(network).__name__
    is_module = isinstance(network, nn.Module)
    if not is_module or not callable(getattr(network, "get_output_embeddings", None)):
        raise UserError(
            f"give a causal language model of transformers, not a {kind}; a run of unforced is {of_a_run}",
            about=FIELD,
        )
    if network.config.is_encoder_decoder:
        raise UserError(f"{kind} encodes before it decodes; take a decoder-only model", about=FIELD)
    if network.get_output_embeddings() is None:
        raise UserError(f"{kind} has no output over tokens; load it with AutoModelForCausalLM", about=FIELD)
    return network


def length_limit(network: Any) -> int | None:
    """Return how many tokens a network reads at most; None if its config does not say."""
    return min(length_limits(network.config.get_text_config()).values(), default=None)


def length_limits(config: Any) -> dict[str, int]:
    """Return how many tokens a model reads, in words that a number follows.

    config: of transformers, that of a model's text.
    """
    positions = getattr(config, "max_position_embeddings", None)
    limits = {"reads at most": positions, "attends to no more than the last": _window(config)}
    return {what: limit for what, limit in limits.items() if isinstance(limit, int) and limit > 0}


def _window(config: Any) -> int | None:
    """Return how many tokens the layers see that see the fewest; None where all see all before them."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and not any(word in kind for kind in kinds for word in _SHORT_LAYERS):
        return None
    found = (getattr(config, name, None) for name in _WINDOWS)
    return min((size for size in found if isinstance(size, int) and size > 0), default=None)


@contextlib.contextmanager
def evaluated(network: Any) -> Iterator[None]:
    """Put a network into evaluation mode within this context, and restore its mode and how it attends."""
    training, attention = network.training, network.config._attn_implementation
    network.eval()
    try:
        yield
    finally:
        network.config._attn_implementation = attention
        network.train(training)
