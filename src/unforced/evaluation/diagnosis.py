"""A whole diagnosis: every diagnostic on one subject, what it learned when, and the verdict."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unforced.errors import UserError
from unforced.evaluation.diagnostics import (
    clever_hans,
    error_kinds,
    indecipherable_token,
    probability,
    snowball,
)
from unforced.evaluation.learning import grokking, learned
from unforced.evaluation.probe import Probe, probe
from unforced.evaluation.statistics import CONFIDENCE, Estimate, problems_needed, proportion
from unforced.evaluation.subject import Subject
from unforced.evaluation.verdict import MARGIN, Evidence, judge
from unforced.tasks.base import Problems


def diagnose(
    subject: Subject, train: Problems, held_out: Problems, confidence: float = CONFIDENCE
) -> dict[str, Any]:
    """Diagnose a subject from problems that it was trained on and problems that it was not.

    Returns JSON values: `verdict` and a section per diagnostic; docs/metrics.md defines each number.
    Raises UserError if there are too few held-out problems for the confidence.
    """
    check_enough(len(held_out), confidence)
    known, fresh = probe(subject, train, counterfactuals=False), probe(subject, held_out)
    sections = {
        "exact": {"train": _exact(known, confidence), "test": _exact(fresh, confidence)},
        "clever_hans": clever_hans(fresh, confidence),
        "indecipherable_token": indecipherable_token(known, fresh, confidence),
        "snowball": snowball(fresh, confidence),
        "error_kinds": error_kinds(fresh),
        "probability": probability(fresh),
    }
    evidence = Evidence(
        "whole answers" if subject.objective.train_positions is None else "the positions trained",
        sections["exact"]["test"],
        sections["exact"]["train"],
        sections["clever_hans"],
        sections["indecipherable_token"],
        sections["snowball"],
    )
    problems = {"train": len(known), "test": len(fresh)}
    return {"verdict": judge(evidence).as_dict(), "confidence": confidence, "problems": problems, **sections}


def check_enough(count: int, confidence: float) -> None:
    """Raise UserError unless `count` problems can carry a verdict at this confidence."""
    needed = problems_needed(confidence, MARGIN / 2)
    if count < needed:
        raise UserError(
            f"{count} held-out problems are too few for a verdict at confidence {confidence:g}, which takes "
            f"{needed} (intervals of +-{100 * MARGIN / 2:g} points); accuracies can still be measured with "
            "`unforced evaluate`"
        )


def history(subject: Subject, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Say what a run learned when, from the lines of its metrics.jsonl."""
    task = subject.task
    mode = "forced" if subject.reads_answers else "free"
    chances = {position: task.position_chances[position] for position in task.decisive_positions}
    return {"learned": learned(lines, task.answer_length, mode), "grokking": grokking(lines, chances, mode)}


def _exact(asked: Probe, confidence: float) -> Estimate:
    """Count whole free answers; where the loss counts some positions alone, predictions right at those."""
    positions = asked.subject.objective.train_positions
    if positions is None:
        exact = asked.subject.task.score(asked.problems, asked.answered.free).exact
    else:
        exact = np.all(asked.right[:, list(positions)], axis=1)
    return proportion(int(exact.sum()), len(exact), confidence)
