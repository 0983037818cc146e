"""Intervals and tests against scipy, other formulas, and simulations."""

import math

import numpy as np
import pytest
from scipy import stats

from unforced.evaluation.outcomes import Outcome, compare, solved_by, steps_to_solve, success, summarise
from unforced.evaluation.statistics import difference, product_of_accuracies, proportion, share


def wilson(correct, total, z=1.959964):
    """The interval written out (Wilson 1927)."""
    centre = (correct + z * z / 2) / (total + z * z)
    half = z / (total + z * z) * math.sqrt(correct * (total - correct) / total + z * z / 4)
    return centre - half, centre + half


@pytest.mark.parametrize(("correct", "total"), [(0, 10), (3, 10), (10, 10), (4987, 5000)])
def test_a_proportion_has_wilsons_interval(correct, total):
    found = proportion(correct, total)
    scipys = stats.binomtest(correct, total).proportion_ci(0.95, method="wilson")
    assert (found["low"], found["high"]) == pytest.approx((scipys.low, scipys.high))
    assert (found["value"], found["correct"], found["total"]) == (correct / total, correct, total)


def test_outcomes_of_one_problem_count_as_one_trial():
    marks = np.array([[True, True], [False, False], [True, True], [True, True]])
    found = share(marks, np.ones_like(marks), 0.95)
    assert (found["correct"], found["total"]) == (6, 8)
    assert (found["low"], found["high"]) == pytest.approx(wilson(3, 4), abs=1e-6)
    assert share(marks, np.zeros_like(marks), 0.95) is None


def test_an_interval_holds_its_value_however_the_trials_round():
    for correct in range(50):
        found = proportion(correct, 49, trials=7)
        assert found["low"] <= found["value"] <= found["high"]


def test_a_difference_has_newcombes_interval():
    """The worked example of Newcombe 1998, Table II (a): 56/70 against 48/80, method 10."""
    found = difference(proportion(56, 70), proportion(48, 80))
    assert found["value"] == pytest.approx(0.2)
    assert (found["low"], found["high"]) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_the_interval_of_a_product_covers_it_as_often_as_it_says():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        hard = rng.random((500, 1)) < 0.3  # in hard problems all positions fail more often, together
        right = rng.random((500, 4)) < np.where(hard, 0.6, 0.95)
        found = product_of_accuracies(right, 0.95)
        covered += found["low"] <= (0.3 * 0.6 + 0.7 * 0.95) ** 4 <= found["high"]
    assert 370 <= covered <= 393  # 380 expected; four standard errors are 17


def test_success_over_seeds_is_a_proportion():
    assert success([True, False, True]) == proportion(2, 3)


def test_the_share_solved_by_each_step_by_hand():
    """At risk 5, 4, 2: the run censored at 30 is no longer at risk at 40."""
    found = solved_by([10, 20, 30, 40, 50], [True, True, False, True, False])
    assert found["steps"] == [0, 10, 20, 30, 40, 50]
    assert found["share"] == pytest.approx([0, 0.2, 0.4, 0.4, 0.7, 0.7])
    for low, share_solved, high in zip(found["low"], found["share"], found["high"], strict=True):
        assert 0 <= low <= share_solved <= high <= 1
    assert found["high"][1] - found["low"][1] > 0.3


@pytest.mark.parametrize("solved", range(6))
def test_without_censoring_the_share_solved_has_wilsons_interval(solved):
    """Five seeds, all trained for 60 steps, the solved ones one after the other: Wilson at every step."""
    steps = [10 * (seed + 1) if seed < solved else 60 for seed in range(5)]
    found = solved_by(steps, [seed < solved for seed in range(5)])
    counts = [*range(solved + 1), *([solved] if solved < 5 else [])]
    assert found["share"] == pytest.approx([count / 5 for count in counts])
    for count, low, high in zip(counts, found["low"], found["high"], strict=True):
        assert (low, high) == pytest.approx(wilson(count, 5), abs=1e-6)


@pytest.mark.parametrize("solved", range(4))
def test_where_seeds_agree_on_when_the_share_has_wilsons_interval(solved):
    found = solved_by([30] * 3, [seed < solved for seed in range(3)])
    assert found["share"] == pytest.approx([0, solved / 3])
    assert (found["low"][1], found["high"][1]) == pytest.approx(wilson(solved, 3), abs=1e-6)


def test_a_censored_seed_widens_the_interval():
    """None solved: Wilson of those still trained. Then Greenwood's variance, against scipy's."""
    steps, solved = [10, 20, 30, 40, 50, 50], [False, True, False, True, True, True]
    found = solved_by(steps, solved)
    assert found["high"][1] == pytest.approx(wilson(0, 6)[1], abs=1e-6)
    survival = stats.ecdf(stats.CensoredData.right_censored(steps, [not each for each in solved])).sf
    assert found["share"][1:] == pytest.approx(list(1 - survival.probabilities))
    z = stats.norm.ppf(0.975)
    with pytest.warns(RuntimeWarning, match="undefined"):
        plain = survival.confidence_interval(method="linear")
    for place in (2, 4):
        share = found["share"][place]
        deviation = (1 - share - plain.low.probabilities[place - 1]) / z
        trials = share * (1 - share) / deviation**2
        expected = wilson(share * trials, trials)
        assert (found["low"][place], found["high"][place]) == pytest.approx(expected, abs=1e-6)
    assert found["share"][-1] == 1
    assert found["low"][-1] < wilson(5, 5)[0]


def test_steps_to_solve_by_hand():
    """Kaplan-Meier: 5 runs, solved at 10, 20 and 40; censored at 30 and 50."""
    found = steps_to_solve([10, 20, 30, 40, 50], [True, True, False, True, False], horizon=50)
    heights = [(0, 1.0), (10, 0.8), (20, 0.6), (40, 0.3)]
    assert found["median"] == 40
    mean = sum(h * (end - at) for (at, h), end in zip(heights, [10, 20, 40, 50], strict=True))
    assert found["restricted_mean"] == pytest.approx(mean)
    assert (found["horizon"], found["solved"], found["censored"]) == (50, 3, 2)


def test_a_median_that_was_not_reached_is_none():
    found = steps_to_solve([10, 50, 50], [True, False, False], horizon=50)
    assert found["median"] is None
    assert found["restricted_mean"] == pytest.approx(10 + 2 / 3 * 40)


def test_runs_all_solved_at_once_take_just_that_long():
    for horizon in (30, 60):
        found = steps_to_solve([30, 30, 30], [True, True, True], horizon)
        assert (found["median"], found["restricted_mean"]) == (30, 30)


def outcome(accuracy, steps=100):
    return Outcome(accuracy, accuracy >= 0.99, steps, accuracy >= 0.99)


def test_a_group_is_summarised_without_a_mean_of_a_bimodal_outcome():
    found = summarise({0: outcome(1.0), 1: outcome(0.5), 2: outcome(0.995)}, horizon=100)
    assert found["accuracy"] == {"median": 0.995, "low": 0.5, "high": 1.0}
    assert found["success"]["correct"] == 2
    assert found["seeds"] == [0, 1, 2]


def test_two_kinds_of_run_are_compared_on_the_seeds_that_both_have():
    first = {seed: outcome(1.0) for seed in range(8)}
    second = {seed: outcome(1.0 if seed == 3 else 0.5) for seed in range(1, 9)}
    found = compare(first, second)
    assert found["seeds"] == list(range(1, 8))
    assert (found["only_first_solved"], found["only_second_solved"]) == (6, 0)
    assert found["p_value"] == pytest.approx(2 * 0.5**6)
    assert found["p_value"] == stats.binomtest(6, 6).pvalue
    assert found["accuracy_difference"] == {"median": 0.5, "low": 0.0, "high": 0.5}
    assert compare(first, {9: outcome(1.0)}) is None
    assert compare(first, first)["p_value"] == 1
