"""Addition: sums, carries, chances and verdicts, checked against integers and by enumeration."""

import itertools
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from unforced.errors import UserError
from unforced.tasks.addition import Addition, AdditionProblems
from unforced.tasks.sampling import SPLITS, block

QUICK = settings(deadline=None, max_examples=40)
SEEDS = st.integers(0, 2**63)
SMALL = [(2, 2), (2, 3), (2, 4), (3, 2), (3, 3), (4, 2), (10, 2)]  # base, digits
small = pytest.mark.parametrize(("base", "digits"), SMALL)


@st.composite
def tasks(draw):
    return Addition(base=draw(st.integers(2, 10)), num_digits=draw(st.integers(2, 9)))


def sample(task, seed, count=50):
    return task.sample(np.random.default_rng(seed), count)


def everything(task):
    """Every problem of a small task, once."""
    numbers = np.array(list(itertools.product(range(task.base), repeat=task.num_digits)), np.int8)
    a, b = np.indices((len(numbers), len(numbers))).reshape(2, -1)
    return AdditionProblems(numbers[a], numbers[b])


def numbers(digits, base):
    return [int("".join(map(str, row)), base) for row in digits.tolist()]


def by_hand():
    """472 + 328."""
    a, b = np.array([[4, 7, 2]], np.int8), np.array([[3, 2, 8]], np.int8)
    return Addition(num_digits=3), AdditionProblems(a, b)


@QUICK
@given(tasks(), SEEDS)
def test_answers_are_the_sums_of_the_numbers_in_the_prompt(task, seed):
    sums = sample(task, seed)
    prompts, n = task.prompts(sums), task.num_digits
    assert set(prompts[:, n].tolist()) == {task.base}
    assert set(prompts[:, -1].tolist()) == {task.base + 1}
    left, right = (numbers(part, task.base) for part in (prompts[:, :n], prompts[:, n + 1 : -1]))
    totals = numbers(task.answers(sums), task.base)
    assert totals == [a + b for a, b in zip(left, right, strict=True)]


def test_digits_are_uniform():
    drawn = sample(Addition(), 0, 20_000)
    for digits in (*drawn.a.T, *drawn.b.T):
        assert chisquare(np.bincount(digits, minlength=10)).pvalue > 1e-4


def seen(task, sums):
    """What may be known at each position without lookahead: the columns up to it, and the answer before it.

    Returns a tuple for each problem and position.
    """
    columns = list(zip(sums.a.tolist(), sums.b.tolist(), strict=True))
    answers = task.answers(sums).tolist()
    return [
        [(*a[:j], *b[:j], *answer[:j]) for j in range(task.answer_length)]
        for (a, b), answer in zip(columns, answers, strict=True)
    ]


@small
def test_decisive_and_given_away_are_what_enumeration_says(base, digits):
    task = Addition(base=base, num_digits=digits)
    sums = everything(task)
    answers, views = task.answers(sums), seen(task, sums)
    decisive, given_away = task.lookahead.decisive(sums), task.lookahead.given_away(sums)
    for j in range(task.answer_length):
        possible, alone, options = (
            defaultdict(set),
            defaultdict(set),
            task.lookahead.choices(sums, j).tolist(),
        )
        for view, answer in zip(views, answers.tolist(), strict=True):
            possible[view[j]].add(answer[j])
            alone[view[j][: 2 * j]].add(answer[j])  # from the columns, without the answer before
        for i, view in enumerate(views):
            assert decisive[i, j] == (len(possible[view[j]]) > 1)
            assert given_away[i, j] == (not decisive[i, j] and len(alone[view[j][: 2 * j]]) > 1)
            if decisive[i, j]:
                assert possible[view[j]] == set(options[i])


@small
@pytest.mark.parametrize("given_answer", [True, False])
def test_position_chances_are_those_of_the_best_guess(base, digits, given_answer):
    task = Addition(base=base, num_digits=digits)
    sums = everything(task)
    answers, views, decisive = task.answers(sums), seen(task, sums), task.lookahead.decisive(sums)
    for j in range(digits):
        counts = defaultdict(Counter)
        for i in np.flatnonzero(decisive[:, j]):
            known = views[i][j] if given_answer else views[i][j][: 2 * j]
            counts[known][answers[i, j]] += 1
        best = sum(max(count.values()) for count in counts.values())
        assert task.lookahead.position_chances(given_answer)[j] == pytest.approx(best / decisive[:, j].sum())
    assert task.lookahead.position_chances(given_answer)[digits] == 1


def most_right(task, sums):
    """How many problems the best policy without lookahead answers wholly right, by trying all policies.

    At each position it knows the columns down to there and its own answer before, and commits to a digit.
    """
    a, b, answers = sums.a.tolist(), sums.b.tolist(), task.answers(sums).tolist()

    def most(group, j):
        if j == task.answer_length:
            return len(group)
        views = defaultdict(lambda: defaultdict(list))
        for i in group:
            column = (a[i][j - 1], b[i][j - 1]) if j else ()
            views[column][answers[i][j]].append(i)
        return sum(max(most(rest, j + 1) for rest in by_digit.values()) for by_digit in views.values())

    return most(range(len(sums)), 0)


@small
def test_chance_is_that_of_the_best_policy_without_lookahead(base, digits):
    task = Addition(base=base, num_digits=digits)
    sums = everything(task)
    assert task.chance == pytest.approx(most_right(task, sums) / len(sums))


@QUICK
@given(tasks(), SEEDS)
def test_another_last_digit_flips_the_lowest_carry_wherever_it_can(task, seed):
    sums = sample(task, seed)
    (other,) = task.lookahead.counterfactual_prompts(sums)
    assert np.array_equal(other.a, sums.a)
    assert np.array_equal(other.b[:, :-1], sums.b[:, :-1])
    carried, carries = ((each.a + each.b)[:, -1] >= task.base for each in (sums, other))
    assert np.array_equal(carried != carries, sums.a[:, -1] != 0)
    assert np.array_equal(other.b[sums.a[:, -1] == 0], sums.b[sums.a[:, -1] == 0])
    assert other.b.min() >= 0
    assert other.b.max() < task.base


@small
def test_another_question_changes_the_answer_first_where_it_is_decisive(base, digits):
    task = Addition(base=base, num_digits=digits)
    sums = everything(task)
    (other,) = task.lookahead.counterfactual_prompts(sums)
    differs = task.answers(sums) != task.answers(other)
    changed = differs.any(axis=1)
    assert changed.mean() == pytest.approx(1 - 1 / base)
    first = differs.argmax(axis=1)
    assert task.lookahead.decisive(sums)[changed, first[changed]].all()
    assert set(first[changed].tolist()) == set(range(digits))
    assert np.array_equal(task.families(other), task.families(sums))


@small
def test_keys_and_families_are_those_of_unordered_pairs(base, digits):
    task = Addition(base=base, num_digits=digits)
    sums = everything(task)
    pairs = [frozenset(pair) for pair in zip(numbers(sums.a, base), numbers(sums.b, base), strict=True)]
    heads = [frozenset(number // base for number in pair) for pair in pairs]
    for asked, hashes in ((pairs, task.keys(sums)), (heads, task.families(sums))):
        assert (
            len(set(asked)) == len(set(hashes.tolist())) == len(set(zip(asked, hashes.tolist(), strict=True)))
        )


def test_a_family_too_few_is_one_line():
    task = Addition(base=2, num_digits=2)  # three families
    lines = []
    for split in SPLITS:
        try:
            block(task, 0, split, 0)
        except UserError as error:
            lines.append(str(error))
    assert lines
    assert all(line.startswith("task: addition of 2 digits in base 2 has too few problems") for line in lines)


def test_a_line_by_hand():
    task, sums = by_hand()
    assert task.lines(sums) == ["472+328=0800"]
    assert str(task) == "addition of 3 digits in base 10"
    assert task.prompts(sums).tolist() == [[4, 7, 2, 10, 3, 2, 8, 11]]
    assert task.answers(sums).tolist() == [[0, 8, 0, 0]]
    assert task.lines(sums, "reversed") == ["472+328=0080"]
    assert task.draw(sums, 0) == ["carry ·11", "       472", "    +  328", "    = 0800"]
    assert task.lookahead.decisive(sums).tolist() == [[True, True, False, False]]
    assert task.lookahead.given_away(sums).tolist() == [[False, False, True, False]]
    assert [task.lookahead.choices(sums, j).tolist() for j in range(3)] == [[[0, 1]], [[8, 7]], [[0, 9]]]
    assert task.lookahead.position_chances() == (0.5005, 0.505, 0.55, 1.0)
    assert task.chance == pytest.approx(0.55**3)
    (other,) = task.lookahead.counterfactual_prompts(sums)
    assert task.lines(other) == ["472+327=0799"]
    assert task.lookahead.decoys(sums).shape == (1, 0, 4)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ([0, 8, 0, 0], "correct"),
        ([1, 8, 0, 0], "wrong_carry"),
        ([0, 7, 9, 0], "wrong_carry"),
        ([1, 7, 0, 0], "wrong_carry"),
        ([0, 8, 0, 1], "wrong_digit"),
        ([0, 6, 0, 0], "wrong_digit"),
        ([2, 8, 0, 0], "wrong_digit"),
        ([0, 0, 8, 0], "wrong_digit"),
        ([0, 8, 10, 0], "malformed"),
        ([0, 8, 0, -1], "malformed"),
        ([11, 8, 0, 0], "malformed"),
    ],
)
def test_the_kind_of_a_hand_made_error(answer, kind):
    task, sums = by_hand()
    verdicts = task.score(sums, np.array([answer]))
    assert {name for name, number in verdicts.counts().items() if number} == {kind}
    assert verdicts.exact.tolist() == [kind == "correct"]


@QUICK
@given(tasks(), SEEDS)
def test_the_other_option_alone_is_a_wrong_carry(task, seed):
    sums = sample(task, seed)
    for position in task.decisive_positions:
        answers = task.answers(sums)
        answers[:, position] = task.lookahead.choices(sums, position)[:, 1]
        assert task.score(sums, answers).counts()["wrong_carry"] == len(sums)


def test_swapping_the_numbers_asks_the_same():
    sums = sample(Addition(), 0)
    swapped = replace(sums, a=sums.b, b=sums.a)
    assert np.array_equal(Addition().keys(swapped), Addition().keys(sums))
    assert np.array_equal(Addition().answers(swapped), Addition().answers(sums))
