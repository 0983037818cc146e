"""Outcomes over seeds: how often, how soon, and one kind of run against another on the same seeds.

Learning outcomes are bimodal, so no mean and standard deviation stands here: a success rate with its
interval, median and range, and steps to solve with censoring. `scipy.stats` does the mathematics.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from scipy import stats

from unforced.config import SOLVED
from unforced.errors import UserError, unknown
from unforced.evaluation.learning import steps_to
from unforced.evaluation.statistics import CONFIDENCE, Estimate, proportion
from unforced.runs.index import Finished


@dataclass(frozen=True)
class Outcome:
    """How one seed ended: held-out accuracy by some measure, and the steps after which it was solved.

    `steps` is the last step trained where it never was (censored).
    """

    accuracy: float
    solved: bool
    steps: int
    solved_on_the_way: bool

    @classmethod
    def of(cls, finished: Finished, measure: str) -> "Outcome":
        """Take it from a finished run's files. Raises UserError if the run has no such measure."""
        known = [
            key.removeprefix("test.") for key, value in finished.result.items() if _is_held_out(key, value)
        ]
        if measure not in known:
            raise UserError(f"{finished.path}: {unknown('measure', measure, known)}")
        accuracy = finished.result[f"test.{measure}"]["value"]
        steps = steps_to(finished.lines, f"validation.{measure}")["steps"]
        last = finished.result["steps"] if steps is None else steps
        return cls(accuracy, accuracy >= SOLVED, last, steps is not None)


def _is_held_out(key: str, value: Any) -> bool:
    return key.startswith("test.") and isinstance(value, dict) and "total" in value


def summarise(outcomes: Mapping[int, Outcome], horizon: int) -> dict[str, Any]:
    """Summarise runs that differ in nothing but their seed, given by seed; see `steps_to_solve`."""
    values = [each.accuracy for each in outcomes.values()]
    return {
        "seeds": sorted(outcomes),
        "success": success([each.solved for each in outcomes.values()]),
        "accuracy": {"median": median(values), "low": min(values), "high": max(values)},
        "steps_to_solve": steps_to_solve(
            [each.steps for each in outcomes.values()],
            [each.solved_on_the_way for each in outcomes.values()],
            horizon,
        ),
    }


def success(solved: Sequence[bool]) -> Estimate:
    """Return the share of seeds that were solved, with its Wilson interval."""
    return proportion(sum(solved), len(solved))


def steps_to_solve(steps: Sequence[int], solved: Sequence[bool], horizon: int) -> dict[str, Any]:
    """Estimate how many steps solving takes; a run that was not solved is censored at its last step.

    Returns the Kaplan-Meier median (None if fewer than half are ever solved), and the restricted mean: the
    mean of steps to solve, where those beyond `horizon` count as the horizon. To compare groups, give the
    same horizon to all: the longest run.
    """
    censored = [not each for each in solved]
    data = stats.CensoredData.right_censored(steps, censored)
    survival = stats.ecdf(data).sf
    below = survival.quantiles[survival.probabilities <= 0.5]
    edges = np.concatenate([[0], survival.quantiles, [horizon]])
    heights = np.concatenate([[1.0], survival.probabilities])
    return {
        "median": int(below[0]) if len(below) else None,
        "restricted_mean": float((heights * np.diff(edges)).sum()),
        "horizon": horizon,
        "solved": sum(solved),
        "censored": sum(censored),
    }


def solved_by(steps: Sequence[int], solved: Sequence[bool]) -> dict[str, list[float]]:
    """Estimate the share of seeds that are solved by each number of steps, censored as above.

    Returns the Kaplan-Meier `share` at the `steps` where a run was solved or ended, from 0 steps on, and its
    95% interval `low` to `high`: Wilson's, for as many trials as would give the share Greenwood's variance
    (all seeds, where none is censored), or as many as were trained so far where none is solved yet.
    Source: Rothman, Journal of Chronic Diseases 31 (1978); Dorey and Korn, Statistics in Medicine 6 (1987).
    """
    unsolved, spread = 1.0, 0.0  # spread: Greenwood's variance over what is unsolved, finite also at 0
    rows = [(0, 0.0, *_wilson(0.0, float(len(steps))))]
    for step in sorted(set(steps)):
        at_risk = sum(each >= step for each in steps)
        ended = sum(each == step and done for each, done in zip(steps, solved, strict=True)) / at_risk
        spread = (1 - ended) * spread + unsolved * ended / at_risk
        unsolved *= 1 - ended
        trials = (1 - unsolved) / spread if spread else float(at_risk)
        rows.append((step, 1 - unsolved, *_wilson(1 - unsolved, trials)))
    columns = zip(("steps", "share", "low", "high"), zip(*rows, strict=True), strict=True)
    return {name: [float(each) for each in column] for name, column in columns}


def _wilson(value: float, trials: float) -> tuple[float, float]:
    """Return Wilson's interval where the trials, an effective number of them, need not be whole."""
    z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    centre = value + z * z / (2 * trials)
    half = z * math.sqrt(value * (1 - value) / trials + z * z / (4 * trials * trials))
    low, high = ((centre + side * half) / (1 + z * z / trials) for side in (-1, 1))
    return max(0.0, min(low, value)), min(1.0, max(high, value))


def compare(first: Mapping[int, Outcome], second: Mapping[int, Outcome]) -> dict[str, Any] | None:
    """Compare two kinds of run on the seeds that both have; None if there are none.

    Returns how many seeds only one of them solved with McNemar's exact test (two-sided p-value; 1 where the
    two agree on every seed), and the median and range of the differences in held-out accuracy.
    """
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return None
    only_first = sum(first[seed].solved and not second[seed].solved for seed in seeds)
    only_second = sum(second[seed].solved and not first[seed].solved for seed in seeds)
    differing = only_first + only_second
    differences = [first[seed].accuracy - second[seed].accuracy for seed in seeds]
    return {
        "seeds": seeds,
        "only_first_solved": only_first,
        "only_second_solved": only_second,
        "p_value": float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0,
        "accuracy_difference": {
            "median": median(differences),
            "low": min(differences),
            "high": max(differences),
        },
    }
