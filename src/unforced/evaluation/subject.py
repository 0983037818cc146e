"""Who is measured: a model, the objective that decodes it, and the task that it answers."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from unforced.config import Run
from unforced.data.batch import Batch
from unforced.data.codec import Codec
from unforced.models.base import Cache, SequenceModel
from unforced.objectives.base import Logits, Objective
from unforced.tasks.base import Order, Problems, Symbols, Task
from unforced.training.learner import Learner
from unforced.training.precision import matrix_dtype

_MOST_ROWS = 512
_MOST_LOGITS = 2**26


@dataclass(frozen=True)
class Subject:
    """A model to be measured, with all that is needed to ask it. `dtype` is that of its matrix products."""

    task: Task
    order: Order
    objective: Objective
    model: SequenceModel
    heads: nn.Module
    device: torch.device
    codec: Codec
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

    @property
    def rows(self) -> int:
        """How many problems to ask at once: fewer where a large vocabulary makes large logits."""
        logits_of_one = self.codec.answer_length * self.codec.vocab_size
        return max(1, min(_MOST_ROWS, _MOST_LOGITS // logits_of_one))

    def encode(self, problems: Problems, answers: Symbols | None = None, given: int = 0) -> Batch:
        """Encode problems, on the subject's device; see `Codec.encode`."""
        batch = self.codec.encode(problems, self.order, answers, given)
        return batch.map(lambda tensor: tensor.to(self.device))

    def free(self, batch: Batch, cache: Cache | None = None, given: int = 0) -> Symbols:
        """Answer freely; the first `given` symbols stand in the prompts already."""
        tokens = self.objective.decode(self.model, self.heads, batch, cache)
        return self.codec.read(tokens, self.order, given)

    def forced(self, batch: Batch, cache: Cache | None = None) -> Symbols:
        """Predict each symbol of the answer given the true tokens before each of its own."""
        logits = self.objective.forced(self.model, self.heads, batch, cache)
        return self.codec.read_beside(logits.argmax(-1), batch)

    def trained(self, batch: Batch, cache: Cache | None = None) -> tuple[Symbols, Logits]:
        """Predict each symbol of the answer on the inputs of training; return the logits, too."""
        logits = self.objective.predict(self.model, self.heads, batch, cache)
        return self.codec.read_beside(logits.argmax(-1), batch), logits

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


def answers(subject: Subject, problems: Problems, answer: Callable[[Batch], Symbols]) -> Symbols:
    """Answer problems in batches with `answer` (the subject's `free`, say); return forward order."""
    batch = subject.encode(problems)
    with subject.at_rest():
        parts = [answer(batch.rows(slice(i, i + subject.rows))) for i in range(0, len(batch), subject.rows)]
    return np.concatenate(parts)
