"""How many runs one GPU has room for at once, by an estimate of the memory that each of them holds."""

import torch

from unforced.config import Run
from unforced.data.batch import Batch
from unforced.objectives.moment import Moment
from unforced.training.flops import some_problems
from unforced.training.train_module import TrainModule, loss_of

MOST = 64
"""Runs in a stack that is chosen by the rule."""
_USED = 0.8
"""The share of the free memory that a stack may fill: evaluations, libraries and graphs need the rest."""
_COPIES = 9
"""What is as large as the weights: they, two moments, and the gradients and updates of a step, up to six."""
_PASSING = 2.0
"""What a step holds at its most, over what its backward pass needs."""
_FLOAT_BYTES, _ORDER_BYTES = 4, 8


def stack_size(free: int, each: int) -> int:
    """Return how many runs to train at once, where each holds so many bytes and so many are free."""
    return max(1, min(MOST, int(_USED * free / each)))


def bytes_of(run: Run) -> int:
    """Estimate the memory that a run of a stack holds on the device, in bytes.

    They are weights, moments, gradients, what the backward pass needs, all in fp32, and the training set with
    the orders of two epochs, twice, since they are joined with those of other runs. It is computed on shapes
    alone. Raises RuntimeError: not everything has a shape alone.
    """
    module = TrainModule(run, empty=True)
    module.select_kernels(torch.device("meta"), torch.float32)
    batch = some_problems(run, "train")
    weights = sum(parameter.numel() for parameter in module.parameters())
    rows = run.batch_size / run.gradient_accumulation / len(batch)
    examples = (
        0 if run.num_train is None else 2 * run.num_train * (_size(batch) / len(batch) + 2 * _ORDER_BYTES)
    )
    return int(_COPIES * _FLOAT_BYTES * weights + _PASSING * rows * _kept(module, batch) + examples)


def _kept(module: TrainModule, batch: Batch) -> int:
    """Return the bytes that are kept of a forward pass over a batch until the backward pass."""
    view = module.objective.view(batch, Moment(len(batch))).map(lambda tensor: tensor.to("meta"))
    weights = {parameter.untyped_storage()._cdata for parameter in module.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss_of(module, view)
    return sum(storage.nbytes() for storage in kept.values())


def _size(batch: Batch) -> int:
    """Return the bytes of a batch's tensors."""
    sizes: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    batch.map(note)
    return sum(sizes)
