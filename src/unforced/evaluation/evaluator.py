"""What is measured: a model, how it was trained, how it is decoded, and the task that it answers."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor, nn

from unforced.config import Run
from unforced.data.batch import Batch
from unforced.data.codec import Codec
from unforced.decoding.base import Decoder, Logits, ParallelDecoder
from unforced.decoding.modes import Mode, Shows, Writes, trained_mode
from unforced.decoding.one_pass import OnePass
from unforced.evaluation.creativity import NO_FORMS, Creativity, Forms, creativity, trained_forms
from unforced.models.base import Cache, SequenceModel
from unforced.objectives.base import Objective
from unforced.parts import tree
from unforced.tasks.base import Order, Problems, Symbols, Task, Verdicts
from unforced.tasks.capabilities import Lookahead
from unforced.training.precision import autocast_dtype
from unforced.training.processes import Processes
from unforced.training.train_module import TrainModule

_MOST_ROWS = 512
_MOST_LOGITS = 2**26
_MOST_TOKENS = 2**17


@dataclass(frozen=True)
class Evaluator:
    """A model to be measured, with all that is needed to ask it. `dtype` is that of its matrix products.

    processes: those that have the same model, and share the problems; all of them measure at the same time.
    None: this one measures alone. trained_forms: returns the canonical forms of the answers that it was
    trained on, which original answers do not repeat (None: of none), where the task is open-ended.
    """

    task: Task
    order: Order
    objective: Objective
    decoder: Decoder
    model: SequenceModel
    heads: nn.Module
    device: torch.device
    codec: Codec
    dtype: torch.dtype = torch.float32
    processes: Processes | None = None
    trained_forms: Callable[[], Forms] | None = None

    @classmethod
    def of(cls, run: Run, train_module: TrainModule, processes: Processes | None = None) -> "Evaluator":
        """Take a run's train_module, as far as it has come."""
        device = next(train_module.parameters()).device
        dtype = autocast_dtype(run, device)
        parts = (run.task, run.order, run.objective, run.decoding, train_module.model, train_module.heads)
        return cls(*parts, device, run.codec, dtype, processes, partial(trained_forms, run))

    def creativity(self, problems: Problems, free: Symbols, verdicts: Verdicts) -> Creativity | None:
        """Say how much is new of free answers to problems; None where the task is not open-ended."""
        if self.task.of_a_set is None:
            return None
        known = NO_FORMS if self.trained_forms is None else self.trained_forms()
        return creativity(self.task, problems, free, verdicts, known)

    @property
    def shows(self) -> Shows:
        """What training showed it of the true answer."""
        return self.objective.shows

    @property
    def writes(self) -> Writes:
        """How it writes an answer."""
        return self.decoder.writes

    @property
    def trained_mode(self) -> Mode:
        """The mode of measuring that gives it the inputs of training."""
        return trained_mode(self.shows, self.writes)

    @property
    def one_pass(self) -> ParallelDecoder:
        """What predicts an answer from the prompt alone: as the objective decodes, or as usual."""
        own = (self.objective.default_decoder, self.decoder)
        return next((each for each in own if isinstance(each, ParallelDecoder)), OnePass())

    @property
    def lookahead(self) -> Lookahead | None:
        """What needs lookahead where answers are written as the evaluator does; None: nothing, or unknown."""
        backwards = self.order == "reversed" and self.shows != "nothing"
        return None if backwards else self.task.lookahead

    @property
    def trained_positions_note(self) -> str:
        """Why measures of all tokens say nothing of it, where the loss counts some positions alone."""
        positions = self.objective.train_positions
        return (
            "" if positions is None else f"the loss counts positions {', '.join(map(str, positions))} alone"
        )

    @property
    def rows(self) -> int:
        """How many problems to ask at once: more on a GPU, fewer where logits or caches are large."""
        answer = self.codec.answer_length
        most = _MOST_LOGITS // (answer * self.codec.vocab_size)
        if self.device.type == "cpu":
            return max(1, min(_MOST_ROWS, most))
        return max(1, min(_MOST_TOKENS // (self.codec.prompt_length + answer), most))

    def heads_for(self, decoder: Decoder) -> nn.Module:
        """Return the heads that a decoder relies on."""
        return self.objective.heads_for(decoder, self.heads)

    def decoded(self) -> dict[str, Any]:
        """Return as JSON values how it writes answers, and what training showed it of them."""
        return {"decoder": tree(self.decoder), "writes": self.writes, "shows": self.shows}

    def encode(
        self,
        problems: Problems,
        answers: Symbols | None = None,
        given: int = 0,
        numbers: Int[np.ndarray, " count"] | None = None,
    ) -> Batch:
        """Encode problems, on the evaluator's device; see `Codec.encode`.

        numbers: which problem of its set each one is (0, 1, ... if None); sampling depends on it.
        """
        batch = self.codec.encode(problems, self.order, answers, given)
        numbers = np.arange(len(batch)) if numbers is None else numbers
        batch = replace(batch, numbers=torch.from_numpy(numbers))
        return batch.map(lambda tensor: tensor.to(self.device))

    def free(self, batch: Batch, cache: Cache | None = None, given: int = 0) -> Symbols:
        """Answer freely; the first `given` symbols stand in the prompts already."""
        return self.codec.read(self.free_tokens(batch, cache), self.order, given)

    def free_tokens(self, batch: Batch, cache: Cache | None = None) -> Int[Tensor, "batch room"]:
        """Answer freely, in tokens."""
        return self.decoder.decode(self.model, self.heads_for(self.decoder), batch.prompts, cache)

    def forced(self, batch: Batch, cache: Cache | None = None) -> Symbols:
        """Predict each symbol of the answer given the true tokens before each of its own."""
        return self.codec.read_beside(self.forced_logits(batch, cache).argmax(-1), batch)

    def forced_logits(self, batch: Batch, cache: Cache | None = None) -> Logits:
        """Return the logits of each answer token given the true ones before it."""
        return self.decoder.teacher_forced(self.model, self.heads_for(self.decoder), batch, cache)

    def trained(self, batch: Batch, cache: Cache | None = None) -> tuple[Symbols, Logits]:
        """Predict each symbol of the answer on the inputs of training; return the logits, too."""
        logits = self.trained_logits(batch, cache)
        return self.codec.read_beside(logits.argmax(-1), batch), logits

    def trained_logits(self, batch: Batch, cache: Cache | None = None) -> Logits:
        """Return the logits of each answer token on the inputs of training.

        They are the prompt alone where training shows nothing of the answer; else the true answer so far.
        """
        if self.shows == "nothing":
            return self.one_pass.logits(self.model, self.heads_for(self.one_pass), batch.prompts, cache)
        return self.forced_logits(batch, cache)

    @contextlib.contextmanager
    def inference(self) -> Iterator[None]:
        """Measure within this context: no gradients, evaluation mode, the evaluator's precision.

        In lower precision, weights are rounded once; in inference mode, PyTorch would do so at each call.
        """
        modules = [module for module in (self.model, self.heads) if module.training]
        for module in modules:
            module.eval()
        try:
            rounds = self.dtype != torch.float32
            autocast = torch.autocast(self.device.type, self.dtype, enabled=rounds)
            with torch.no_grad() if rounds else torch.inference_mode(), autocast:
                yield
        finally:
            for module in modules:
                module.train()


def answers(evaluator: Evaluator, problems: Problems, answer: Callable[[Batch], Symbols]) -> Symbols:
    """Answer problems in batches with `answer` (the evaluator's `free`, say); return forward order."""
    return columns(evaluator, problems, lambda batch: (answer(batch),))[0]


def columns(
    evaluator: Evaluator, problems: Problems, ask: Callable[[Batch], tuple[NDArray[Any], ...]]
) -> list[NDArray[Any]]:
    """Ask about problems in batches; return what `ask` returns, an array over all problems for each entry.

    Several processes take the batches in turn, and each returns the answers of all.
    """
    batch, processes = evaluator.encode(problems), evaluator.processes
    world, rank = (1, 0) if processes is None else (processes.num_processes, processes.process_index)
    rows = min(evaluator.rows, math.ceil(len(batch) / world))
    starts = range(0, len(batch), rows)
    with evaluator.inference():
        parts = [ask(batch.rows(slice(start, start + rows))) for start in starts[rank::world]]
    if processes is not None:
        shares = processes.gather_objects(parts)
        parts = [shares[index % world][index // world] for index in range(len(starts))]
    return joined(parts)


def joined(parts: Sequence[tuple[NDArray[Any], ...]]) -> list[NDArray[Any]]:
    """Put what was returned for each batch end to end."""
    return [np.concatenate(column) for column in zip(*parts, strict=True)]
