"""Muon for many small matrices: those of one shape are orthogonalised together.

The same update as `torch.optim.Muon` (which goes matrix by matrix, and then takes a quarter of a small
model's step on a processor), with steps of the size that AdamW's would have. Sources:
https://kellerjordan.github.io/posts/muon (the method, the coefficients), arXiv 2502.16982 (the size).
"""

import math
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unforced.training.adamw import Optimizer

_COEFFICIENTS = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5
_EPS = 1e-7
_ADAMW_RMS = 0.2
MOMENTUM = 0.95


class BatchedMuon(Optimizer):
    """Momentum, orthogonalised: for matrices of shape [out, in]; decay is decoupled.

    dtype: what the matrix products of the orthogonalisation are computed in.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float,
        dtype: torch.dtype,
        momentum: float = MOMENTUM,
    ) -> None:
        settings = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__([{"params": list(matrices)}], **settings)
        self.dtype = dtype

    @torch.no_grad()
    def step(self) -> None:
        """Take one step."""
        skip = self.found_inf
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, matrices in by_shape.items():
                updates = orthogonalised(self._nesterov(matrices, group["momentum"], skip), self.dtype)
                targets: list[Tensor] = list(matrices)
                decay: float | Tensor = 1 - group["lr"] * group["weight_decay"]
                if skip is not None:
                    decay, updates = torch.where(skip > 0, 1.0, decay), updates.masked_fill(skip > 0, 0.0)
                torch._foreach_mul_(targets, decay)
                rate = group["lr"] * step_size(shape)
                if isinstance(rate, Tensor):  # where a step is captured, the rate is on the device
                    updates, rate = updates * rate, 1.0
                torch._foreach_add_(targets, list(updates.to(targets[0].dtype)), alpha=-rate)

    def _nesterov(
        self, matrices: list[nn.Parameter], momentum: float, skip: Float[Tensor, ""] | None
    ) -> Float[Tensor, "count out in"]:
        gradients = [parameter.grad for parameter in matrices if parameter.grad is not None]
        for parameter in matrices:
            if not self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        averages = [self.state[parameter]["momentum_buffer"] for parameter in matrices]
        if skip is not None:  # an average that moves towards itself stands still
            gradients = [torch.where(skip > 0, a, g) for a, g in zip(averages, gradients, strict=True)]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        return torch.stack(torch._foreach_lerp(gradients, averages, momentum))


def step_size(shape: Sequence[int]) -> float:
    """Return what an orthogonalised matrix is multiplied by to be of the size of AdamW's step, at rate 1."""
    return _ADAMW_RMS * math.sqrt(max(shape))


def orthogonalised(
    matrices: Float[Tensor, "count out in"], dtype: torch.dtype
) -> Float[Tensor, "count out in"]:
    """Bring the singular values of each matrix near one, by Newton-Schulz iterations in `dtype`.

    The authors' code computes them in bf16. Where a processor only emulates bf16, that takes most of a step.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalised(matrices.mT, dtype).mT
    a, b, c = _COEFFICIENTS
    x = (matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=_EPS)).to(dtype)
    for _ in range(_ITERATIONS):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
