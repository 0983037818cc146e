"""Belief states: pairs by hand, the loss and answers against ones that read each prefix and suffix alone."""

import pytest
import torch
import torch.nn.functional as F

from tests.planted import ragged
from unforced.data.batch import Batch
from unforced.decoding.with_suffix import WithSuffix
from unforced.models.gpt import GPT
from unforced.models.mamba import Mamba
from unforced.objectives.belief_state import BeliefState
from unforced.objectives.moment import Moment

EQUALS, MASK, EMPTY, VOCAB = 7, 8, 9, 10
MOMENT = Moment(3, step=4, num_steps=8)
MODELS = {
    "learned": GPT(layers=2, width=16, heads=2, positions="learned", init_std=0.5),
    "rotary": GPT(layers=2, width=16, heads=2, token_shift=True, init_std=0.5),
    "mamba": Mamba(layers=1, width=16),
}


def alone(prompt, answer):
    return Batch(torch.tensor([prompt]), torch.tensor([answer]), MASK, specials={"empty_suffix": EMPTY})


def uneven():
    batch = ragged([[5, 6, EQUALS], [EQUALS], [4, EQUALS]], [[2, 3, 1, 4], [4, 1], [6]], MASK)
    return Batch(**vars(batch) | {"specials": {"empty_suffix": EMPTY}})


def built(name="rotary"):
    """A model and heads in which every parameter matters."""
    torch.manual_seed(1)
    model = MODELS[name].build(VOCAB, 7)
    heads = BeliefState().build_heads(model.trunk())
    for part in (heads.to_next, heads.to_previous):
        torch.nn.init.normal_(part.weight, std=0.3)
    return model, heads


def rows_of(batch):
    """The prompt and answer of each row, without padding."""
    rows = zip(batch.prompt, batch.prompt_mask, batch.answer, batch.answer_mask, strict=True)
    return [(prompt[p].tolist(), answer[a].tolist()) for prompt, p, answer, a in rows]


def say(model, heads, prefix, suffix):
    """The logits of the token behind a prefix and of that before a suffix, each read alone."""
    forward = model.hidden(torch.tensor([prefix]))[:, -1]
    backward = heads.backward_model.hidden(torch.tensor([[EMPTY, *reversed(suffix)]]))[:, -1]
    weight = torch.cat([heads.of_prefix.weight, heads.of_suffix.weight], dim=1)
    joined = F.leaky_relu(F.linear(torch.cat([forward, backward], dim=1), weight, heads.of_prefix.bias))
    following = model.logits((forward + heads.to_next(joined))[:, None])
    previous = heads.backward_model.logits((backward + heads.to_previous(joined))[:, None])
    return following[0, 0], previous[0, 0]


def losses_by_hand(model, heads, batch, wanted, pairs=None):
    """The losses and counts of each term and row, over all pairs or those given."""
    table = []
    for row, (prompt, answer) in enumerate(rows_of(batch)):
        losses, counts = [0.0, 0.0], [0, 0]
        for held in range(len(answer)):  # by the prefix
            for start in range(held + 1, len(answer) + 1):  # of the suffix
                if pairs is not None and (held, len(answer) - start) not in pairs[row]:
                    continue
                said = say(model, heads, prompt + answer[:held], answer[start:])
                for term, (logits, place) in enumerate(zip(said, (held, start - 1), strict=True)):
                    if place in wanted:
                        losses[term] -= logits.log_softmax(-1)[answer[place]].item()
                        counts[term] += 1
        table.append((losses, counts))
    return table


def check(found, view, table):
    for term, name in enumerate(("next", "previous")):
        assert found[name].tolist() == pytest.approx([losses[term] for losses, _ in table], rel=1e-4)
        assert view.terms[name].count.tolist() == [counts[term] for _, counts in table]


def test_view_by_hand():
    view = BeliefState(weight=0.5).view(alone([5, EQUALS], [2, 3, 1]), Moment(1))
    assert view.inputs.tolist() == [[5, EQUALS, 2, 3]]
    assert view.query_positions == slice(1, 4)
    assert view.reversed_answer.tolist() == [[EMPTY, 1, 3]]
    read = zip(view.prefixes.tolist(), view.suffixes.tolist(), strict=True)
    said = zip(view.next_targets[0].tolist(), view.previous_targets[0].tolist(), strict=True)
    assert dict(zip(read, said, strict=True)) == {
        (0, 0): (2, 1),
        (1, 0): (3, 1),
        (2, 0): (1, 1),
        (0, 1): (2, 3),
        (1, 1): (3, 3),
        (0, 2): (2, 2),
    }
    assert {name: (term.count.tolist(), term.weight) for name, term in view.terms.items()} == {
        "next": ([6], 1.0),
        "previous": ([6], 0.5),
    }


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("wanted", [(0, 1, 2, 3), (1, 3)])
def test_loss_is_that_of_pairs_read_one_by_one(name, wanted):
    (model, heads), batch, objective = built(name), uneven(), BeliefState(train_positions=wanted)
    view = objective.view(batch, MOMENT)
    check(objective.loss(model, heads, view), view, losses_by_hand(model, heads, batch, wanted))


def test_a_budget_draws_other_pairs_at_each_step_and_spares_those_with_the_empty_suffix():
    (model, heads), batch, objective = built(), uneven(), BeliefState(pairs=2)
    empty, drawn = [{(held, 0) for held in range(4)}] * 3, []
    for step in range(8):
        view = objective.view(batch, Moment(3, step=step, num_steps=8))
        pairs = [
            set(zip(*row, strict=True))
            for row in zip(view.prefixes.tolist(), view.suffixes.tolist(), strict=True)
        ]
        assert all(len(row) == 6 for row in pairs)
        assert all(row > spared for row, spared in zip(pairs, empty, strict=True))
        drawn.append(frozenset(pairs[0]))
    assert len({*drawn}) > 3
    table = losses_by_hand(model, heads, batch, range(4), pairs)
    check(objective.loss(model, heads, view), view, table)
    assert [counts for _, counts in table] == [[6, 6], [3, 3], [1, 1]]


def test_answers_and_forced_logits_are_those_of_an_uncached_loop():
    (model, heads), batch = built(), uneven()
    with torch.no_grad():
        written = WithSuffix().decode(model, heads, batch.prompts)
        forced = WithSuffix().teacher_forced(model, heads, batch)
        for row, (prompt, answer) in enumerate(rows_of(batch)):
            for held in range(len(answer)):
                expected, _ = say(model, heads, prompt + answer[:held], [])
                torch.testing.assert_close(forced[row, held], expected, rtol=1e-4, atol=1e-4)
            for place in range(4):
                expected, _ = say(model, heads, prompt + written[row, :place].tolist(), [])
                assert written[row, place] == expected.argmax()
    assert len(written.unique()) > 2


def test_logits_of_the_previous_token_are_given_the_prompt_and_what_follows():
    (model, heads), batch = built(), uneven()
    found = BeliefState().head_logits(model, heads, batch)["previous"]
    assert torch.equal(found.predicts, batch.answer_mask)
    for row, (prompt, answer) in enumerate(rows_of(batch)):
        for place in range(len(answer)):
            _, expected = say(model, heads, prompt, answer[place + 1 :])
            torch.testing.assert_close(found.logits[row, place], expected, rtol=1e-4, atol=1e-4)


def test_a_budget_beyond_the_pairs_is_refused():
    with pytest.raises(ValueError, match=r"pairs: answers of 5 tokens have 10 pairs .* give at most 10"):
        BeliefState(pairs=11).check(5)
    BeliefState(pairs=10).check(5)
