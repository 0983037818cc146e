"""Forced and free accuracy, exact and per token, as counts; margins of decisive tokens, as means."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from unforced.config import Run
from unforced.data.batch import Batch
from unforced.decoding.base import Logits
from unforced.evaluation.creativity import Creativity
from unforced.evaluation.evaluator import Evaluator, columns
from unforced.evaluation.margins import margins, mean_margins
from unforced.evaluation.statistics import proportion
from unforced.tasks.base import Marks, Problems, Symbols, Task, Verdicts
from unforced.tasks.sampling import Split
from unforced.training.processes import Processes
from unforced.training.source import split_problems
from unforced.training.train_module import TrainModule

Counts = dict[str, dict[str, int]]
Metrics = dict[str, dict[str, int] | float]


def measure(
    run: Run, train_module: TrainModule, split: Split, count: int, processes: Processes | None = None
) -> Metrics:
    """Measure a train_module on the first `count` problems of a split; see `measure_problems`, Evaluator."""
    evaluator = Evaluator.of(run, train_module, processes)
    return measure_problems(evaluator, split_problems(run, split, count))


def measure_problems(evaluator: Evaluator, problems: Problems) -> Metrics:
    """Count what a evaluator gets right, answering freely and given the true answer so far.

    Returns `free.exact`, `free.token_i`, `forced.exact`, `forced.token_i` as {correct, total} and
    `free.errors` as {kind: count}; and `one_pass.exact`, `one_pass.token_i` where neither mode gives the
    inputs of training. token_i is answer position i in forward order, whatever the order of generation, over
    the problems that have it. `free.exact` is the verifier's; forced and token measures are agreement with
    the reference answer, which is less where a task has several right answers. Where the verifier sorts
    problems, `slice.NAME_VALUE.free.exact`; where it judges parts of answers, `free.PART`; where a task is
    open-ended, `free.creative`, `free.coherent`, `free.original` and `free.unique`. Numbers, not counts, are
    the margins of decisive tokens; see `mean_margins`.
    """
    found = columns(
        evaluator, problems, lambda batch: read_predictions(evaluator, batch, *predict(evaluator, batch))
    )
    return count_all(evaluator, problems, *found)


def predict(evaluator: Evaluator, batch: Batch) -> tuple[Int[Tensor, "batch room"], Logits, Logits]:
    """Return free answers, and logits on the inputs of training and given the true answer.

    A free answer in one pass that is made of the same logits as the second is read from them.
    """
    mode = evaluator.trained_mode
    same = mode == "free" and evaluator.decoder == evaluator.one_pass
    free = None if same else evaluator.free_tokens(batch)
    trained = evaluator.trained_logits(batch)
    forced = trained if mode == "forced" else evaluator.forced_logits(batch)
    return trained.argmax(-1) if free is None else free, trained, forced


def read_predictions(
    evaluator: Evaluator, batch: Batch, free: Int[Tensor, "batch room"], trained: Logits, forced: Logits
) -> tuple[Symbols, Symbols, Symbols, NDArray[np.float64]]:
    """Read what was predicted as symbols: freely, given the true answer, and on the inputs of training.

    The last are the margins of decisive positions on the inputs of training.
    """
    codec, ahead = evaluator.codec, evaluator.lookahead
    read = codec.read_beside(trained.argmax(-1), batch)
    return (
        codec.read(free, evaluator.order),
        read if forced is trained else codec.read_beside(forced.argmax(-1), batch),
        read,
        margins(trained, batch, () if ahead is None else ahead.decisive_positions),
    )


def count_all(
    evaluator: Evaluator,
    problems: Problems,
    free: Symbols,
    forced: Symbols,
    trained: Symbols,
    margin: NDArray[np.float64],
) -> Metrics:
    """Count what is right, as `measure_problems` does, in predictions on all problems."""
    task, ahead = evaluator.task, evaluator.lookahead
    truth = task.answers(problems)
    exists = task.exists(truth)
    right = count_right("forced", forced == truth, exists)
    if evaluator.trained_mode == "one_pass":
        right |= count_right("one_pass", trained == truth, exists)
    means = {}
    if ahead is not None:
        means = mean_margins(margin, ahead.decisive(problems), ahead.decisive_positions)
    verdicts = task.score(problems, free)
    counts = count_free(task, problems, free, verdicts)
    return counts | count_set(evaluator.creativity(problems, free, verdicts)) | right | means


def count_free(task: Task, problems: Problems, free: Symbols, verdicts: Verdicts) -> Counts:
    """Count what is right in free answers, by the task's verifier: whole answers, slices, parts, kinds.

    Tokens are compared with the reference answer.
    """
    truth = task.answers(problems)
    counts = count_right("free", free == truth, task.exists(truth))
    counts["free.exact"]["correct"] = int(verdicts.exact.sum())
    for part, states in verdicts.parts.items():
        counts |= _counted(f"free.{part}", states == 1, states >= 0)
    for name, values in verdicts.slices.items():
        for value in np.unique(values).tolist():
            counts |= _counted(f"slice.{name}_{value}.free.exact", verdicts.exact, values == value)
    return counts | {"free.errors": verdicts.counts()}


def count_set(found: Creativity | None) -> Counts:
    """Return what is new of a set of free answers; nothing where a task is not open-ended."""
    return {} if found is None else {f"free.{name}": count for name, count in found.counts.items()}


def count_right(mode: str, right: Marks, exists: Marks) -> Counts:
    """Count whole answers and single tokens that are right, among those that exist."""
    whole: NDArray[np.bool_] = np.all(right, axis=1)
    counts = _counted(f"{mode}.exact", whole, np.ones(len(right), dtype=np.bool_))
    for i, (column, there) in enumerate(zip(right.T, exists.T, strict=True)):
        counts |= _counted(f"{mode}.token_{i}", column, there)
    return counts


def _counted(key: str, right: NDArray[np.bool_], among: NDArray[np.bool_]) -> Counts:
    """Count what is right among some problems; nothing if there are none."""
    if not among.any():
        return {}
    return {key: {"correct": int((right & among).sum()), "total": int(among.sum())}}


def prefixed(split: str, metrics: Mapping[str, dict[str, int] | float]) -> Metrics:
    """Name the split in each key: `test.free.exact`."""
    return {f"{split}.{key}": value for key, value in metrics.items()}


def with_intervals(metrics: Mapping[str, dict[str, int] | float]) -> dict[str, Any]:
    """Turn counts of right answers into proportions with intervals; leave margins and error kinds alone."""
    return {key: _with_interval(value) for key, value in metrics.items()}


def _with_interval(value: dict[str, int] | float) -> Any:
    if isinstance(value, dict) and "total" in value:
        return proportion(value["correct"], value["total"])
    return value
