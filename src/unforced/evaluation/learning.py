"""What a run learned when, from its metrics.jsonl: when it fitted, in which order, and late grokking."""

from collections.abc import Mapping, Sequence
from typing import Any

from unforced.decoding.modes import Mode, exact_measures
from unforced.evaluation.statistics import proportion
from unforced.evaluation.verdict import margin
from unforced.runs.history import Line, steps_to


def learned(
    lines: Sequence[Line], length: int, mode: Mode, positions: Sequence[int] | None = None
) -> dict[str, Any]:
    """Say when each answer position was fitted (train) and solved (validation), and in which order.

    Positions are measured on the inputs of training. `order` lists them by the step at which they were
    solved; those solved at one evaluation stand together, those never solved are left out.

    mode: gives the inputs of training. positions: those that the loss counts (None: all).
    """
    if not lines:
        return {"does_not_apply": "metrics.jsonl has no evaluations"}
    measured = {key for line in lines for key in line}
    tokens = [f"token_{i}" for i in range(length) if f"validation.{mode}.token_{i}" in measured]
    steps = {split: _steps(lines, split, tokens, mode, positions) for split in ("train", "validation")}
    solved = {token: steps["validation"][token]["steps"] for token in tokens}
    order = [
        [token for token in tokens if solved[token] == step] for step in sorted({*solved.values()} - {None})
    ]
    return {
        "fitted": steps["train"],
        "solved": steps["validation"],
        "order": order,
        "evaluated_every": lines[1]["step"] - lines[0]["step"] if len(lines) > 1 else 0,
    }


def _steps(
    lines: Sequence[Line], split: str, tokens: Sequence[str], mode: Mode, positions: Sequence[int] | None
) -> dict[str, dict[str, Any]]:
    steps = {token: steps_to(lines, f"{split}.{mode}.{token}") for token in tokens}
    return steps | {"exact": steps_to(lines, *_exact(split, mode, positions))}


def _exact(split: str, mode: Mode, positions: Sequence[int] | None) -> list[str]:
    return [f"{split}.{measure}" for measure in exact_measures(mode, positions)]


def grokking(
    lines: Sequence[Line],
    chances: Mapping[int, float],
    mode: Mode,
    positions: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Say whether a decisive token left chance on held-out problems after the training set was fitted.

    chances: for each decisive position, the accuracy without lookahead over all problems. Looks at each
    evaluation from the fit on; to be above chance, the Wilson interval of one must lie more than a margin
    above it, at 95% shared out over the evaluations (Bonferroni). `multiple` is how far the run went on, in
    steps that the fit took.
    """
    fit = steps_to(lines, *_exact("train", mode, positions))["steps"]
    if not fit:
        return {"does_not_apply": "the training set was never fitted"}
    since = [line for line in lines if line["step"] >= fit]
    tokens = {
        f"token_{position}": _above_chance(
            since, f"validation.{mode}.token_{position}", chance, 1 - 0.05 / len(since)
        )
        for position, chance in chances.items()
    }
    return {
        "fitted_at": fit,
        "trained_to": since[-1]["step"],
        "multiple": since[-1]["step"] / fit,
        "evaluations": len(since),
        "decisions": tokens,
    }


def _above_chance(lines: Sequence[Line], measure: str, chance: float, confidence: float) -> dict[str, Any]:
    lines = [line for line in lines if measure in line]
    if not lines:
        return {"does_not_apply": "no evaluated problem has this position"}
    found = [proportion(line[measure]["correct"], line[measure]["total"], confidence) for line in lines]
    bar = chance + margin(chance)
    above = [line["step"] for line, each in zip(lines, found, strict=True) if each["low"] > bar]
    return {
        "chance": chance,
        "at_the_fit": found[0]["value"],
        "highest": max(each["value"] for each in found),
        "last": found[-1]["value"],
        "above_chance_from": above[0] if above else None,
    }
