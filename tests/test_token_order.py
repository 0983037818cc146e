"""Token order prediction: its targets by hand, and its loss against the source's equations, one by one."""

import math

import pytest
import torch

from tests.auxiliary import ANSWERS, PROMPTS, losses_of, padded_batch, random_heads, random_model, states_of
from unforced.data.batch import Batch
from unforced.objectives.moment import Moment
from unforced.objectives.schedule import Schedule
from unforced.objectives.token_order import TokenOrder

E, E2 = math.exp(-1), math.exp(-2)


def batch_of(answer, **more):
    return Batch(torch.tensor([[5, 7]]), torch.tensor([answer]), 8, **more)


def targets_of(objective, batch):
    """The tokens with a share, in order of time, and their shares, of each position of the first row."""
    view = objective.view(batch, Moment(len(batch)))
    rows = zip(view.upcoming[0].tolist(), view.shares[0].tolist(), strict=True)
    return [
        {token: share for token, share in zip(tokens, shares, strict=True) if share}
        for tokens, shares in rows
    ]


@pytest.mark.parametrize(
    ("answer", "window", "trained", "expected"),
    [
        ([1, 2, 3], None, None, [{1: 1, 2: E, 3: E2}, {2: 1, 3: E}, {3: 1}]),
        ([1, 2, 3], 2, None, [{1: 1, 2: E}, {2: 1, 3: E}, {3: 1}]),
        ([1, 2, 3], 1, None, [{1: 1}, {2: 1}, {3: 1}]),
        ([1, 2, 1], None, None, [{1: 1, 2: E}, {2: 1, 1: E}, {1: 1}]),
        ([1, 1, 2], None, None, [{1: 1, 2: E2}, {1: 1, 2: E}, {2: 1}]),
        ([1, 1, 2], 2, None, [{1: 1}, {1: 1, 2: E}, {2: 1}]),
        ([1, 2, 3], None, (1,), [{2: 1}, {2: 1}, {}]),
        ([1, 2, 1], 2, (2,), [{}, {1: 1}, {1: 1}]),
    ],
)
def test_the_nearer_a_token_comes_the_larger_its_share(answer, window, trained, expected):
    objective = TokenOrder(window=window, train_positions=trained)
    for found, wanted in zip(targets_of(objective, batch_of(answer)), expected, strict=True):
        assert list(found) == list(wanted)
        assert list(found.values()) == pytest.approx(
            [each / sum(wanted.values()) for each in wanted.values()]
        )
    counts = objective.view(batch_of(answer), Moment(1)).terms["order"].count
    assert counts.tolist() == [sum(map(bool, expected))]


def order_loss(model, heads, prompt, answer, window, trained):
    """The ranking loss of one row, by its definition over the whole vocabulary."""
    total = 0.0
    for position, state in enumerate(states_of(model, prompt, answer)):
        scores = torch.full((model.vocab_size,), -math.inf)
        for place in reversed(range(len(answer))):
            ahead = place - position + 1
            if 0 < ahead <= window and (trained is None or place in trained):
                scores[answer[place]] = window - ahead
        if scores.max() > -math.inf:
            total -= (scores.softmax(0) * heads(state).log_softmax(0)).sum().item()
    return total


@pytest.mark.parametrize("trained", [None, (0, 2)])
@pytest.mark.parametrize("window", [None, 1, 3])
def test_the_loss_is_that_of_the_source(window, trained):
    objective, model, batch = (
        TokenOrder(window=window, train_positions=trained),
        random_model(),
        padded_batch(),
    )
    heads = random_heads(objective, model)
    found, _ = losses_of(objective, model, heads, batch)["order"]
    wanted = [
        order_loss(model, heads, prompt, answer, window or len(answer), trained)
        for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)
    ]
    assert found.tolist() == pytest.approx(wanted, rel=1e-4)


class Impossible(torch.nn.Module):
    """Holds token 3 impossible: the padding of the batch, and a token of two answers."""

    def forward(self, hidden):
        return torch.zeros(*hidden.shape[:-1], 9).index_fill(2, torch.tensor(3), -math.inf)


def test_a_token_that_the_head_holds_impossible_costs_nothing_unless_it_comes():
    losses, _ = losses_of(TokenOrder(), random_model(), Impossible(), padded_batch())["order"]
    assert losses.isfinite().tolist() == [False, True, False, True]


def test_the_head_scores_the_next_token_in_its_place():
    objective, model, batch = TokenOrder(), random_model(), padded_batch()
    heads = random_heads(objective, model)
    found = objective.head_logits(model, heads, batch)["order"]
    states = torch.stack(states_of(model, PROMPTS[0], ANSWERS[0]))
    torch.testing.assert_close(found.logits[0], heads(states), rtol=1e-4, atol=1e-4)
    assert found.predicts.all()


def test_settings_that_fit_no_answer_are_refused():
    with pytest.raises(ValueError, match="window: 5 tokens are more than the 4 of an answer"):
        TokenOrder(window=5).check(4)
    TokenOrder(window=4).check(4)
    with pytest.raises(ValueError, match="weight"):
        TokenOrder(weight=-0.1)


def test_the_weight_follows_its_schedule():
    objective = TokenOrder(weight=Schedule(first=1.0, last=0.0))
    weights = [
        objective.view(batch_of([1]), Moment(1, step=k, num_steps=4)).terms["order"].weight for k in (0, 1)
    ]
    assert weights == [1.0, 0.75]
