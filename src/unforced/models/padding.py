"""Where the tokens of left-padded sequences stand, and what each may attend to."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def place(
    real: Bool[Tensor, "batch time"],
) -> tuple[Int[Tensor, "batch time"], Bool[Tensor, "batch time time"]]:
    """Return positions and the causal mask of left-padded sequences; padding attends to itself alone."""
    time = real.shape[1]
    causal = torch.ones(time, time, dtype=torch.bool, device=real.device).tril()
    alone = torch.eye(time, dtype=torch.bool, device=real.device)
    return (real.cumsum(1) - 1).clamp(min=0), (causal & real[:, None, :]) | alone
