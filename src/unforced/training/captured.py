"""The optimiser step as one CUDA graph: launched as a whole, rather than operation by operation.

A step of a small model is some thousand kernels of a few microseconds; launching each takes several times as
long. Source: https://pytorch.org/docs/stable/notes/cuda.html, "CUDA Graphs".
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unforced.models.failures import first_words
from unforced.objectives.moment import sent
from unforced.objectives.view import signature, tensors_of
from unforced.training.precision import sum_dtype
from unforced.training.stacked import StackedStep
from unforced.training.step import EagerStep, StepReport

_EAGER_STEPS = 3
"""Steps that are taken operation by operation first, while libraries set themselves up."""
_MOST_GRAPHS = 4

Step = EagerStep | StackedStep
Views = Sequence[Any]
"""The views of an EagerStep, or the StackedViews of a StackedStep."""
Record = Callable[[Callable[[], StepReport]], tuple[Callable[[], None], StepReport]]
"""Records a function's work on the device; returns what repeats it, and what the function returned."""


class CapturedStep:
    """Takes the steps of an EagerStep or a StackedStep by replaying a recording of one, to the same numbers.

    A recording reads its views and numbers (learning rates, the terms' weights) from tensors of its own, into
    which those of each step are copied. There is one for each signature of views; where a step cannot be
    recorded, or more than a few signatures occur, steps are taken operation by operation from then on.

    say: takes a line on why. record: how the work is recorded.
    """

    def __init__(self, eager: Step, say: Callable[[str], None], record: Record | None = None) -> None:
        self.eager, self.say = eager, say
        self.lost, self.idle, self.waits = eager.lost, eager.idle, eager.waits
        self._record = record or record_graph
        self._recordings: dict[Hashable, _Recording] = {}
        self._eager_steps = 0
        self._gave_up = False

    def __call__(self, views: Views, rate: Any) -> StepReport:
        """Take a step at a learning rate, or at one for each run of a stack."""
        if self._gave_up or self._eager_steps < _EAGER_STEPS:
            self._eager_steps += 1
            return self.eager(views, rate)
        key, numbers = tuple(signature(view) for view in views), self.eager.numbers(views, rate)
        if key not in self._recordings and not self._recorded(key, views, len(numbers)):
            return self.eager(views, rate)
        return self._recordings[key].take(views, numbers)

    @property
    def kind(self) -> str:
        """How steps are taken: captured, once one was recorded, if none had to be taken eagerly since."""
        captures = self._recordings and not self._gave_up
        return self.eager.kind.replace("eager", "captured") if captures else self.eager.kind

    def _recorded(self, key: Hashable, views: Views, count: int) -> bool:
        """Record a step on such views; say why if that fails."""
        if len(self._recordings) == _MOST_GRAPHS:
            self._give_up(f"its batches have more than {_MOST_GRAPHS} shapes")
            return False
        try:
            self._recordings[key] = _Recording.of(self.eager, views, count, self._record)
        except RuntimeError as error:
            self.eager.drop_gradients()
            self._give_up(first_words(error))
            return False
        return True

    def _give_up(self, reason: str) -> None:
        self._gave_up = True
        self.say(f"the step cannot be captured as a CUDA graph, and is taken eagerly ({reason})")


@dataclass
class _Recording:
    """A recorded step: the tensors that it reads, what repeats it, and the report that it writes."""

    inputs: list[Tensor]
    numbers: Float[Tensor, " numbers"]
    replay: Callable[[], None]
    report: StepReport
    values: tuple[float, ...] = ()

    @classmethod
    def of(cls, eager: Step, views: Views, count: int, record: Record) -> "_Recording":
        """Record a step on views like these. It is not taken."""
        static = [
            view.map(lambda tensor: tensor.clone(memory_format=torch.contiguous_format)) for view in views
        ]
        numbers = torch.zeros(count, dtype=sum_dtype(eager.device), device=eager.device)
        replay, report = record(lambda: eager.take(static, numbers))
        return cls(_tensors(static), numbers, replay, report)

    def take(self, views: Views, numbers: tuple[float, ...]) -> StepReport:
        """Take the step on these views, with these numbers."""
        torch._foreach_copy_(self.inputs, _tensors(views), non_blocking=True)
        if numbers != self.values:
            self.values = numbers
            new = torch.tensor(numbers, dtype=self.numbers.dtype)
            self.numbers.copy_(sent(new, self.numbers.device))
        self.replay()
        losses = {name: sums.clone() for name, sums in self.report.losses.items()}
        return StepReport(losses, self.report.grad_norm.clone(), self.report.ok.clone())


def _tensors(views: Views) -> list[Tensor]:
    return [tensor for view in views for tensor in tensors_of(view)]


def record_graph(function: Callable[[], StepReport]) -> tuple[Callable[[], None], StepReport]:
    """Record a function's work as a CUDA graph. Raises RuntimeError if it waits for the device."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        report = function()
    return graph.replay, report
