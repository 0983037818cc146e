"""Intervals for counted outcomes, without SciPy, whose import would double the start of every training."""

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from unforced.errors import UserError

CONFIDENCE = 0.95

Estimate = dict[str, Any]


def proportion(
    correct: int, total: int, confidence: float = CONFIDENCE, trials: int | None = None
) -> Estimate:
    """Return value, correct, total, and the Wilson interval `low` to `high` of a proportion.

    trials: how many of the `total` are independent (all, if None). Several outcomes of one problem count as
    one trial, which makes the interval wide enough however they depend on one another.
    """
    trials = total if trials is None else min(trials, total)
    low, high = wilson(round(correct / total * trials) / trials, trials, confidence)
    value = correct / total
    return {
        "value": value,
        "correct": correct,
        "total": total,
        "low": min(low, value),
        "high": max(high, value),
    }


def wilson(value: float, trials: float | int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion; an effective number of trials need not be whole.

    Source: Wilson, Journal of the American Statistical Association 22 (1927), 209-212.
    """
    z = normal_quantile(confidence)
    centre = value + z * z / (2 * trials)
    half = z * math.sqrt(value * (1 - value) / trials + z * z / (4 * trials * trials))
    low, high = ((centre + side * half) / (1 + z * z / trials) for side in (-1, 1))
    return max(0.0, min(low, value)), min(1.0, max(high, value))


def check_confidence(confidence: float) -> None:
    """Raise UserError for a confidence that no interval has."""
    if not 0.5 < confidence < 1:
        raise UserError(f"{confidence:g} is not above 0.5 and below 1; 0.95 is usual", about="confidence")


def normal_quantile(confidence: float) -> float:
    """Return how many standard deviations a two-sided interval of this confidence reaches."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def percent(estimate: Mapping[str, Any], unit: str = "%") -> str:
    """Write an estimate with its interval: `49.8% [48.4, 51.2]`."""
    value, low, high = (100 * estimate[key] for key in ("value", "low", "high"))
    return f"{value:.1f}{unit} [{low:.1f}, {high:.1f}]"


def percent_alone(estimate: Mapping[str, Any]) -> str:
    """Write an estimate without its interval: `49.8%`."""
    return f"{100 * estimate['value']:.1f}%"


def share(
    marks: Bool[np.ndarray, "count ..."], among: Bool[np.ndarray, "count ..."], confidence: float
) -> Estimate | None:
    """Return the proportion of `marks` among the entries `among`; None if there are none.

    The first axis is the problem: the entries of one problem count as one trial.
    """
    total = int(among.sum())
    if not total:
        return None
    problems = int(among.reshape(len(among), -1).any(axis=1).sum())
    return proportion(int((marks & among).sum()), total, confidence, problems)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Return the difference of two independent proportions, with Newcombe's interval from theirs.

    Source: Newcombe, Statistics in Medicine 17 (1998), method 10.
    """
    value = first["value"] - second["value"]
    below = math.hypot(first["value"] - first["low"], second["high"] - second["value"])
    above = math.hypot(first["high"] - first["value"], second["value"] - second["low"])
    return {"value": value, "low": value - below, "high": value + above}


def mean_of(values: Float[np.ndarray, " count"], confidence: float) -> Estimate:
    """Return a mean of numbers from -1 to 1, with an interval by the normal approximation."""
    mean, error = float(values.mean()), math.inf
    if len(values) > 1:
        error = float(values.std(ddof=1)) / math.sqrt(len(values))
    half = normal_quantile(confidence) * error
    return {"value": mean, "low": max(-1.0, mean - half), "high": min(1.0, mean + half)}


def product_of_accuracies(right: Bool[np.ndarray, "count length"], confidence: float) -> Estimate:
    """Return the product of the accuracies of each position, with a delta-method interval on its logarithm.

    The interval takes into account that positions of one problem are right or wrong together.
    """
    accuracy = right.mean(axis=0)
    value = float(accuracy.prod())
    if value == 0:
        return {"value": 0.0, "low": 0.0, "high": 0.0}
    influence = (right / accuracy).sum(axis=1)
    error = float(influence.std(ddof=1)) / math.sqrt(len(right)) if len(right) > 1 else math.inf
    width = normal_quantile(confidence) * error
    return {"value": value, "low": value * math.exp(-width), "high": min(1.0, value * math.exp(width))}


def problems_needed(confidence: float, half_width: float) -> int:
    """Return how many problems bound the half width of any proportion's interval."""
    return math.ceil((normal_quantile(confidence) / (2 * half_width)) ** 2)


def odds_ratio(observed: float, expected: float) -> float | None:
    """Return the odds of one share over those of another; None where they are not finite."""
    if observed >= 1 or not 0 < expected < 1:
        return None
    return observed / (1 - observed) * (1 - expected) / expected
