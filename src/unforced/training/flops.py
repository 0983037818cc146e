"""Floating-point operations of training on one problem and of answering one, counted on shapes alone.

Matrix products are counted, by PyTorch, as the reference kernels compute them, whichever kernels run.
Element-wise work is left out, that of Mamba's scan too: about 4% of the operations of 6 layers of width 384
at 31 tokens.
"""

import copy
import json
from functools import lru_cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from unforced.config import Run
from unforced.data.batch import Batch
from unforced.objectives.moment import Moment
from unforced.training.source import encode, split_problems
from unforced.training.train_module import TrainModule, loss_of

_PROBLEMS = 8
_DEPENDS_ON = ("task", "model", "objective", "decoder", "order")
_META = torch.device("meta")


class _Counter(TorchDispatchMode):
    """Adds up the operations of what is computed in its context, by PyTorch's formulas.

    PyTorch's own `FlopCounterMode` imports its compiler, which takes a second.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # so that PyTorch does not import its compiler, to tell it to leave this alone

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func.overloadpacket)
        if formula is None:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=result)
        return result


def flops_of(run: Run) -> float:
    """Return the operations of training on one problem: a function of task, model, objective and order alone.

    Heads, a second encoder and further tokens of the objective are part of them, as at the first step. Raises
    RuntimeError: the model runs, but not everything in it has a shape alone.
    """
    return _flops_of(_parts(run.replace(decoder=None)))


def answer_flops_of(run: Run) -> float:
    """Return the operations of answering one problem: a function of task, model, objective and decoder alone.

    Every step of decoding is part of them; what the decoder keeps in a cache is computed once. Raises
    RuntimeError: how the decoder goes on depends on what it has written; see `flops_per_answer`.
    """
    return _answer_flops_of(_parts(run))


def flops_per_sample(run: Run, batch: Batch, train_module: TrainModule | None = None) -> float:
    """Count the operations of training on one problem of a batch: forward and backward.

    The view is made of the batch as it is, so that its shapes may depend on its contents. train_module: whose
    weights are computed with; None: model and loss see shapes alone (the meta device), which needs no time
    for large models, but a second of imports in PyTorch.
    """
    counted = TrainModule(run, empty=True) if train_module is None else copy.deepcopy(train_module)
    counted.select_kernels(_META, torch.float32)
    device = next(counted.parameters()).device
    view = run.objective.view(batch, Moment(len(batch))).map(lambda tensor: tensor.to(device))
    with _Counter() as counter:
        loss_of(counted, view).backward()
    return counter.flops / len(batch)


def flops_per_answer(run: Run, train_module: TrainModule, batch: Batch) -> float:
    """Count the operations of answering one problem of a batch, decoded together, with these weights.

    They may be on the meta device, with the batch, if the decoder needs shapes alone. If it needs numbers (it
    ends when it has written the last token, say), the operations are those of these weights and problems.
    """
    counted = copy.deepcopy(train_module).eval()
    counted.select_kernels(_META, torch.float32)
    with _Counter() as counter, torch.no_grad():
        heads = run.objective.heads_for(run.decoding, counted.heads)
        run.decoding.decode(counted.model, heads, batch.prompts)
    return counter.flops / len(batch)


def some_problems(run: Run, split: str = "test") -> Batch:
    """Return the few problems on which operations are counted."""
    return encode(run, split_problems(run, split, _PROBLEMS))


def _parts(run: Run) -> str:
    tree = run.tree()
    return json.dumps({key: tree[key] for key in _DEPENDS_ON}, sort_keys=True)


def _run_of(parts: str) -> Run:
    return Run.from_tree(
        json.loads(parts) | {"num_train": _PROBLEMS, "max_steps": 1, "batch_size": _PROBLEMS}
    )


@lru_cache(maxsize=64)
def _flops_of(parts: str) -> float:
    run = _run_of(parts)
    return flops_per_sample(run, some_problems(run, "train"))


@lru_cache(maxsize=64)
def _answer_flops_of(parts: str) -> float:
    run = _run_of(parts)
    return flops_per_answer(
        run, TrainModule(run, empty=True), some_problems(run).map(lambda tensor: tensor.to(_META))
    )
