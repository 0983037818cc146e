"""Who is measured: a model, the objective that decodes it, and the task that it answers."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn

from unforced.config import Run
from unforced.data.batch import Batch
from unforced.data.codec import SymbolCodec, encode_problems
from unforced.models.base import Cache, SequenceModel
from unforced.objectives.base import Objective
from unforced.tasks.base import Order, Problems, Symbols, Task, in_order
from unforced.training.learner import Learner
from unforced.training.precision import matrix_dtype

Tokens = Int[Tensor, "batch answer"]
BATCH = 512


@dataclass(frozen=True)
class Subject:
    """A model to be measured, with all that is needed to ask it. `dtype` is that of its matrix products."""

    task: Task
    order: Order
    objective: Objective
    model: SequenceModel
    heads: nn.Module
    device: torch.device
    codec: SymbolCodec
    dtype: torch.dtype = torch.float32

    @classmethod
    def of(cls, run: Run, learner: Learner) -> "Subject":
        """Take a run's learner, as far as it has come."""
        device = next(learner.parameters()).device
        dtype = matrix_dtype(run, device)
        return cls(run.task, run.order, run.objective, learner.model, learner.heads, device, run.codec, dtype)

    @property
    def reads_answers(self) -> bool:
        """Whether training shows it the true answer so far, so that forced measures speak of it."""
        return self.objective.reads_answer

    @property
    def tokens_trained(self) -> str:
        """Why measures of all tokens say nothing of it, where the loss counts some positions alone."""
        positions = self.objective.train_positions
        return (
            "" if positions is None else f"the loss counts positions {', '.join(map(str, positions))} alone"
        )

    def encode(self, problems: Problems) -> Batch:
        """Encode problems, on the subject's device."""
        batch = encode_problems(self.codec, self.task, self.order, problems)
        return batch.map(lambda tensor: tensor.to(self.device))

    def symbols(self, tokens: Tokens) -> Symbols:
        """Turn answers as tokens, in the subject's order, into symbols in forward order."""
        return in_order(self.codec.decode(tokens), self.order)

    def decode(self, batch: Batch, cache: Cache | None = None) -> Tokens:
        """Answer freely."""
        return self.objective.decode(self.model, self.heads, batch, cache)

    def forced(self, batch: Batch, cache: Cache | None = None) -> Tokens:
        """Predict each answer token given the true ones before it."""
        return self.objective.forced(self.model, self.heads, batch, cache).argmax(-1)

    @contextlib.contextmanager
    def at_rest(self) -> Iterator[None]:
        """Measure within this context: no gradients, evaluation mode, the subject's precision."""
        modules = [module for module in (self.model, self.heads) if module.training]
        for module in modules:
            module.eval()
        try:
            autocast = torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)
            with torch.inference_mode(), autocast:
                yield
        finally:
            for module in modules:
                module.train()


def answers(subject: Subject, problems: Problems, answer: Callable[[Batch], Tokens]) -> Symbols:
    """Answer problems in batches with `answer` (the subject's `decode`, say); return forward order."""
    batch = subject.encode(problems)
    with subject.at_rest():
        tokens = [answer(batch.rows(slice(i, i + BATCH))) for i in range(0, len(batch), BATCH)]
    return subject.symbols(torch.cat(tokens))
