"""Measures several models of one kind at once: each batch of all of them is one call of `torch.vmap`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from unforced.config import Run
from unforced.data.batch import Batch
from unforced.errors import UserError
from unforced.evaluation.accuracy import Metrics, count_all, predict, read_predictions
from unforced.evaluation.evaluator import Evaluator, joined
from unforced.tasks.sampling import Split
from unforced.training.source import split_problems
from unforced.training.train_module import TrainModule


def measure_together(
    runs: Sequence[Run], modules: Sequence[TrainModule], split: Split, counts: Sequence[int]
) -> list[Metrics]:
    """Measure each run's train_module on as many problems of a split, as `measure` does, within rounding.

    The runs can be stacked (`unforced.config.stacking`). Raises UserError: they are measured on different
    numbers of problems. Raises RuntimeError: `torch.vmap` cannot compute how they answer.
    """
    problems = [split_problems(run, split, count) for run, count in zip(runs, counts, strict=True)]
    if len({len(each) for each in problems}) > 1:
        raise UserError("they are measured on different numbers of problems")
    evaluators = [Evaluator.of(run, module) for run, module in zip(runs, modules, strict=True)]
    batches = [each.encode(asked) for each, asked in zip(evaluators, problems, strict=True)]
    step = max(1, evaluators[0].rows // len(runs))
    found: list[list[Any]] = [[] for _ in runs]
    with evaluators[0].inference():
        asked = _Asked(evaluators[0], modules)
        for start in range(0, len(batches[0]), step):
            parts = [batch.rows(slice(start, start + step)) for batch in batches]
            for evaluator, part, answers, own in zip(evaluators, parts, asked(parts), found, strict=True):
                own.append(read_predictions(evaluator, part, *answers))
    return [
        count_all(evaluator, asked_of, *joined(own))
        for evaluator, asked_of, own in zip(evaluators, problems, found, strict=True)
    ]


class _Asked:
    """Asks several models with one call. evaluator: of the first, whose model computes with all weights."""

    def __init__(self, evaluator: Evaluator, modules: Sequence[TrainModule]) -> None:
        self._evaluator, self._module = evaluator, _Shell(modules[0])
        own = [module.trained() for module in modules]
        self._weights = {f"module.{name}": torch.stack([each[name] for each in own]) for name in own[0]}

    def __call__(self, batches: Sequence[Batch]) -> list[tuple[Tensor, ...]]:
        """Return what `predict` does, for each model on its own batch."""
        tensors = [torch.stack(each) for each in zip(*map(_tensors_of, batches), strict=True)]

        def answer(weights: dict[str, Tensor], *own: Tensor) -> tuple[Tensor, ...]:
            given = iter(own)
            batch = batches[0].map(lambda _: next(given))
            answered: tuple[Tensor, ...] = functional_call(
                self._module, weights, (lambda: predict(self._evaluator, batch),)
            )
            return answered

        return list(zip(*vmap(answer)(self._weights, *tensors), strict=True))


class _Shell(nn.Module):
    """Lets a function be called while a module has other weights."""

    def __init__(self, module: TrainModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, function: Any) -> Any:
        """Call it."""
        return function()


def _tensors_of(batch: Batch) -> list[Tensor]:
    """Return a batch's tensors, in the order in which `map` meets them."""
    tensors: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    batch.map(note)
    return tensors
