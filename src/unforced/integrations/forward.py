"""A forward pass that computes what it is given: so that what wraps a model wraps that, too."""

import functools
import types
from typing import Any

from torch import nn

COMPUTE = "unforced_compute"
"""The keyword of a model's forward pass whose value, a function, is computed in its place."""


def let_compute(model: nn.Module) -> None:
    """Let a model's forward pass be a function that it is given; without one, it is what it was.

    So distributed training and autocasting, which wrap models, hold for the function. Copies of the model
    have it as well.
    """
    original = getattr(model.forward, "__func__", None) or type(model).forward

    @functools.wraps(original)
    def forward(self: nn.Module, *args: Any, **options: Any) -> Any:
        compute = options.pop(COMPUTE, None)
        return original(self, *args, **options) if compute is None else compute()

    if not getattr(original, COMPUTE, False):
        setattr(forward, COMPUTE, True)
        model.forward = types.MethodType(forward, model)
