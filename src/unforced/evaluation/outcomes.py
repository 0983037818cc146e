"""Outcomes over seeds: success rate, steps to solve, and comparisons of two groups on the same seeds.

Learning outcomes are bimodal, so there are no means and standard deviations: a success rate with its
interval, median and range, and steps to solve with censoring. `scipy.stats` takes a second to
import, so it is imported where it is needed.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unforced.config import SOLVED
from unforced.errors import UserError, unknown
from unforced.evaluation.statistics import Estimate, proportion, wilson
from unforced.runs.finished import FinishedRun
from unforced.runs.groups import Group, spread
from unforced.runs.history import steps_to


@dataclass(frozen=True)
class Outcome:
    """The outcome of a seed: held-out accuracy by a measure, and the steps after which it was solved.

    steps: the last step trained if it was never solved (censored). failure: why the seed counts as failed,
    whatever its accuracy: such a seed is not solved, and would not have been later.
    """

    accuracy: float
    solved: bool
    steps: int
    solved_on_the_way: bool
    failure: str = ""

    @classmethod
    def of(cls, run: FinishedRun, measure: str) -> "Outcome":
        """Read it from a finished run. Raises UserError if the run has no such measure."""
        measures = [
            key.removeprefix("test.") for key, value in run.result.items() if _is_held_out(key, value)
        ]
        if measure not in measures:
            raise UserError(f"{run.path}: {unknown('measure', measure, measures)}")
        accuracy, failure = run.result[f"test.{measure}"]["value"], run.failure
        steps = None if failure else steps_to(run.lines, f"validation.{measure}")["steps"]
        last = run.result["steps"] if steps is None else steps
        return cls(accuracy, accuracy >= SOLVED and not failure, last, steps is not None, failure)

    def until(self, horizon: int) -> int:
        """Return the steps after which the seed was solved, or up to which it is known not to be."""
        return horizon if self.failure else self.steps


def _is_held_out(key: str, value: Any) -> bool:
    return key.startswith("test.") and isinstance(value, dict) and "total" in value


def compare_groups(groups: Sequence[Group], measure: str | None = None) -> dict[str, Any]:
    """Summarise groups of runs by an outcome, as in `free.exact`, and compare those that share seeds.

    measure: None is `free.exact`, and `free.creative` of open-ended tasks.
    Raises UserError if a run has no such measure.
    """
    measures = {group.label: measure or group.runs[0].headline.removeprefix("test.") for group in groups}
    outcomes = {group.label: outcomes_of(group, measures[group.label]) for group in groups}
    horizon = max(outcome.steps for seeds in outcomes.values() for outcome in seeds.values())
    return {
        "groups": {
            group.label: {
                "chance": group.chance,
                "measure": measures[group.label],
                "open_ended": group.open_ended,
                **summarise(outcomes[group.label], horizon),
                "failures": group.failures,
                "kernels": group.mixed_kernels,
            }
            for group in groups
        },
        "pairs": [
            {"first": first, "second": second, **comparison}
            for first, second in itertools.combinations(outcomes, 2)
            if measures[first] == measures[second]
            and (comparison := compare(outcomes[first], outcomes[second])) is not None
        ],
    }


def outcomes_of(group: Group, measure: str) -> dict[int, Outcome]:
    """Return the outcome of each seed of a group."""
    return {run.seed: Outcome.of(run, measure) for run in group.runs}


def summarise(outcomes: Mapping[int, Outcome], horizon: int) -> dict[str, Any]:
    """Summarise the outcomes of a group by seed; see `steps_to_solve` for `horizon`."""
    values = [outcome.accuracy for outcome in outcomes.values()]
    return {
        "seeds": sorted(outcomes),
        "success": success([outcome.solved for outcome in outcomes.values()]),
        "accuracy": spread(values),
        "steps_to_solve": steps_to_solve(
            [outcome.until(horizon) for outcome in outcomes.values()],
            [outcome.solved_on_the_way for outcome in outcomes.values()],
            horizon,
        ),
    }


def success(solved: Sequence[bool]) -> Estimate:
    """Return the fraction of seeds that were solved, with its Wilson interval."""
    return proportion(sum(solved), len(solved))


def steps_to_solve(steps: Sequence[int], solved: Sequence[bool], horizon: int) -> dict[str, Any]:
    """Estimate how many steps solving takes; a run that was not solved is censored at its last step.

    Returns the Kaplan-Meier median (None if fewer than half are ever solved), and the restricted mean: the
    mean of steps to solve, where those beyond `horizon` count as the horizon. To compare groups, give the
    same horizon to all: the longest run.
    """
    from scipy import stats

    censored = [not is_solved for is_solved in solved]
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


def solved_by(steps: Sequence[int | float], solved: Sequence[bool]) -> dict[str, list[float]]:
    """Estimate the fraction of seeds that are solved by each number of steps (or samples), censored as above.

    Returns the Kaplan-Meier `share` at the `steps` where a run was solved or ended, from 0 steps on, and its
    95% interval `low` to `high`: Wilson's, for as many trials as would give the share Greenwood's variance
    (all seeds, where none is censored), or as many as were trained so far where none is solved yet.
    Source: Rothman, Journal of Chronic Diseases 31 (1978); Dorey and Korn, Statistics in Medicine 6 (1987).
    """
    unsolved, variance = 1.0, 0.0  # Greenwood's variance over the unsolved fraction, finite also at 0
    rows = [(0.0, 0.0, *wilson(0.0, float(len(steps))))]
    for step in sorted(set(steps)):
        at_risk = sum(last >= step for last in steps)
        ended = sum(last == step and done for last, done in zip(steps, solved, strict=True)) / at_risk
        variance = (1 - ended) * variance + unsolved * ended / at_risk
        unsolved *= 1 - ended
        trials = (1 - unsolved) / variance if variance else float(at_risk)
        rows.append((float(step), 1 - unsolved, *wilson(1 - unsolved, trials)))
    columns = zip(("steps", "share", "low", "high"), zip(*rows, strict=True), strict=True)
    return {name: [float(value) for value in column] for name, column in columns}


def compare(first: Mapping[int, Outcome], second: Mapping[int, Outcome]) -> dict[str, Any] | None:
    """Compare two groups on the seeds that both have; None if there are none.

    Returns how many seeds only one of them solved with McNemar's exact test (two-sided p-value; 1 if the two
    agree on every seed), and the median and range of the differences in held-out accuracy.
    """
    from scipy import stats

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
        "accuracy_difference": spread(differences),
    }
