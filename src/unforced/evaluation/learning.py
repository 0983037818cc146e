"""What a run learned when, from its metrics.jsonl: when it fitted, in which order, and late grokking."""

from collections.abc import Mapping, Sequence
from typing import Any

from unforced.config import SOLVED
from unforced.evaluation.statistics import proportion

Line = Mapping[str, Any]
MARGIN = 0.05
"""How far above chance the interval of an evaluation must lie to have left chance."""
_IN_A_ROW = 2


def steps_to(lines: Sequence[Line], measure: str) -> dict[str, Any]:
    """Return the step of the first of two evaluations in a row at which `measure` is at least 0.99.

    Returns `steps` (None where that never happens) and `censored_at`, the last step looked at in that case.
    """
    high = [line[measure]["correct"] >= SOLVED * line[measure]["total"] for line in lines]
    for i in range(len(lines) - _IN_A_ROW + 1):
        if all(high[i : i + _IN_A_ROW]):
            return {"steps": lines[i]["step"], "censored_at": None}
    return {"steps": None, "censored_at": lines[-1]["step"]}


def learned(lines: Sequence[Line], length: int, mode: str) -> dict[str, Any]:
    """Say when each answer position was fitted (train) and solved (validation), and in which order.

    mode: `forced` or `free`, whichever gives a position the inputs of training. `order` lists positions by
    the step at which they were solved; those solved at one evaluation stand together, those never solved are
    left out.
    """
    tokens = [f"token_{i}" for i in range(length)]
    fitted = {token: steps_to(lines, f"train.{mode}.{token}") for token in tokens}
    solved = {token: steps_to(lines, f"validation.{mode}.{token}") for token in tokens}
    steps = sorted({each["steps"] for each in solved.values() if each["steps"] is not None})
    order = [[token for token in tokens if solved[token]["steps"] == step] for step in steps]
    return {
        "fitted": fitted | {"exact": steps_to(lines, "train.free.exact")},
        "solved": solved | {"exact": steps_to(lines, "validation.free.exact")},
        "order": order,
        "evaluated_every": lines[1]["step"] - lines[0]["step"] if len(lines) > 1 else None,
    }


def grokking(lines: Sequence[Line], chances: Mapping[int, float], mode: str) -> dict[str, Any]:
    """Say whether a decisive token left chance on held-out problems after the training set was fitted.

    Looks at each evaluation after the fit; to leave chance, the Wilson interval of one must lie more than
    MARGIN above it, at 95% shared out over the evaluations (Bonferroni). `multiple` is how far the run went
    on, in steps that the fit took.
    """
    fit = steps_to(lines, "train.free.exact")["steps"]
    if not fit:
        return {"does_not_apply": "the training set was never fitted"}
    after = [line for line in lines if line["step"] > fit]
    if not after:
        return {"does_not_apply": "training ended as soon as the training set was fitted; set overtrain"}
    confidence = 1 - 0.05 / len(after)
    tokens = {}
    for position, chance in chances.items():
        counts = [line[f"validation.{mode}.token_{position}"] for line in after]
        found = [proportion(each["correct"], each["total"], confidence) for each in counts]
        left = [
            line["step"] for line, each in zip(after, found, strict=True) if each["low"] > chance + MARGIN
        ]
        tokens[f"token_{position}"] = {
            "chance": chance,
            "highest": max(each["value"] for each in found),
            "last": found[-1]["value"],
            "left_chance_at": left[0] if left else None,
        }
    return {
        "fitted_at": fit,
        "trained_to": after[-1]["step"],
        "multiple": after[-1]["step"] / fit,
        "evaluations": len(after),
        "decisions": tokens,
    }
