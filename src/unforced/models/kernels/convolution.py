"""The short causal convolution before a scan, and the rule that selects how it is computed.

For every channel d, with w weights that see the w newest inputs:

    y_t[d] = silu(bias[d] + sum_i weight[d, i] x_{t - w + 1 + i}[d])

Source: arXiv 2312.00752, Sec. 3.4. Inputs come with the w - 1 before the first that is asked for.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from unforced.models.kernels.installed import can_run

Read = Float[Tensor, "batch read channels"]
Channels = Float[Tensor, "batch time channels"]
Weight = Float[Tensor, "channels width"]
Bias = Float[Tensor, " channels"]
Convolve = Callable[[Read, Weight, Bias], Channels]

_KERNELS = "causal_conv1d"
_WIDTHS_OF_KERNELS = (2, 3, 4)


def _pytorch(x: Read, weight: Weight, bias: Bias) -> Channels:
    """Add up as many scaled and shifted copies as there are weights."""
    reach = weight.shape[1] - 1
    time = x.shape[1] - reach
    out = torch.addcmul(bias, x[:, reach:], weight[:, reach])
    for back in range(1, reach + 1):
        out = torch.addcmul(out, x[:, reach - back : reach - back + time], weight[:, reach - back])
    return F.silu(out)


def _causal_conv1d(x: Read, weight: Weight, bias: Bias) -> Channels:
    """Call the official CUDA kernel, which takes [batch, channels, time] and sees zeros before the first."""
    kernel = importlib.import_module(_KERNELS).causal_conv1d_fn
    out = kernel(x.transpose(1, 2).contiguous(), weight.contiguous(), bias, activation="silu")
    return out[:, :, weight.shape[1] - 1 :].transpose(1, 2)


def _kernels_available(device: torch.device, width: int) -> bool:
    return width in _WIDTHS_OF_KERNELS and can_run(_KERNELS, device)


@dataclass(frozen=True)
class Backend:
    """A way to compute the convolution, and on which device and for how many weights it can."""

    convolve: Convolve
    available: Callable[[torch.device, int], bool] = lambda device, width: True


BACKENDS = {"pytorch": Backend(_pytorch), "causal_conv1d": Backend(_causal_conv1d, _kernels_available)}


REFERENCE = "pytorch"
"""The kernel whose operations are counted, whichever kernel runs."""


def select_convolution(device: torch.device, width: int) -> str:
    """Return the kernel by a rule, so that equal machines select the same one."""
    return "causal_conv1d" if BACKENDS["causal_conv1d"].available(device, width) else "pytorch"
