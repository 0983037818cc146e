"""Attention and padding: which keys each query may attend to, where tokens stand, and which are asked for."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

QueryPositions = slice | Int[Tensor, " chosen"] | Int[Tensor, "batch chosen"]
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


def select(
    x: Shaped[Tensor, "rows time ..."], query_positions: QueryPositions | None
) -> Shaped[Tensor, "result chosen ..."]:
    """Return some time steps of each row: all (None), the same of each row, or each row's own.

    A batch of one row stands for all rows.
    """
    if query_positions is None:
        return x
    if isinstance(query_positions, slice) or query_positions.dim() == 1:
        return x[:, query_positions]
    rows = torch.arange(len(query_positions), device=query_positions.device)[:, None]
    return x.expand(len(query_positions), *x.shape[1:])[rows, query_positions]
