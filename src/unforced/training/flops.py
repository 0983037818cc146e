"""Floating-point operations of training on one problem, counted on shapes alone."""

import json
from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from unforced.config import Run
from unforced.data.batch import Batch
from unforced.objectives.moment import Moment
from unforced.training.source import encode, split_problems
from unforced.training.train_module import TrainModule, loss_of

_PROBLEMS = 8
_DEPENDS_ON = ("task", "model", "objective", "order")


def flops_of(run: Run) -> float:
    """Return the operations of training on one problem: a function of task, model, objective and order alone.

    Raises RuntimeError: the model runs, but not everything in it has a shape alone.
    """
    tree = run.tree()
    return _flops_of(json.dumps({key: tree[key] for key in _DEPENDS_ON}, sort_keys=True))


@lru_cache(maxsize=64)
def _flops_of(parts: str) -> float:
    run = Run.from_tree(json.loads(parts) | {"num_train": _PROBLEMS, "max_steps": 1, "batch_size": _PROBLEMS})
    return flops_per_sample(run, encode(run, split_problems(run, "train", _PROBLEMS)))


def flops_per_sample(run: Run, batch: Batch) -> float:
    """Count the floating-point operations of training on one problem of a batch: forward and backward.

    Counted by PyTorch over matrix products. The view is made of the batch as it is, so that its shapes may
    depend on its contents; model and loss see shapes alone (the meta device). Element-wise work is left out,
    that of Mamba's scan too: about 4% of the operations of 6 layers of width 384 at 31 tokens.
    """
    train_module, meta = TrainModule(run, empty=True), torch.device("meta")
    train_module.select_kernels(meta, torch.float32)
    view = run.objective.view(batch, Moment(len(batch))).map(lambda tensor: tensor.to(meta))
    with FlopCounterMode(display=False) as counter:
        loss_of(train_module, view).backward()
    return counter.get_total_flops() / len(batch)
