"""Attention and padding: which keys each query may attend to, where tokens stand, and which are asked for."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

At = slice | Int[Tensor, " chosen"] | Int[Tensor, "batch chosen"]
Attention = Literal["causal", "full"] | Bool[Tensor, "#batch time key"]
Inputs = Int[Tensor, "batch time"] | Float[Tensor, "batch time width"]
Padding = Bool[Tensor, "#batch key"]


def kind_of(attention: Attention) -> str:
    """Return "causal", "full" or "mask": what a model must be able to do."""
    return attention if isinstance(attention, str) else "mask"


def token_positions(
    padding: Padding | None, steps: int, past: int, device: torch.device
) -> Int[Tensor, "#batch steps"]:
    """Return the positions of `steps` tokens that stand behind `past` others, counted in real tokens from 0.

    A padded token has the position of the real one before it, or 0.
    """
    if padding is None:
        return torch.arange(past, past + steps, device=device)[None]
    return (padding.cumsum(1) - 1).clamp(min=0)[:, -steps:]


def allowed_keys(
    attention: Attention, padding: Padding | None, steps: int, past: int, device: torch.device
) -> Bool[Tensor, "#batch steps key"]:
    """Combine attention and padding for `steps` queries that stand behind `past` cached keys.

    A real query attends to the real keys that `attention` allows, a padded query to itself alone.
    """
    keys = past + steps
    if isinstance(attention, Tensor):
        allowed = attention
    else:
        allowed = torch.ones(1, steps, keys, dtype=torch.bool, device=device)
        if attention == "causal":
            allowed = allowed.tril(past)
    if padding is None:
        return allowed
    itself = torch.eye(keys, dtype=torch.bool, device=device)[past:]
    return torch.where(padding[:, past:, None], allowed & padding[:, None, :], itself)


def select(x: Shaped[Tensor, "rows time ..."], at: At | None) -> Shaped[Tensor, "result chosen ..."]:
    """Return the time steps `at` of each row: all (None), the same of each row, or each row's own.

    A batch of one row stands for all rows.
    """
    if at is None:
        return x
    if isinstance(at, slice) or at.dim() == 1:
        return x[:, at]
    rows = torch.arange(len(at), device=at.device)[:, None]
    return x.expand(len(at), *x.shape[1:])[rows, at]
