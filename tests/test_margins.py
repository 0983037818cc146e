"""Margins of decisive tokens: right or wrong, and how surely; of symbols in one token and in several."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tests.planted import ragged
from unforced.evaluation.accuracy import measure_problems
from unforced.evaluation.diagnosis import diagnose
from unforced.evaluation.margins import margins, mean_margins
from unforced.objectives.teacherless import Teacherless
from unforced.tasks.path_star import PathStar
from unforced.tasks.sampling import problems
from unforced.testing.planted import Cheater, Perfect, planted_subject

STAR = PathStar(degree=3, path_length=4, num_nodes=20)


def test_margins_by_hand():
    batch = ragged([[0], [0]], [[2, 1, 0], [1]], mask_token=3)
    logits = torch.tensor(
        [[[0.0, 1, 4, 2], [5, 3, 1, 0], [0, 1, 2, 3]], [[0, 9, 0, 8], [1, 2, 3, 4], [0] * 4]]
    )
    found = margins(logits, batch, (0, 1))
    np.testing.assert_array_equal(found, [[2, -2], [1, np.nan]])
    assert margins(logits, batch, ()).shape == (2, 0)


def test_of_a_symbol_in_several_tokens_the_smallest_counts():
    batch = ragged([[0]], [[2, 1, 0]], mask_token=3)
    batch = type(batch)(**{**vars(batch), "answer_places": torch.tensor([[0, 1, 1]])})
    logits = torch.tensor([[[0.0, 0, 0, 0], [0, 7, 1, 0], [1, 4, 0, 0]]])
    assert margins(logits, batch, (1,)).tolist() == [[-3]]


def test_means_are_over_problems_in_which_the_position_decides():
    margin, decisive = np.array([[4.0, -1], [-6, 2], [9, 8]]), np.array([[1, 1], [1, 1], [0, 1]], dtype=bool)
    found = mean_margins(margin, decisive, (0, 1))
    assert found == {
        "margin.token_0": -1,
        "margin_of_wrong.token_0": -6,
        "margin.token_1": 3,
        "margin_of_wrong.token_1": -1,
    }
    assert mean_margins(np.full((1, 1), np.inf), np.ones((1, 1), bool), (0,)) == {}


@pytest.mark.parametrize("objective", [None, Teacherless()], ids=["next_token", "teacherless"])
def test_a_guess_is_wrong_with_confidence_where_it_is_planted(objective):
    some = problems(STAR, 0, "test", 0, 300)
    found = measure_problems(planted_subject(STAR, Cheater(), some, some, objective=objective), some)
    mode = "forced" if objective is None else "free"
    right = found[f"{mode}.token_1"]["correct"] / 300
    assert found["margin.token_1"] == pytest.approx(100 * (2 * right - 1))
    assert found["margin_of_wrong.token_1"] == -100
    sure = measure_problems(planted_subject(STAR, Perfect(), some, some), some)
    assert (sure["margin.token_1"], "margin_of_wrong.token_1" in sure) == (100, False)


@dataclass(frozen=True)
class Hedger(Cheater):
    """Gives every symbol the same probability at the first hop."""

    def next(self, known, so_far, chance):
        said = super().next(known, so_far, chance)
        return said if so_far.shape[1] != 1 else np.full_like(said, -1)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [(Cheater(), "over 1,000 times as probable as the true one: confidently wrong"), (Hedger(), None)],
)
def test_a_verdict_says_how_surely_a_decision_is_wrong(behaviour, words):
    some = problems(STAR, 0, "test", 0, 300)
    found = diagnose(planted_subject(STAR, behaviour, some, some), some, some, confidence=0.6)
    margin = found["indecipherable_token"]["token_1"]["margin"]
    assert margin["test"] == margin["train"]
    assert (margin.get("test_wrong") == -100) == (words is not None)
    assert ("confidently" in " ".join(found["verdict"]["because"])) == (words is not None)
    if words:
        assert found["verdict"]["because"][1].endswith(words)
