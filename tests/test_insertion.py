"""Insertion: what is dropped and asked, the joint loss over gaps and tokens, and the decoder that inserts."""

from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import nn

from tests.planted import Planted, certain, ragged
from tests.runs import tiny_run
from unforced.decoding.insertion import Inserting
from unforced.errors import UserError
from unforced.models.gpt import GPT
from unforced.objectives.insertion import Insertion
from unforced.objectives.moment import Moment

EQUALS, MASK, END, VOCAB = 8, 9, 10, 11
PROMPTS = [[1, 2, 3, EQUALS], [4, EQUALS], [5, 6, EQUALS]]
ANSWERS = [[1, 2, 1, 4, END], [5, 6, END], [7, 1, 2, END]]
BATCH = replace(ragged(PROMPTS, ANSWERS, MASK), end=END)


@dataclass(frozen=True)
class Scripted(Moment):
    """A moment whose numbers are written by hand, by stream."""

    numbers: dict = field(default_factory=dict)

    def uniform(self, *shape, stream=0):
        return torch.tensor(self.numbers[stream])[self.rows]


@pytest.fixture(scope="module", params=["rotary", "learned"])
def trained(request):
    """A model, one that embeds the token before along with each or has learned positions, and a head."""
    torch.manual_seed(4)
    kind = {"positions": request.param, "token_shift": request.param == "rotary"}
    model = GPT(layers=2, width=16, heads=2, attention="math", init_std=0.5, **kind).build(VOCAB, 9).eval()
    return model, nn.Linear(16, 1)


def test_view():
    numbers = {
        0: [[0.5], [0.99], [0.1]],  # drop 3 of 5, 3 of 3, none of 4
        1: [[0.3, 0.9, 0.1, 0.5, 0.2], [0.9, 0.8, 0.7, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4, 0.0]],
    }
    view = Insertion(stop_weight=0.5).view(BATCH, Scripted(3, numbers=numbers))
    assert view.inputs[:, 4:].tolist() == [[2, 4, MASK, MASK, MASK], [MASK] * 5, [7, 1, 2, END, MASK]]
    assert ["".join(".x"[real] for real in row) for row in view.padding.tolist()] == [
        "xxxxxx...",
        "..xx.....",
        ".xxxxxxx.",
    ]
    assert torch.equal(view.targets, BATCH.answer)
    assert view.gaps[0].tolist() == [0, 0, 1, 1, 2]  # 1 before 2, 1 before 4, END behind it
    assert view.gaps[1, :3].tolist() == [0, 0, 0]
    third = torch.tensor(1 / 3)
    torch.testing.assert_close(view.weights[0], torch.tensor([1, 0, 1, 0, 1]) * third)
    torch.testing.assert_close(view.weights[1], torch.tensor([1, 1, 1, 0, 0]) * third)
    assert view.weights[2].tolist() == [0] * 5
    assert view.complete.tolist() == [0, 0, 1]
    assert (view.query_positions, view.attention, view.positions) == (slice(3, 9), "full", None)
    assert {name: term.weight for name, term in view.terms.items()} == {"insert": 1.0, "stop": 0.5}
    torch.testing.assert_close(view.terms["insert"].count, torch.tensor([1.0, 1.0, 0.0]))
    assert view.terms["stop"].count.tolist() == [1, 1, 1]
    places = torch.tensor([[0, 1, 2, 3, 3], [0, 1, 1, -1, -1], [0, 1, 2, 2, -1]])
    some = Insertion(train_positions=(0, 3)).view(
        replace(BATCH, answer_places=places), Scripted(3, numbers=numbers)
    )
    torch.testing.assert_close(some.terms["insert"].count, torch.tensor([2 / 3, 1 / 3, 0.0]))


def test_any_number_of_tokens_is_dropped_equally_often():
    many = ragged([[EQUALS]] * 4000, [[1, 2, 3]] * 4000, MASK)
    for problems in (many, replace(many, prompt_mask=None, answer_mask=None)):
        view = Insertion().view(problems, Moment(4000))
        left = view.padding[:, 1:].sum(1).bincount(minlength=4) / 4000
        assert (left - 0.25).abs().max() < 0.04
        first_alone = (view.weights == torch.tensor([1.0, 0, 0])).all(1).float().mean()
        assert abs(first_alone - 1 / 12) < 0.03


def asked(trained, prompt, survivors):
    """Logits of each token in each gap, and of completeness, of one problem read by itself."""
    model, head = trained
    with torch.no_grad():
        states = model.hidden(torch.tensor([prompt + survivors]), attention="full")[:, len(prompt) - 1 :]
        return model.logits(states)[0], head(states[0, 0])


def slow_losses(trained, moment):
    """The equations of the source, problem by problem, with its dense target."""
    how_many, which = moment.uniform(1), moment.uniform(5, stream=1)
    losses = []
    for i, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
        count = int(how_many[i, 0].item() * (len(answer) + 1))
        dropped = sorted(range(len(answer)), key=lambda place: which[i, place].item())[:count]
        survivors = [token for place, token in enumerate(answer) if place not in dropped]
        logits, complete = asked(trained, prompt, survivors)
        target, gap = torch.zeros_like(logits), 0
        for place, token in enumerate(answer):
            if place in dropped:
                target[gap, token] += 1 / count
            else:
                gap += 1
        joint = logits.flatten().log_softmax(0)
        insert = -(joint * target.flatten()).sum()
        chance = torch.sigmoid(complete[0])
        stop = -torch.log(1 - chance if count else chance)
        losses.append([insert, stop])
    return torch.tensor(losses)


def test_loss_is_that_of_the_equations(trained):
    objective = Insertion()
    for step in range(8):
        view = objective.view(BATCH, Moment(3, step=step))
        losses = objective.loss(*trained, view)
        found = torch.stack([losses["insert"], losses["stop"]], dim=1).detach()
        torch.testing.assert_close(found, slow_losses(trained, Moment(3, step=step)), atol=1e-4, rtol=1e-4)


def slow_answer(decoder, trained, prompt, room):
    """Write an answer by itself, as a list that grows."""
    answer, when = [], []
    for step in range(decoder.max_steps or room):
        logits, complete = asked(trained, prompt, answer)
        if torch.sigmoid(complete) >= decoder.stop_at:
            break
        logits[:, MASK] = -torch.inf
        gap, token = divmod(logits.flatten().argmax().item(), VOCAB)
        answer.insert(gap, token)
        when.insert(gap, step)
    rest = room - len(answer)
    return answer + [END] * rest, when + [-1] * rest


@pytest.mark.parametrize("settings", [{}, {"max_steps": 2}, {"stop_at": 0.5}])
def test_decoder_inserts_as_a_slow_one_does(trained, settings):
    decoder = Inserting(**settings)
    with torch.no_grad():
        written = decoder.write(*trained, BATCH.prompts)
    slow = [slow_answer(decoder, trained, prompt, 5) for prompt in PROMPTS]
    assert written.tokens.tolist() == [answer for answer, _ in slow]
    assert written.step.tolist() == [when for _, when in slow]
    if not settings:
        assert any(when != sorted(when) for _, when in slow)


def test_a_complete_answer_is_left_alone():
    """A model that knows what is missing of 1 2, and a head that says when nothing is."""

    def missing(tokens):
        return certain(VOCAB, next((token for token in (2, 1) if token not in tokens), 7))

    class Head(nn.Module):
        def forward(self, states):
            return 20 * (states[:, 7:8].sign() - 0.5)

    prompts = replace(ragged([[3, EQUALS]] * 2, [[1, 2, 5, 5]] * 2, MASK).prompts)
    written = Inserting().write(Planted(VOCAB, missing), Head(), prompts)
    assert written.tokens.tolist() == [[1, 2, MASK, MASK]] * 2  # both into the first gap: equally likely
    assert written.step.tolist() == [[1, 0, -1, -1]] * 2
    closed = Inserting().write(Planted(VOCAB, missing), Head(), replace(prompts, end=END))
    assert closed.tokens.tolist() == [[1, 2, END, END]] * 2


def test_teacher_forced_logits_are_those_of_the_last_gap(trained):
    with torch.no_grad():
        found = Inserting().teacher_forced(*trained, BATCH)
    for i, answer in enumerate(ANSWERS):
        for place in range(len(answer)):
            logits, _ = asked(trained, PROMPTS[i], answer[:place])
            torch.testing.assert_close(found[i, place], logits[-1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["decoder.max_steps=4"],
            "decoder.max_steps: 4 are more than the 3 tokens of an answer; give up to 3",
        ),
        (["decoder.stop_at=0"], "decoder.stop_at"),
        (["objective.stop_weight=0"], "objective.stop_weight"),
        (["decoder=autoregressive"], "decoder: autoregressive does not fit the objective insertion"),
        (["model=mamba"], "objective insertion needs full attention"),
    ],
)
def test_bad_settings_are_one_line(overrides, line):
    with pytest.raises(UserError) as found:
        tiny_run("objective=insertion", *overrides)
    assert line in str(found.value)
    assert "\n" not in str(found.value)
