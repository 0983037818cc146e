"""Networks of transformers that a user gives: what they must be, and how they are left as they were."""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn

from unforced.errors import UserError
from unforced.models.huggingface import FIELD


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
    limit = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


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
