"""What a study expects, by table."""

import pytest
from pydantic import ValidationError

from tests.runs import tiny_run
from unforced.expectations import Expectation, judge


def expectation(relation="at_most", value=0.5, tolerance=0.02, **rest):
    fields = {"group": "next_token", "select": {"order": "forward"}, "measure": "test.free.exact"}
    fields |= {"relation": relation, "value": value, "tolerance": tolerance, "source": "a paper, Table 1"}
    return Expectation(**(fields | rest))


@pytest.mark.parametrize(
    ("relation", "values", "verdict", "holds"),
    [
        ("at_most", [0.4, 0.5, 0.52, 0.9, 0.9], "mixed", 3),
        ("at_most", [0.4, 0.5, 0.53, 0.9, 0.9], "mixed", 2),
        ("at_most", [0.4, 0.5, 0.5, 0.52, 0.9], "met", 4),
        ("at_most", [0.4, 0.6, 0.6, 0.6, 0.9], "missed", 1),
        ("at_least", [0.1, 0.1, 0.48, 0.5, 0.9], "mixed", 3),
        ("at_least", [0.1, 0.1, 0.47, 0.47, 0.9], "missed", 1),
        ("about", [0.48, 0.48, 0.48, 0.52, 0.52], "met", 5),
        ("about", [0.1, 0.5, 0.53, 0.6, 0.7], "missed", 1),
        ("about", [0.4, 0.4, 0.4, 0.4, 0.47, 0.5], "missed", 1),
        ("at_most", [0.1, 0.2, 0.3, 0.4], "not enough seeds", 4),
        ("at_most", [0.9], "not enough seeds", 0),
    ],
)
def test_the_median_decides_and_the_seeds_are_counted(relation, values, verdict, holds):
    found = judge(expectation(relation), values)
    assert (found.verdict, found.holds, found.total) == (verdict, holds, len(values))
    assert (found.low, found.high) == (min(values), max(values))
    assert found.low <= found.median <= found.high


def test_without_runs_there_is_no_median():
    found = judge(expectation(), [])
    assert (found.verdict, found.median, found.holds, found.total) == ("not enough seeds", None, 0, 0)


@pytest.mark.parametrize(
    ("select", "selected"),
    [
        ({}, True),
        ({"task.degree": 2, "objective.name": "next_token"}, True),
        ({"betas": [0.9, 0.999]}, True),
        ({"num_train": None}, False),
        ({"task.degree": 3}, False),
        ({"task.depth": None}, False),
    ],
)
def test_a_run_is_selected_by_every_key(select, selected):
    assert expectation(select=select).selects(tiny_run().tree()) is selected


@pytest.mark.parametrize("wrong", [{"relation": "below"}, {"tolerance": -0.1}, {"note": "?"}])
def test_what_makes_no_expectation_is_refused(wrong):
    with pytest.raises(ValidationError):
        expectation(**wrong)
