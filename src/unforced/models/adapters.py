"""Low-rank adapters: a frozen model is trained through small matrices added to its linear maps.

Source: arXiv 2106.09685 (LoRA), as the library peft builds it.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unforced.errors import UserError
from unforced.models.roles import set_role


def add_adapters(
    module: nn.Module, beside: Sequence[str], rank: int, alpha: float, frozen: torch.dtype
) -> None:
    """Freeze a module, and add an adapter of this rank to each named linear map.

    frozen: the dtype that these maps are kept in; all else is fp32. Raises UserError without peft, and if no
    map has this rank.
    """
    most = max(min(module.get_submodule(name).get_parameter("weight").shape) for name in beside)
    if rank > most:
        raise UserError(
            f"model.lora_rank: {rank} is more than {most}, the highest rank of a map in this model; lower "
            "it, or drop it to train all weights"
        )
    transposed = any(type(module.get_submodule(name)).__name__ == "Conv1D" for name in beside)
    config = _peft().LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=list(beside), fan_in_fan_out=transposed
    )
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    _peft().inject_adapter_in_model(config, module)
    for name in beside:
        weight = module.get_submodule(name).get_parameter("base_layer.weight")
        if not weight.is_meta:
            weight.data = weight.data.to(frozen)
        for parameter in module.get_submodule(name).parameters():
            if parameter.requires_grad and parameter.dim() == 2:
                set_role(parameter, "matrix")


def train_rows(table: nn.Parameter, first: int) -> None:
    """Train the rows of a table from `first` on, and leave those before as they are."""
    table.requires_grad_(True)
    set_role(table, "vector")  # decay would move the other rows

    def of_new_rows(gradient: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(gradient[:first]), gradient[first:]])

    table.register_hook(of_new_rows)


def merge_adapters(module: nn.Module) -> None:
    """Merge the adapters into their weights, in fp32, and remove them."""
    module.float()
    beside = [
        name.removesuffix(".base_layer") for name, _ in module.named_modules() if name.endswith(".base_layer")
    ]
    for name in beside:
        adapted: Any = module.get_submodule(name)
        adapted.merge()
        parent, _, last = name.rpartition(".")
        setattr(module.get_submodule(parent), last, adapted.get_base_layer())


def _peft() -> Any:
    try:
        return importlib.import_module("peft")
    except ImportError:
        raise UserError("model.lora_rank needs peft: pip install 'unforced[lora]'") from None
