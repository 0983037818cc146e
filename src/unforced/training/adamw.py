"""AdamW by PyTorch's fused kernel, and what optimisers have in common here.

`torch.optim.Optimizer` imports PyTorch's compiler, which takes most of the time in which a process starts.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Group = dict[str, Any]
"""Parameters (`params`) that share settings: `lr`, a number or a tensor on the device, and others by name."""


class Optimizer(ABC):
    """Changes parameters by their gradients.

    state: what is remembered of each parameter, by name. found_inf: a number on the device; where it is 1,
    not 0, a step changes neither weights nor state. None: every step does.
    """

    found_inf: Tensor | None = None

    def __init__(self, groups: Sequence[Mapping[str, Any]], **settings: Any) -> None:
        self.param_groups: list[Group] = [{**settings, **group} for group in groups]
        self.state: dict[nn.Parameter, dict[str, Tensor]] = defaultdict(dict)

    @abstractmethod
    def step(self) -> None:
        """Take one step with the gradients of the parameters that have one."""

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None


class AdamW(Optimizer):
    """AdamW (arXiv 1711.05101), to the bits of `torch.optim.AdamW(fused=True)`."""

    @torch.no_grad()
    def step(self) -> None:
        """Take one step."""
        for group in self.param_groups:
            by_dtype: dict[torch.dtype, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_dtype.setdefault(parameter.dtype, []).append(parameter)
            for parameters in by_dtype.values():
                self._update(group, parameters)

    def _update(self, group: Group, parameters: list[nn.Parameter]) -> None:
        states = [self._state_of(parameter) for parameter in parameters]
        steps = [state["step"] for state in states]
        torch._foreach_add_(steps, 1)
        first, second = group["betas"]
        torch._fused_adamw_(
            list[Tensor](parameters),
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            steps,
            lr=group["lr"],
            beta1=first,
            beta2=second,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
            found_inf=self.found_inf,
        )
        if self.found_inf is not None:
            torch._foreach_sub_(steps, [self.found_inf] * len(steps))

    def _state_of(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"], state["exp_avg_sq"] = (torch.zeros_like(parameter) for _ in range(2))
        return state
