"""Noise for sampling: each number is a function of a seed, a problem, a position and a token alone."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

_WEYL = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def gumbel(
    seed: int, problems: Int[Tensor, " batch"], position: int, tokens: Int[Tensor, "#batch tokens"]
) -> Float[Tensor, "batch tokens"]:
    """Return standard Gumbel noise: added to logits, the largest sum is a sample of their softmax."""
    state = _mix(torch.tensor(seed, device=problems.device))
    for key in (problems[:, None], position, tokens):
        state = _mix(state + key)
    chance = ((state >> 41 & 0x7FFFFF).float() + 0.5) * 2.0**-23  # in (0, 1)
    return -(-torch.log1p(-chance)).log()


def _mix(state: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Take one step of SplitMix64 (Steele et al., OOPSLA 2014). Integers of 64 bits, which wrap around."""
    state = state + _signed(_WEYL)
    state = (state ^ (state >> 30 & (1 << 34) - 1)) * _signed(_FIRST)
    state = (state ^ (state >> 27 & (1 << 37) - 1)) * _signed(_SECOND)
    return state ^ (state >> 31 & (1 << 33) - 1)


def _signed(number: int) -> int:
    return number - (1 << 64)
