"""Forced and free accuracy, exact and per token, as counts."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from unforced.config import Run
from unforced.evaluation.statistics import proportion
from unforced.evaluation.subject import Subject, answers
from unforced.tasks.base import Problems, Symbols, Task, Verdicts
from unforced.tasks.sampling import Split
from unforced.training.learner import Learner
from unforced.training.source import split_problems

Counts = dict[str, dict[str, int]]


def measure(run: Run, learner: Learner, split: Split, count: int) -> Counts:
    """Measure a learner on the first `count` problems of a split; see `measure_problems`."""
    return measure_problems(Subject.of(run, learner), split_problems(run, split, count))


def measure_problems(subject: Subject, problems: Problems) -> Counts:
    """Count what a subject gets right, answering freely and given the true answer so far.

    Returns `free.exact`, `free.token_i`, `forced.exact`, `forced.token_i` as {correct, total} and
    `free.errors` as {kind: count}; and `one_pass.exact`, `one_pass.token_i` where neither mode gives the
    inputs of training. token_i is answer position i in forward order, whatever the order of generation.
    """
    task = subject.task
    free = answers(subject, problems, subject.free)
    forced = answers(subject, problems, subject.forced)
    right = count_right("forced", forced == task.answers(problems))
    if subject.trained_mode == "one_pass":
        trained = answers(subject, problems, lambda batch: subject.trained(batch)[0])
        right |= count_right("one_pass", trained == task.answers(problems))
    return count_free(task, problems, free, task.score(problems, free)) | right


def count_free(task: Task, problems: Problems, free: Symbols, verdicts: Verdicts) -> Counts:
    """Count what is right in free answers, and their kinds by the task's verifier."""
    counts = count_right("free", free == task.answers(problems))
    counts["free.exact"]["correct"] = int(verdicts.exact.sum())
    return counts | {"free.errors": verdicts.counts()}


def count_right(mode: str, right: np.ndarray) -> Counts:
    """Count whole answers and single tokens in an array [problem, position] of what is right."""
    total = len(right)
    counts = {f"{mode}.exact": {"correct": int(right.all(axis=1).sum()), "total": total}}
    for i, column in enumerate(right.T):
        counts[f"{mode}.token_{i}"] = {"correct": int(column.sum()), "total": total}
    return counts


def prefixed(split: str, counts: Mapping[str, dict[str, int]]) -> Counts:
    """Name the split in each key: `test.free.exact`."""
    return {f"{split}.{key}": value for key, value in counts.items()}


def with_intervals(metrics: Counts) -> dict[str, Any]:
    """Turn counts of right answers into proportions with intervals; leave counts of errors alone."""
    return {
        key: proportion(value["correct"], value["total"]) if "total" in value else value
        for key, value in metrics.items()
    }
