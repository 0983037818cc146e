"""Registers: the view by hand, and the loss against one that reads each register alone."""

import pytest
import torch

from tests.planted import ragged
from unforced.data.batch import Batch
from unforced.models.gpt import GPT
from unforced.objectives.moment import Moment
from unforced.objectives.registers import Registers
from unforced.objectives.schedule import Schedule

EQUALS, MASK, REGISTER, VOCAB = 7, 8, 9, 10
MOMENT = Moment(3, step=4, num_steps=8)


def alone(prompt, answer):
    return Batch(torch.tensor([prompt]), torch.tensor([answer]), MASK, specials={"register": REGISTER})


def uneven():
    batch = ragged([[5, 6, EQUALS], [EQUALS], [4, EQUALS]], [[2, 3, 1, 4], [4, 1], [6]], MASK)
    return Batch(**vars(batch) | {"specials": {"register": REGISTER}})


def drawn(view):
    """The offsets that a view drew: from the first register, behind the prompt."""
    places = view.positions[:, view.inputs.shape[1] - view.further_targets.shape[1]]
    return (places - view.positions[:, view.query_positions.start] + 1).tolist()


def test_view_by_hand():
    batch = alone([5, EQUALS], [2, 3, 1, 4])
    view = next(
        view
        for step in range(99)
        if drawn(view := Registers().view(batch, Moment(1, step=step, num_steps=99))) == [3]
    )
    assert view.inputs.tolist() == [[5, EQUALS, 2, 3, 1, REGISTER, REGISTER, REGISTER]]
    assert view.positions.tolist() == [[0, 1, 2, 3, 4, 3, 4, 5]]
    assert ["".join(".x"[seen] for seen in row) for row in view.attention[0].tolist()] == [
        "x.......",
        "xx......",
        "xxx.....",
        "xxxx....",
        "xxxxx...",
        "xx...x..",
        "xxx...x.",
        "xxxx...x",
    ]
    assert view.query_positions == slice(1, 8)
    assert view.targets.tolist() == [[2, 3, 1, 4]]
    assert (view.weights, view.padding) == (None, None)
    assert view.further_weights.tolist() == [[True, True, False]]
    assert view.further_targets[:, :2].tolist() == [[1, 4]]
    assert {name: (term.count.tolist(), term.weight) for name, term in view.terms.items()} == {
        "next_token": ([4], 0.5),
        "register": ([2], 0.5),
    }


def test_offsets_are_drawn_evenly_from_two_to_the_furthest():
    batch = alone([5, EQUALS], [2, 3, 1, 4, 6]).map(lambda tensor: tensor.expand(3000, -1))
    for d_max, most in ((None, 5), (3, 3)):
        counts = torch.tensor(drawn(Registers(d_max=d_max).view(batch, Moment(3000)))).bincount()
        assert counts[:2].tolist() == [0, 0]
        assert len(counts) == most + 1
        assert counts[2:].tolist() == pytest.approx([3000 / (most - 1)] * (most - 1), rel=0.12)


def by_hand(model, batch, offsets, wanted):
    """Losses and counts of the registers, each read behind its own prefix alone."""
    losses, counts = [], []
    for row, offset in enumerate(offsets):
        prompt = batch.prompt[row][batch.prompt_mask[row]].tolist()
        answer = batch.answer[row][batch.answer_mask[row]].tolist()
        total, count = 0.0, 0
        for behind in range(len(answer)):
            target = behind + offset - 1
            if target >= len(answer) or target not in wanted:
                continue
            read = prompt + answer[:behind]
            positions = [*range(len(read)), len(read) + offset - 2]
            states = model.hidden(torch.tensor([[*read, REGISTER]]), positions=torch.tensor([positions]))
            total -= model.logits(states)[0, -1].log_softmax(-1)[answer[target]].item()
            count += 1
        losses.append(total)
        counts.append(count)
    return losses, counts


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("wanted", [(0, 1, 2, 3), (1, 3)])
@pytest.mark.parametrize("d_max", [None, 2])
def test_loss_is_that_of_registers_read_one_by_one(positions, wanted, d_max):
    torch.manual_seed(1)
    model = GPT(layers=2, width=16, heads=2, positions=positions, init_std=0.5).build(VOCAB, 9)
    objective, batch = Registers(d_max=d_max, train_positions=wanted, weight=0.3), uneven()
    view = objective.view(batch, MOMENT)
    offsets = drawn(view)
    losses, counts = by_hand(model, batch, offsets, wanted)
    found = objective.loss(model, objective.build_heads(model.trunk()), view)
    assert found["register"].tolist() == pytest.approx(losses, rel=1e-4)
    assert view.terms["register"].count.tolist() == counts
    assert (view.terms["register"].weight, view.terms["next_token"].weight) == (0.3, 0.7)
    assert min(offsets) == 2
    assert max(counts) > 0
    assert counts[2] == 0


def test_logits_of_each_offset_are_those_of_the_loss():
    torch.manual_seed(1)
    model, batch = GPT(layers=1, width=16, heads=2, init_std=0.5).build(VOCAB, 9), uneven()
    objective = Registers()
    found = objective.head_logits(model, torch.nn.Identity(), batch)
    assert list(found) == ["offset_2", "offset_3", "offset_4"]
    for offset in (2, 3, 4):
        logits, predicts = found[f"offset_{offset}"].logits, found[f"offset_{offset}"].predicts
        nats = -logits.log_softmax(-1).gather(2, batch.answer[..., None])[..., 0]
        losses, counts = by_hand(model, batch, [offset] * 3, range(4))
        assert (nats * predicts).sum(1).tolist() == pytest.approx(losses, rel=1e-4)
        assert predicts.sum(1).tolist() == counts


def test_weights_follow_a_schedule():
    objective = Registers(weight=Schedule(first=0.4, last=0.0))
    terms = objective.view(uneven(), MOMENT).terms
    assert [terms[name].weight for name in ("register", "next_token")] == pytest.approx([0.2, 0.8])


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match=r"d_max: nothing stands 6 tokens behind .* give at most 5, or null"):
        Registers(d_max=6).check(5)
    with pytest.raises(ValueError, match=r"weight: 1\.5 is above 1"):
        Registers(weight=1.5)
    with pytest.raises(ValueError, match="d_max"):
        Registers(d_max=1)
