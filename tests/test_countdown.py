"""Countdown: what the verifier accepts, checked by hand and by evaluating the equations in Python."""

import numpy as np
import pytest

from unforced.tasks.countdown import Countdown, CountdownProblems

TASK = Countdown()


def by_hand(numbers, target):
    return CountdownProblems(
        np.array([numbers + [-1] * (4 - len(numbers))]), np.array([target]), np.full((1, 17), -1)
    )


def verdict(problem, text):
    return TASK.score(problem, TASK.text.read_answers([text]))


def test_references_are_right_by_pythons_arithmetic():
    problems = TASK.sample(np.random.default_rng(0), 500)
    for row, (prompt, answer) in enumerate(TASK.texts(problems)):
        numbers, target = prompt.removesuffix(" :").split(" > ")
        pool = list(map(int, numbers.split()))
        assert sorted(pool) == sorted(n for n in problems.numbers[row].tolist() if n > 0)
        for equation in answer.split(" , "):
            left, result = equation.split(" = ")
            a, _, b = left.split()
            pool.remove(int(a))
            pool.remove(int(b))
            assert eval(left) == int(result)
            pool.append(int(result))
        assert pool == [int(target)]


@pytest.mark.parametrize(
    ("text", "kind", "equations"),
    [
        ("8 + 6 = 14 , 14 - 9 = 5", "correct", [1, 1]),
        ("6 + 8 = 14 , 14 - 9 = 5", "correct", [1, 1]),
        ("9 - 8 = 1 , 6 - 1 = 5", "correct", [1, 1]),
        ("8 + 6 = 14 , 9 + 14 = 23", "wrong_target", [1, 1]),
        ("8 + 6 = 14 , 14 - 8 = 6", "wrong_numbers", [1, 0]),
        ("7 + 6 = 13 , 9 - 4 = 5", "wrong_numbers", [0, 0]),
        ("8 + 8 = 16 , 14 - 9 = 5", "wrong_numbers", [0, 0]),
        ("8 + 6 = 15 , 15 - 9 = 6", "wrong_arithmetic", [0, 1]),
        ("8 + 6 = 14 , 9 - 14 = 5", "wrong_arithmetic", [1, 0]),
        ("9 / 6 = 1 , 8 * 1 = 8", "wrong_arithmetic", [0, 1]),
        ("8 + 6 = 14", "malformed", [1, 0]),
        ("8 + 6 = 14 , 14 - 9 = 5 , 5 + 0 = 5", "malformed", [1, 1]),
        ("8 + 6 = 14 14 - 9 = 5", "malformed", [1, 0]),
        ("8 + 6 = 14 , 14 - 9 =", "malformed", [1, 0]),
        ("8 + 6 = 14 , 14 - nine = 5", "malformed", [1, 0]),
        ("", "malformed", [0, 0]),
    ],
)
def test_the_kind_of_a_hand_made_answer_and_its_equations(text, kind, equations):
    found = verdict(by_hand([8, 6, 9], 5), text)
    assert {name for name, number in found.counts().items() if number} == {kind}
    assert [found.parts[f"equation_{i}"].tolist() for i in (1, 2, 3)] == [
        [equations[0]],
        [equations[1]],
        [-1],
    ]
    assert found.slices["numbers"].tolist() == [3]


def test_division_by_zero_does_not_hold():
    assert verdict(by_hand([8, 8, 3], 0), "8 - 8 = 0 , 3 / 0 = 0").counts()["wrong_arithmetic"] == 1


def test_a_family_has_the_same_numbers_in_any_order():
    tasks = [by_hand([8, 6, 9], 5), by_hand([9, 8, 6], 5), by_hand([9, 8, 6], 11), by_hand([9, 8, 7], 5)]
    keys, families = ([of(each)[0] for each in tasks] for of in (TASK.keys, TASK.families))
    assert keys[0] == keys[1] != keys[2]
    assert families[0] == families[1] == families[2] != families[3]


@pytest.mark.parametrize(
    ("fields", "words"), [({"fewest": 5}, "fewest: .* not 5"), ({"largest": 101}, "largest: .* not 101")]
)
def test_bounds_that_do_not_fit_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        Countdown(**fields)
