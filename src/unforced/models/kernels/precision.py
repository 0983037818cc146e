"""Autocast, seen from inside a model."""

import contextlib

import torch
from torch import Tensor


def full_precision(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Return a context without autocast, where there is one to suspend."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def matmul_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype in which matrix products of `x` run here: autocast's, or that of `x`."""
    device = x.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return x.dtype
    return torch.get_autocast_dtype(device)
