"""CUDA kernels of other packages, which are used where they are installed."""

import importlib

import torch


def can_run(package: str, device: torch.device) -> bool:
    """Say whether a device is CUDA's, and the package with its kernels can be imported."""
    if device.type != "cuda":
        return False
    try:
        importlib.import_module(package)
    except ImportError:
        return False
    return True
