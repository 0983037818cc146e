"""A kernel that is compiled where it runs, tried on small inputs before it is selected."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unforced.models.failures import first_words

_CLOSE = 1e-3
"""The greatest relative and absolute error, where numbers are around 1."""

Function = Callable[..., tuple[Tensor, ...]]


def trial(kernel: Function, reference: Function, inputs: Sequence[Tensor], device: torch.device) -> str:
    """Return what is wrong with a kernel on a device, gradients included; "" if nothing.

    reference: what computes the same. It is given the inputs, on the processor, in their own precision.
    """
    try:
        found = _results(kernel, [tensor.to(device) for tensor in inputs])
    except Exception as error:  # of a compiler, of a driver
        return f"does not run on {device} ({first_words(error)})"
    expected = _results(reference, inputs)
    close = (torch.allclose(a.cpu(), b, _CLOSE, _CLOSE) for a, b in zip(found, expected, strict=True))
    return "" if all(close) else f"computes something else on {device} than it should"


def _results(function: Function, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return a function's outputs, and the gradients of half the sum of their squares."""
    with torch.inference_mode(False), torch.enable_grad():
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        outputs = function(*leaves)
        gradients = torch.autograd.grad(outputs, leaves, [output.detach() for output in outputs])
    return [output.detach() for output in (*outputs, *gradients)]
