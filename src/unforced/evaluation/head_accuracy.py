"""What each head of an objective gets right by itself, given the true tokens that it is trained to see.

answer  1 7 9      next_token  1 7 9      offset_2  . 7 9      offset_3  . . 9
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from unforced.data.batch import Batch
from unforced.evaluation.evaluator import Evaluator, columns
from unforced.evaluation.statistics import share
from unforced.tasks.base import Problems


def head_accuracy(evaluator: Evaluator, problems: Problems, confidence: float) -> dict[str, Any] | None:
    """Measure the accuracy of each head, over all tokens that it predicts (`all`) and by answer position.

    Returns None if no head predicts tokens.
    """
    names: list[str] = []

    def ask(batch: Batch) -> tuple[Any, ...]:
        heads = evaluator.objective.head_logits(evaluator.model, evaluator.heads, batch)
        names[:] = heads
        symbols = [evaluator.codec.read_beside(each.logits.argmax(-1), batch) for each in heads.values()]
        predicts = [_of_symbols(evaluator, batch, each.predicts) for each in heads.values()]
        return *symbols, *predicts

    found = columns(evaluator, problems, ask)
    if not names:
        return None
    truth = evaluator.task.answers(problems)
    said, predicts = found[: len(names)], found[len(names) :]
    return {
        name: _accuracies(symbols == truth, marks, confidence)
        for name, symbols, marks in zip(names, said, predicts, strict=True)
    }


def _of_symbols(evaluator: Evaluator, batch: Batch, predicts: Bool[Tensor, "batch answer"]) -> Any:
    """Mark the answer positions all of whose tokens a head predicts."""
    marks = []
    for position in range(evaluator.task.answer_length):
        tokens = batch.covers([position]).expand(batch.answer.shape)
        if batch.answer_mask is not None:
            tokens = tokens & batch.answer_mask
        marks.append(tokens.any(1) & ~(tokens & ~predicts).any(1))
    return torch.stack(marks, dim=1).numpy(force=True)


def _accuracies(
    right: Bool[np.ndarray, "count length"], among: Bool[np.ndarray, "count length"], confidence: float
) -> dict[str, Any]:
    tokens = {
        f"token_{i}": share(right[:, i], among[:, i], confidence)
        for i in range(right.shape[1])
        if among[:, i].any()
    }
    return {"all": share(right, among, confidence), **tokens}
