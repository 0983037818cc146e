"""The short causal convolution before a scan, and the measurement that chooses how it is computed.

For every channel d, with w weights that see the w newest inputs:

    y_t[d] = silu(bias[d] + sum_i weight[d, i] x_{t - w + 1 + i}[d])

Source: arXiv 2312.00752, Sec. 3.4. Inputs come with the w - 1 before the first that is asked for.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from unforced.models import kernels, measured

Read = Float[Tensor, "batch read channels"]
Channels = Float[Tensor, "batch time channels"]
Weight = Float[Tensor, "channels width"]
Bias = Float[Tensor, " channels"]
Convolve = Callable[[Read, Weight, Bias], Channels]

_KERNELS = "causal_conv1d"
_WIDTHS_OF_KERNELS = (2, 3, 4)


def _shifts(x: Read, weight: Weight, bias: Bias) -> Channels:
    """Add up as many scaled and shifted copies as there are weights."""
    reach = weight.shape[1] - 1
    time = x.shape[1] - reach
    out = torch.addcmul(bias, x[:, reach:], weight[:, reach])
    for back in range(1, reach + 1):
        out = torch.addcmul(out, x[:, reach - back : reach - back + time], weight[:, reach - back])
    return F.silu(out)


def _kernels(x: Read, weight: Weight, bias: Bias) -> Channels:
    """Call the official CUDA kernel, which takes [batch, channels, time] and sees zeros before the first."""
    kernel = importlib.import_module(_KERNELS).causal_conv1d_fn
    out = kernel(x.transpose(1, 2).contiguous(), weight.contiguous(), bias, activation="silu")
    return out[:, :, weight.shape[1] - 1 :].transpose(1, 2)


def _kernels_available(device: torch.device, width: int) -> bool:
    return width in _WIDTHS_OF_KERNELS and kernels.can_run(_KERNELS, device)


@dataclass(frozen=True)
class Backend:
    """A way to compute the convolution, and on which device and for how many weights it can."""

    convolve: Convolve
    available: Callable[[torch.device, int], bool] = lambda device, width: True


BACKENDS = {"shifts": Backend(_shifts), "kernels": Backend(_kernels, _kernels_available)}


def fastest(device: torch.device, channels: int, width: int, length: int) -> str:
    """Return the back-end with the fastest forward and backward pass here, measured once and remembered."""
    length = 1 << max(3, (length - 1).bit_length())
    candidates = {
        name: partial(_measure, backend.convolve, device, channels, width, length)
        for name, backend in BACKENDS.items()
        if backend.available(device, width)
    }
    if len(candidates) == 1:
        return next(iter(candidates))
    return measured.fastest("convolution", device, [*candidates, channels, width, length], candidates)


def _measure(convolve: Convolve, device: torch.device, channels: int, width: int, length: int) -> float:
    """Return the median seconds of a forward and backward pass over 512 tokens."""
    noise = torch.Generator(device).manual_seed(0)
    shapes = [(max(1, 512 // length), length, channels), (channels, width), (channels,)]
    inputs = [torch.rand(shape, generator=noise, device=device).requires_grad_() for shape in shapes]

    def work() -> None:
        with torch.enable_grad():
            y = convolve(*inputs)
            torch.autograd.grad(y, inputs, torch.ones_like(y))

    return measured.median_seconds(device, work, rounds=5)
