"""Joint prediction: the view by hand, the loss and answers against loops over states and the tokens given."""

import math

import pytest
import torch
import torch.nn.functional as F

from tests.planted import ragged
from unforced.decoding.joint import Joint
from unforced.models.gpt import GPT
from unforced.models.mamba import Mamba
from unforced.objectives.joint import JointPrediction
from unforced.objectives.moment import Moment

EQUALS, MASK, VOCAB = 7, 8, 9
MOMENT = Moment(3, step=4, num_steps=8)
MODELS = {
    "gpt": GPT(layers=2, width=16, heads=2, token_shift=True, init_std=0.5),
    "odd": GPT(layers=1, width=6, heads=1, init_std=0.5),  # too narrow for 4 heads
    "mamba": Mamba(layers=1, width=16),
}


def uneven():
    return ragged([[5, 6, EQUALS], [EQUALS], [4, EQUALS]], [[2, 3, 1, 4], [4, 1], [6]], MASK)


def built(name="gpt"):
    """A model and heads in which every parameter matters."""
    torch.manual_seed(8)
    model = MODELS[name].build(VOCAB, 7)
    heads = JointPrediction().build_heads(model.trunk())
    for parameter in heads.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model, heads


def rows_of(batch):
    """The prompt and answer of each row, without padding."""
    rows = zip(batch.prompt, batch.prompt_mask, batch.answer, batch.answer_mask, strict=True)
    return [(prompt[p].tolist(), answer[a].tolist()) for prompt, p, answer, a in rows]


def turned(vector, place):
    """Rotary positions: neighbouring features as complex numbers, times exp(i place base^(-2k/depth))."""
    angles = torch.arange(0, len(vector), 2) / len(vector) * -math.log(10_000.0)
    numbers = torch.view_as_complex(vector.unflatten(0, (-1, 2)).contiguous())
    return torch.view_as_real(numbers * torch.polar(torch.ones(len(angles)), angles.exp() * place)).flatten()


def say(model, heads, read, given):
    """The logits of the token behind those given, from the state that has read what stands before them."""
    state = model.hidden(torch.tensor([read]))[0, -1]
    slots = []
    for token in [read[-1], *given]:
        embedded = model.embed(torch.tensor([[token]]))[0, 0]
        slots.append(heads.projection(heads.norm(heads.share * state + embedded)))
    width, depth = len(state), len(state) // heads.heads
    mixed = []
    for head in range(heads.heads):
        part = slice(head * depth, (head + 1) * depth)
        query = turned(slots[-1][:width][part], len(given))
        scores = [
            query @ turned(slot[width : 2 * width][part], j) / depth**0.5 for j, slot in enumerate(slots)
        ]
        shares = torch.stack(scores).softmax(0)
        mixed.append(sum(share * slot[2 * width :][part] for share, slot in zip(shares, slots, strict=True)))
    return model.logits((state + F.linear(torch.cat(mixed), heads.to_state.weight))[None, None])[0, 0]


def losses_by_hand(model, heads, batch, horizon, wanted):
    """The losses and counts of each offset, by row."""
    losses, counts = torch.zeros(horizon, len(batch)), torch.zeros(horizon, len(batch))
    for row, (prompt, answer) in enumerate(rows_of(batch)):
        for behind in range(len(answer)):  # how many answer tokens the state has read
            for offset in range(min(horizon, len(answer) - behind)):
                if behind + offset in wanted:
                    given = answer[behind : behind + offset]
                    logits = say(model, heads, prompt + answer[:behind], given)
                    losses[offset, row] -= logits.log_softmax(-1)[answer[behind + offset]].detach()
                    counts[offset, row] += 1
    return losses, counts


def test_view_by_hand():
    view = JointPrediction(horizon=2, weight=0.3).view(uneven(), MOMENT)
    assert view.inputs.tolist() == [[5, 6, EQUALS, 2, 3, 1], [0, 0, EQUALS, 4, 1, 0], [0, 4, EQUALS, 6, 0, 0]]
    assert view.query_positions == slice(2, 6)
    assert view.read.tolist() == [[EQUALS, 2, 3, 1], [EQUALS, 4, 1, 0], [EQUALS, 6, 0, 0]]
    pairs = zip(view.offsets.tolist(), view.places.tolist(), strict=True)
    assert list(pairs) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]
    assert {name: (term.count.tolist(), term.weight) for name, term in view.terms.items()} == {
        "offset_1": ([4, 2, 1], 1.0),
        "offset_2": ([3, 1, 0], 0.3),
    }


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("horizon", "wanted"), [(None, (0, 1, 2, 3)), (2, (1, 3))])
def test_loss_is_that_of_tokens_predicted_one_by_one(name, horizon, wanted):
    (model, heads), batch = built(name), uneven()
    objective = JointPrediction(horizon=horizon, train_positions=wanted)
    view = objective.view(batch, MOMENT)
    losses, counts = losses_by_hand(model, heads, batch, horizon or 4, wanted)
    found = objective.loss(model, heads, view)
    torch.testing.assert_close(torch.stack([*found.values()]), losses, rtol=1e-4, atol=1e-4)
    assert torch.equal(torch.stack([term.count for term in view.terms.values()]), counts)
    expected = [1.0] + [1 / (len(losses) - 1)] * (len(losses) - 1)
    assert [term.weight for term in view.terms.values()] == pytest.approx(expected)


def test_at_first_every_offset_is_said_by_the_state_alone():
    torch.manual_seed(1)
    model, batch = MODELS["gpt"].build(VOCAB, 7), uneven()
    heads = JointPrediction().build_heads(model.trunk())
    tokens = torch.tensor([[4, 5]])
    states = model.hidden(tokens)
    assert torch.equal(heads.next_logits(model, states, tokens), model.logits(states))
    found = JointPrediction().head_logits(model, heads, batch)
    assert torch.equal(found["offset_2"].logits[0, 1], found["offset_3"].logits[0, 2])


def test_answers_and_forced_logits_are_those_of_an_uncached_loop():
    (model, heads), batch = built(), uneven()
    with torch.no_grad():
        written = Joint().decode(model, heads, batch.prompts)
        forced = Joint().teacher_forced(model, heads, batch)
        for row, (prompt, answer) in enumerate(rows_of(batch)):
            for place in range(len(answer)):
                expected = say(model, heads, prompt + answer[:place], [])
                torch.testing.assert_close(forced[row, place], expected, rtol=1e-4, atol=1e-4)
            for place in range(4):
                expected = say(model, heads, prompt + written[row, :place].tolist(), [])
                assert written[row, place] == expected.argmax()
    assert len(written.unique()) > 2


def test_logits_of_each_offset_stand_where_the_token_does():
    (model, heads), batch = built(), uneven()
    found = JointPrediction(horizon=3).head_logits(model, heads, batch)
    assert list(found) == ["offset_2", "offset_3"]
    for ahead, head in enumerate(found.values(), start=1):
        assert head.predicts.tolist() == [[ahead <= place < end for place in range(4)] for end in (4, 2, 1)]
        for row, (prompt, answer) in enumerate(rows_of(batch)):
            for place in range(ahead, len(answer)):
                between = answer[place - ahead : place]
                expected = say(model, heads, prompt + answer[: place - ahead], between)
                torch.testing.assert_close(head.logits[row, place], expected, rtol=1e-4, atol=1e-4)


def test_a_horizon_beyond_the_answer_is_refused():
    with pytest.raises(
        ValueError, match=r"horizon: 6 tokens are more than answers of 5 have; give at most 5"
    ):
        JointPrediction(horizon=6).check(5)
