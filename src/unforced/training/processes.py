"""The processes that train one run, and the devices they compute on.

accelerate finds the device and joins the processes that a launcher started; it decides nothing else. What it
would read from the environment for itself (accumulation of gradients, compilation, DeepSpeed ...) is refused:
a run trains as its config.json says. `ACCELERATE_MIXED_PRECISION`, which `accelerate launch` always sets, has
no effect: the precision is the run's.
"""

import atexit
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed
from accelerate import PartialState
from accelerate.utils import gather, gather_object, reduce
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from unforced.errors import UserError
from unforced.models.failures import first_words

_LAUNCHERS = {
    "WORLD_SIZE": ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"),  # torchrun, accelerate launch
    "PMI_SIZE": ("PMI_RANK", "MASTER_ADDR"),
    "OMPI_COMM_WORLD_SIZE": ("OMPI_COMM_WORLD_RANK", "MASTER_ADDR"),
    "MV2_COMM_WORLD_SIZE": ("MV2_COMM_WORLD_RANK", "MASTER_ADDR"),
}
"""By the variable with the number of processes: what a launcher sets along with it."""
_FALSE = frozenset({"", "0", "false", "no", "n", "f", "off"})
_UNUSED = "training does not use it; unset the variable"
_REFUSED = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": (
        _FALSE | {"1"},
        "unset it, and give gradient_accumulation=STEPS",
    ),
    "ACCELERATE_DYNAMO_BACKEND": (
        _FALSE,
        "a run is not compiled by accelerate; unset it (--dynamo_backend no)",
    ),
    "ACCELERATE_USE_DEEPSPEED": (_FALSE, _UNUSED),
    "ACCELERATE_USE_FSDP": (_FALSE, _UNUSED),
    "ACCELERATE_USE_MEGATRON_LM": (_FALSE, _UNUSED),
    "ACCELERATE_USE_PARALLELISM_CONFIG": (_FALSE, _UNUSED),
    "ACCELERATE_USE_SAGEMAKER": (_FALSE, _UNUSED),
}
"""By variable: the values that ask for nothing, and advice for all others."""


class Processes:
    """The processes of one training, seen from one of them. Between them there are sums and messages only."""

    def __init__(self, state: PartialState) -> None:
        self._state = state
        self.device: torch.device = state.device
        self.num_processes: int = state.num_processes
        self.process_index: int = state.process_index
        self.is_main_process: bool = state.is_main_process

    def wait_for_everyone(self) -> None:
        """Wait until every process has come here."""
        self._state.wait_for_everyone()

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up a tensor over the processes."""
        total: Tensor = reduce(tensor.clone(), "sum")
        return total

    def gather_objects(self, parts: Sequence[Any]) -> list[list[Any]]:
        """Return what each process has, in the order of the processes; picklable objects."""
        found: list[list[Any]] = gather_object([list(parts)]) if self.num_processes > 1 else [list(parts)]
        return found

    def gather(self, tensor: Tensor) -> Tensor:
        """Concatenate the tensors of all processes, in the order of the processes."""
        rows: Tensor = gather(tensor)
        return rows

    def wrap(self, module: nn.Module, some_unused: bool) -> nn.Module:
        """Let the gradients of a module be averaged over the processes in the backward pass.

        some_unused: whether a pass may leave parameters without a gradient.
        """
        if self.num_processes == 1:
            return module
        devices = None if self.device.type == "cpu" else [self.device]
        return DistributedDataParallel(module, device_ids=devices, find_unused_parameters=some_unused)

    def no_sync(self, wrapped: nn.Module) -> AbstractContextManager[None]:
        """Leave the gradients of a backward pass in this process, to be averaged with a later one's."""
        return wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) else nullcontext()


def join_processes() -> Processes:
    """Join the processes that a launcher started, or be the only one. Raises UserError.

    All of them return from here, or none does.
    """
    launched = _check_environment(os.environ)
    try:
        state = PartialState(cpu=_is_processor_only(os.environ))
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(
            f"{launched} processes were to be started, and this one could not join them "
            f"({first_words(error)}); unset WORLD_SIZE, RANK and LOCAL_RANK to train in one process"
        ) from error
    if launched != state.num_processes:
        raise UserError(f"{launched} processes were started, but {state.device} serves only one")
    if state.num_processes > 1:
        atexit.unregister(_leave)  # of an earlier call
        atexit.register(_leave)
    return Processes(state)


def find_device() -> torch.device:
    """Return the device that this process computes on. Raises UserError."""
    return join_processes().device


def _leave() -> None:
    """Leave the process group: the threads that it starts abort a process that ends before them."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _is_processor_only(environment: Mapping[str, str]) -> bool:
    asked = environment.get("ACCELERATE_USE_CPU", "").lower() not in _FALSE
    return asked or not torch.accelerator.is_available()


def _check_environment(environment: Mapping[str, str]) -> int:
    """Return how many processes were launched.

    Raises UserError: accelerate is asked for what a run's config decides, or a launcher's variables are left
    over.
    """
    for name, (neutral, advice) in _REFUSED.items():
        if environment.get(name, "").lower() not in neutral:
            raise UserError(f"environment: {name}={environment[name]}: {advice}")
    return max(_launched(environment, size, others) for size, others in _LAUNCHERS.items())


def _launched(environment: Mapping[str, str], size: str, others: tuple[str, ...]) -> int:
    """Return how many processes one kind of launcher started."""
    numeric = [name for name in (size, *others) if not name.startswith("MASTER_")]
    numbers = {name: _number(environment, name) for name in numeric if name in environment}
    if not numbers or (size != "WORLD_SIZE" and numbers.get(size, 1) == 1):
        return 1
    absent = [name for name in (size, *others) if name not in environment]
    if absent:
        name, number = next(iter(numbers.items()))
        more = ", ".join(absent)
        raise UserError(
            f"environment: {name}={number} is left over from a launcher, which sets {more}, too; "
            f"unset {', '.join(numbers)}, or start with torchrun"
        )
    for name in numeric[1:]:
        if numbers[name] >= numbers[size]:
            raise UserError(
                f"environment: {name}={numbers[name]} is not below {size}={numbers[size]}; "
                f"unset {', '.join(numeric)}, or start with torchrun"
            )
    return numbers[size]


def _number(environment: Mapping[str, str], name: str) -> int:
    text: Any = environment[name]
    if not text.isascii() or not text.isdigit():
        raise UserError(f"environment: {name}={text} is not a number of processes; unset {name}")
    return int(text)
