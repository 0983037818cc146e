"""Future summary prediction: its bags by hand, and its loss against the source's equations, one by one."""

import pytest
import torch
import torch.nn.functional as F

from tests.auxiliary import (
    ANSWERS,
    PROMPTS,
    VOCAB,
    losses_of,
    padded_batch,
    random_heads,
    random_model,
    states_of,
)
from unforced.data.batch import Batch
from unforced.objectives.future_summary import FutureSummary
from unforced.objectives.moment import Moment
from unforced.objectives.schedule import Schedule


@pytest.mark.parametrize(
    ("answer", "window", "trained", "expected"),
    [
        ([1, 2, 3], None, None, [[2, 3], [3]]),
        ([1, 2, 3], 2, None, [[2], [3]]),
        ([1, 2, 2, 1], None, None, [[2, 1], [2, 1], [1]]),
        ([2, 2, 2], None, None, [[2], [2]]),
        ([1, 2, 3, 4], 3, None, [[2, 3], [3, 4], [4]]),
        ([1, 2, 3], None, (2,), [[3], [3]]),
        ([1, 2, 3], None, (0, 1), [[2], []]),
    ],
)
def test_bags_hold_what_comes_after_the_next_token_once(answer, window, trained, expected):
    batch = Batch(torch.tensor([[5, 7]]), torch.tensor([answer]), 8)
    view = FutureSummary(window=window, train_positions=trained).view(batch, Moment(1))
    rows = zip(view.later[0], view.in_bag[0], strict=True)
    assert [tokens[chosen].tolist() for tokens, chosen in rows] == expected
    assert view.terms["future"].count.tolist() == [sum(map(bool, expected))]


def future_loss(model, heads, prompt, answer, window, trained):
    """The loss of one row, by its definition over the whole vocabulary."""
    total = 0.0
    for position, state in enumerate(states_of(model, prompt, answer)):
        places = range(position + 1, min(position + window, len(answer)))
        bag = torch.zeros(VOCAB)
        for place in places:
            if trained is None or place in trained:
                bag[answer[place]] = 1.0
        if bag.any():
            total += F.binary_cross_entropy_with_logits(heads(state), bag, reduction="sum").item()
    return total


@pytest.mark.parametrize("trained", [None, (0, 2)])
@pytest.mark.parametrize("window", [None, 2, 3])
def test_the_loss_is_that_of_the_source(window, trained):
    objective, model = FutureSummary(window=window, train_positions=trained), random_model()
    heads = random_heads(objective, model)
    found, _ = losses_of(objective, model, heads, padded_batch())["future"]
    wanted = [
        future_loss(model, heads, prompt, answer, window or len(answer), trained)
        for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)
    ]
    assert found.tolist() == pytest.approx(wanted, rel=1e-4)


def test_settings_that_fit_no_answer_are_refused():
    with pytest.raises(ValueError, match="window: 5 tokens are more than the 4 of an answer; give 4 or null"):
        FutureSummary(window=5).check(4)
    with pytest.raises(ValueError, match="window: an answer of 1 token has none after the next"):
        FutureSummary().check(1)
    with pytest.raises(ValueError, match="window"):
        FutureSummary(window=1)
    FutureSummary(window=4).check(4)


def test_the_weight_follows_its_schedule():
    objective = FutureSummary(weight=Schedule(first=0.0, last=1.0, begin=0.5))
    views = [objective.view(padded_batch(), Moment(4, step=step, num_steps=4)) for step in (1, 3)]
    assert [view.terms["future"].weight for view in views] == [0.0, 0.5]
