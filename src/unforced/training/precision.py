"""The dtype of matrix products."""

import contextlib

import torch

from unforced.config import Run
from unforced.training.environment import has_fast_bf16


def autocast_dtype(run: Run, device: torch.device) -> torch.dtype:
    """Return the dtype that the run multiplies matrices in on `device`; weights that are trained are fp32."""
    if run.precision == "auto":
        return torch.bfloat16 if has_fast_bf16(device) or run.model.origin.keeps_bf16 else torch.float32
    return {"bf16-mixed": torch.bfloat16, "fp32": torch.float32}[run.precision]


def autocast(run: Run, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Return the context in which the run's model computes."""
    dtype = autocast_dtype(run, device)
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def sum_dtype(device: torch.device) -> torch.dtype:
    """Return the widest dtype that the device can add up in."""
    return torch.float32 if device.type == "mps" else torch.float64
