"""What was learned when, from lines of metrics written by hand."""

import pytest

from tests.runs import tiny_run
from unforced.evaluation.learning import grokking, learned
from unforced.runs import history as run_history
from unforced.runs.history import steps_to
from unforced.training.stopping import StoppingRule


def lines(curves, total=1000, every=100):
    """Lines of metrics from curves of accuracies, by measure."""
    count = len(next(iter(curves.values())))
    return [
        {"step": i * every}
        | {name: {"correct": round(total * curve[i]), "total": total} for name, curve in curves.items()}
        for i in range(count)
    ]


def curve(steps, length=10):
    """An accuracy that jumps from 0.5 to 1 at an evaluation."""
    return [0.5 if i < steps else 1.0 for i in range(length)]


def run_lines(solved, fitted):
    """A run of three positions that are solved and fitted at these evaluations."""
    curves = {}
    for split, jumps in (("validation", solved), ("train", fitted)):
        curves |= {f"{split}.forced.token_{i}": curve(at) for i, at in enumerate(jumps)}
        curves[f"{split}.free.exact"] = curve(max(jumps))
    return lines(curves)


@pytest.mark.parametrize(
    ("values", "steps", "censored"),
    [
        ([0.5, 0.99, 0.99, 0.5], 100, None),
        ([0.5, 1.0, 0.5, 1.0, 1.0], 300, None),  # once may be luck
        ([0.5, 0.989, 0.989], None, 200),
        ([0.5, 0.5, 1.0], None, 200),
        ([1.0], None, 0),
    ],
)
def test_steps_to_is_the_first_of_two_evaluations_in_a_row(values, steps, censored):
    assert steps_to(lines({"m": values}), "m") == {"steps": steps, "censored_at": censored}


@pytest.mark.parametrize("in_a_row", [1, 2, 3])
def test_a_run_ends_at_the_evaluation_that_makes_it_count_as_solved(monkeypatch, in_a_row):
    monkeypatch.setattr(run_history, "IN_A_ROW", in_a_row)
    history = lines({"validation.free.exact": [0.5, 1.0, 0.5, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0]})
    finish = StoppingRule(tiny_run("stop_when=solved", "max_steps=5000"))
    for line in history:
        finish.update(line)
    solved = steps_to(history, "validation.free.exact")["steps"]
    assert solved == {1: 100, 2: 300, 3: 600}[in_a_row]
    assert finish.step == solved + 100 * (in_a_row - 1)


def test_positions_stand_in_the_order_in_which_they_were_solved():
    found = learned(run_lines(solved=(1, 7, 3), fitted=(1, 5, 3)), 3, "forced")
    assert found["order"] == [["token_0"], ["token_2"], ["token_1"]]
    assert found["solved"]["token_1"] == {"steps": 700, "censored_at": None}
    assert found["fitted"]["exact"] == {"steps": 500, "censored_at": None}
    assert found["evaluated_every"] == 100


def test_positions_solved_together_stand_together_and_those_never_solved_are_left_out():
    found = learned(run_lines(solved=(1, 10, 1), fitted=(1, 10, 1)), 3, "forced")
    assert found["order"] == [["token_0", "token_2"]]
    assert found["solved"]["token_1"] == {"steps": None, "censored_at": 900}


def test_grokking_is_looked_for_after_the_fit_alone():
    never = grokking(run_lines(solved=(1, 10, 1), fitted=(1, 3, 1)), {1: 0.5}, "forced")
    assert (never["fitted_at"], never["trained_to"], never["multiple"], never["evaluations"]) == (
        300,
        900,
        3,
        7,
    )
    assert never["decisions"]["token_1"]["above_chance_from"] is None
    late = grokking(run_lines(solved=(1, 8, 1), fitted=(1, 3, 1)), {1: 0.5}, "forced")
    assert late["decisions"]["token_1"] == {
        "chance": 0.5,
        "at_the_fit": 0.5,
        "highest": 1.0,
        "last": 1.0,
        "above_chance_from": 800,
    }


def test_a_lucky_evaluation_is_no_grokking():
    curves = {"train.free.exact": curve(1, 40), "validation.forced.token_1": [0.57] * 40}
    assert grokking(lines(curves), {1: 0.5}, "forced")["decisions"]["token_1"]["above_chance_from"] is None
    curves["validation.forced.token_1"] = [0.5] * 20 + [0.65] + [0.5] * 19
    found = grokking(lines(curves), {1: 0.5}, "forced")["decisions"]["token_1"]
    assert found["above_chance_from"] == 2000


@pytest.mark.parametrize(
    ("fitted", "reason"),
    [
        ((1, 10, 1), "never fitted"),
        ((1, 9, 1), "never fitted"),
        ((0, 0, 0), "never fitted"),
        ((1, 8, 1), None),
    ],
)
def test_grokking_says_why_it_does_not_apply(fitted, reason):
    found = grokking(run_lines(solved=(10, 10, 10), fitted=fitted), {1: 0.5}, "forced")
    assert found["evaluations"] == 2 if reason is None else reason in found["does_not_apply"]


def test_a_run_that_trains_some_positions_is_fitted_by_those():
    curves = {
        "train.free.exact": [0.0] * 10,
        "train.forced.token_1": curve(3),
        "validation.forced.token_1": curve(6),
    }
    found = grokking(lines(curves), {1: 0.5}, "forced", (1,))
    assert (found["fitted_at"], found["decisions"]["token_1"]["above_chance_from"]) == (300, 600)


def test_without_a_history_nothing_is_said():
    assert "no evaluations" in learned([], 3, "forced")["does_not_apply"]
    assert "never fitted" in grokking([], {1: 0.5}, "forced")["does_not_apply"]
