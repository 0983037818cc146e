"""Forced and free accuracy, exact and per token, as counts."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from unforced.config import Run
from unforced.data.batch import Batch
from unforced.data.codec import SymbolCodec
from unforced.tasks.base import Problems, Symbols, in_order
from unforced.tasks.sampling import Split
from unforced.training.learner import Learner
from unforced.training.precision import autocast
from unforced.training.source import encode, split_problems

Counts = dict[str, dict[str, int]]
_BATCH = 512


def measure(run: Run, learner: Learner, split: Split, count: int) -> Counts:
    """Measure a learner on the first `count` problems of a split; see `measure_problems`."""
    return measure_problems(run, learner, split_problems(run, split, count))


def measure_problems(run: Run, learner: Learner, problems: Problems) -> Counts:
    """Count what a learner gets right, answering freely and given the true answer so far.

    Returns `free.exact`, `free.token_i`, `forced.exact`, `forced.token_i` as {correct, total} and
    `free.errors` as {kind: count}. token_i is answer position i in forward order, whatever the order of
    generation.
    """
    truth = run.task.answers(problems)
    free = answers(run, learner, problems, learner.decode)
    forced = answers(run, learner, problems, learner.forced)
    counts = _count("free", free == truth) | _count("forced", forced == truth)
    verdicts = run.task.score(problems, free)
    counts["free.exact"]["correct"] = int(verdicts.exact.sum())
    return counts | {"free.errors": verdicts.counts()}


def answers(
    run: Run, learner: Learner, problems: Problems, answer: Callable[[Batch], Int[Tensor, "batch answer"]]
) -> Symbols:
    """Answer problems in batches with `answer`; return symbols in forward order."""
    codec = SymbolCodec.of(run.task)
    device = next(learner.parameters()).device
    batch = encode(run, problems).map(lambda tensor: tensor.to(device))
    training = learner.training
    learner.eval()
    with torch.inference_mode(), autocast(run, device):
        tokens = [answer(batch.rows(slice(i, i + _BATCH))) for i in range(0, len(batch), _BATCH)]
    learner.train(training)
    return in_order(codec.decode(torch.cat(tokens)), run.order)


def _count(mode: str, right: np.ndarray) -> Counts:
    total = len(right)
    counts = {f"{mode}.exact": {"correct": int(right.all(axis=1).sum()), "total": total}}
    for i, column in enumerate(right.T):
        counts[f"{mode}.token_{i}"] = {"correct": int(column.sum()), "total": total}
    return counts


def prefixed(split: str, counts: Mapping[str, dict[str, int]]) -> Counts:
    """Name the split in each key: `test.free.exact`."""
    return {f"{split}.{key}": value for key, value in counts.items()}
