"""Intervals for counted outcomes."""

from typing import Any

from scipy.stats import binomtest

CONFIDENCE = 0.95


def proportion(correct: int, total: int) -> dict[str, Any]:
    """Return value, correct, total, and the Wilson interval `low` to `high` (95%) of a proportion."""
    interval = binomtest(correct, total).proportion_ci(CONFIDENCE, method="wilson")
    return {
        "value": correct / total,
        "correct": correct,
        "total": total,
        "low": float(interval.low),
        "high": float(interval.high),
    }
