"""Masked diffusion: what is hidden and asked, what it weighs, and the decoder that fills answers in."""

from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import nn

from tests.planted import Planted, certain, ragged
from tests.runs import tiny_run
from unforced.decoding.iterative import Iterative
from unforced.decoding.noise import gumbel
from unforced.errors import UserError
from unforced.models.gpt import GPT
from unforced.objectives.masked import Masked
from unforced.objectives.moment import Moment

EQUALS, MASK, END, VOCAB = 8, 9, 10, 11
PROMPTS = [[1, 2, 3, EQUALS], [4, EQUALS], [5, 6, EQUALS]]
ANSWERS = [[1, 2, 3, 4], [5, 6], [7, 1, 2]]
WEIGHTINGS = ["plain", "mdlm", "linear", "mgdm"]


@dataclass(frozen=True)
class Scripted(Moment):
    """A moment whose numbers are written by hand, by stream."""

    numbers: dict = field(default_factory=dict)

    def uniform(self, *shape, stream=0):
        return torch.tensor(self.numbers[stream])[self.rows]


def batch(closed=True):
    """Three problems of different lengths; closed: with an end token behind each answer."""
    if not closed:
        return ragged(PROMPTS, ANSWERS, MASK)
    return replace(ragged(PROMPTS, [[*row, END] for row in ANSWERS], MASK), end=END)


@pytest.fixture(scope="module", params=["rotary", "learned"])
def model(request):
    torch.manual_seed(4)
    gpt = GPT(layers=2, width=16, heads=2, positions=request.param, attention="math", init_std=0.5)
    return gpt.build(VOCAB, 12).eval()


# Rows have the rates .001 + .999 x (.5, .5 + 1/3, .5 + 2/3 - 1); a token is hidden where its number is below.
NUMBERS = {0: [[0.5]], 1: [[0.9, 0.2, 0.4, 0.6, 0.1], [0.8, 0.9, 0.1, 0.2, 0.9], [0.5, 0.1, 0.2, 0.3, 0.1]]}


@pytest.mark.parametrize(
    ("settings", "count", "weights"),
    [
        ({}, [3, 3, 2], [[0, 1, 1, 0, 1], [1, 0, 1, 1, 0], [0, 1, 0, 0, 1]]),
        (
            {"weighting": "mdlm"},
            [5, 5, 5],
            [[0, 1.998, 1.998, 0, 1.998], [1.1998, 0, 1.1998, 1.1998, 0], [0, 5.9701, 0, 0, 5.9701]],
        ),
        (
            {"weighting": "linear"},
            [3, 3, 2],
            [[0, 0.5, 0.5, 0, 0.5], [0.2, 0, 0.2, 0.2, 0], [0, 0.85, 0, 0, 0.85]],
        ),
        ({"train_positions": (1,)}, [1, 1, 1], [[0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 1, 0, 0, 0]]),
    ],
)  # fmt: skip
def test_view(settings, count, weights):
    problems = batch()
    if "train_positions" in settings:  # an end is part of the last symbol
        places = torch.tensor([[0, 1, 2, 3, 3], [0, 1, 1, -1, -1], [0, 1, 2, 2, -1]])
        problems = replace(problems, answer_places=places)
    view = Masked(**settings).view(problems, Scripted(3, numbers=NUMBERS))
    assert view.inputs[:, 4:].tolist() == [
        [1, MASK, MASK, 4, MASK],
        [MASK, 6, MASK, MASK, END],
        [7, MASK, 2, END, MASK],
    ]
    assert view.targets.tolist() == [[1, 2, 3, 4, END], [5, 6, END, END, END], [7, 1, 2, END, END]]
    assert torch.equal(view.inputs[:, :4], problems.prompt)
    assert view.padding.tolist() == [[True] * 9, [False] * 2 + [True] * 7, [False] + [True] * 8]
    assert (view.query_positions, view.attention, view.positions) == (slice(4, None), "full", None)
    torch.testing.assert_close(view.weights, torch.tensor(weights).float(), atol=1e-3, rtol=1e-4)
    assert view.terms["masked"].count.tolist() == count


def test_without_an_end_token_padding_is_masked_and_not_asked():
    view = Masked().view(batch(closed=False), Scripted(3, numbers={0: [[0.5]], 1: [[0.0] * 4] * 3}))
    assert (view.inputs[:, 4:] == MASK).all()
    assert view.weights.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]
    view = Masked().view(batch(closed=False), Scripted(3, numbers={0: [[0.5]], 1: [[1.0] * 4] * 3}))
    assert view.inputs[:, 4:].tolist() == [[1, 2, 3, 4], [5, 6, MASK, MASK], [7, 1, 2, MASK]]


def test_rates_are_spread_evenly_and_begin_anywhere():
    rows = [
        1 / Masked(weighting="mdlm").view(batch(), Moment(3, step=step)).weights.amax(1) for step in range(40)
    ]
    rates = torch.stack([row for row in rows if row.isfinite().all()])
    gaps = (rates - rates.roll(1, 1)) / 0.999 % 1
    torch.testing.assert_close(gaps, torch.full_like(gaps, 1 / 3), atol=1e-3, rtol=0)
    assert len(rates) > 10
    assert (rates.amin(0) < 0.5).all()
    assert (rates.amax(0) > 0.8).all()


def likelihood(model, prompt, answer):
    """Log-probabilities at each place of an answer with masks, read by itself."""
    with torch.no_grad():
        hidden = model.hidden(torch.tensor([prompt + answer]), attention="full")
        return model.logits(hidden)[0, len(prompt) :].log_softmax(-1)


def slow_loss(objective, model, problems, moment):
    """The objective's equations, problem by problem; returns the sum of its addends and what they count."""
    total, counted = [], []
    start, numbers = moment.uniform(1)[0, 0].item(), moment.uniform(5, stream=1)
    for i, prompt in enumerate(PROMPTS):
        answer = problems.answer[i].tolist()
        if problems.end is not None:
            answer = [*ANSWERS[i], *[END] * (5 - len(ANSWERS[i]))]
        real = [place < len(ANSWERS[i]) or problems.end is not None for place in range(len(answer))]
        t = (start + i / 3) % 1
        k = int(20 * t)
        rate, weight = (k + 1) / 20, 1 - k / 20
        if objective.weighting in ("plain", "mdlm"):
            rate = 0.001 + 0.999 * t
            weight = 1 / rate if objective.weighting == "mdlm" else 1.0
        masked = [numbers[i, place].item() < rate for place in range(len(answer))]
        inputs = [
            MASK if hidden or not there else token
            for hidden, there, token in zip(masked, real, answer, strict=True)
        ]
        said, loss, count = likelihood(model, prompt, inputs), 0.0, 0
        for place, token in enumerate(answer):
            if masked[place] and real[place]:
                nats = -said[place, token]
                if objective.weighting == "mgdm":
                    nats = 0.25 * (1 - torch.exp(-nats)) ** objective.gamma * nats
                loss, count = loss + weight * nats.item(), count + 1
        total.append(loss)
        counted.append(sum(real) if objective.weighting == "mdlm" else count)
    return torch.tensor(total), torch.tensor(counted).float()


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_loss_is_that_of_the_equations(model, weighting, closed):
    gamma = 2.0 if weighting == "mgdm" else 1.0
    objective, problems = Masked(weighting=weighting, gamma=gamma), batch(closed)
    for step in range(3):
        moment = Moment(3, step=step)
        view = objective.view(problems, moment)
        losses, counts = slow_loss(objective, model, problems, moment)
        found = objective.loss(model, nn.Identity(), view)["masked"]
        torch.testing.assert_close(found.detach(), losses, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(view.terms["masked"].count, counts)


def test_the_gradient_passes_through_the_factor_of_mgdm(model):
    objective = Masked(weighting="mgdm")
    view = objective.view(batch(), Moment(3, step=1))
    logits = torch.randn(3, 5, VOCAB, requires_grad=True)
    nats = nn.functional.cross_entropy(logits.flatten(0, 1), view.targets.flatten(), reduction="none")
    wanted = (0.25 * (1 - torch.exp(-nats)) * nats * view.weights.flatten()).sum()
    (expected,) = torch.autograd.grad(wanted, logits)

    says = Planted(VOCAB, lambda tokens: torch.zeros(VOCAB))
    says.hidden = lambda *_, **__: logits
    (found,) = torch.autograd.grad(objective.loss(says, nn.Identity(), view)["masked"].sum(), logits)
    torch.testing.assert_close(found, expected)


def slow_answer(decoder, model, number, prompt, room):
    """Fill an answer in by itself, choosing places one at a time."""
    answer, when = [MASK] * room, [-1] * room
    noise = gumbel(decoder.seed, torch.tensor([number]), 0, torch.arange(room)[None])[0].tolist()
    steps = decoder.steps or room
    for step in range(steps):
        said = likelihood(model, prompt, answer).exp()
        said[:, MASK] = 0
        said = said / said.sum(1, keepdim=True)
        best = said.sort(1, descending=True).values
        score = {
            "confidence": best[:, 0].tolist(),
            "margin": (best[:, 0] - best[:, 1]).tolist(),
            "random": noise,
        }[decoder.order]
        open_places = [place for place in range(room) if answer[place] == MASK]
        count = (step + 1) * room // steps - step * room // steps
        for place in sorted(open_places, key=lambda place: (-score[place], place))[:count]:
            answer[place], when[place] = said[place].argmax().item(), step
    return answer, when


@pytest.mark.parametrize("order", ["confidence", "margin", "random"])
@pytest.mark.parametrize("steps", [None, 1, 2, 4])
def test_decoder_fills_in_as_a_slow_one_does(model, order, steps):
    decoder, prompts = Iterative(order=order, steps=steps, seed=3), replace(batch().prompts, room=5)
    prompts = replace(prompts, numbers=torch.tensor([7, 1, 4]))
    with torch.no_grad():
        written = decoder.write(model, nn.Identity(), prompts)
    for i, number in enumerate(prompts.numbers.tolist()):
        answer, when = slow_answer(decoder, model, number, PROMPTS[i], 5)
        assert written.tokens[i].tolist() == answer
        assert written.step[i].tolist() == when
    if steps is None:
        assert written.step.sort(1).values.tolist() == [[0, 1, 2, 3, 4]] * 3


def test_of_equally_sure_places_the_first_is_written_and_the_mask_token_never():
    torn = Planted(VOCAB, lambda tokens: certain(VOCAB, MASK))
    written = Iterative(steps=2).write(torn, nn.Identity(), batch().prompts)
    assert written.step.tolist() == [[0, 0, 1, 1, 1]] * 3
    assert (written.tokens == 0).all()


def test_teacher_forced_logits_hide_each_token_and_all_behind_it(model):
    problems = batch()
    with torch.no_grad():
        found = Iterative().teacher_forced(model, nn.Identity(), problems).log_softmax(-1)
    for i, answer in enumerate(ANSWERS):
        whole = [*answer, END]
        for place in range(len(whole)):
            said = likelihood(model, PROMPTS[i], whole[:place] + [MASK] * (5 - place))
            torch.testing.assert_close(found[i, place], said[place], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["decoder.steps=4"],
            "decoder.steps: 4 are more than the 3 tokens of an answer; give up to 3, or null",
        ),
        (["objective.gamma=2"], "gamma: the weighting plain has none"),
        (["objective.weighting=cosine"], "objective.weighting"),
        (["decoder=autoregressive"], "decoder: autoregressive does not fit the objective masked"),
        (["model=mamba"], "objective masked needs full attention; model mamba is causal only; use model=gpt"),
    ],
)
def test_bad_settings_are_one_line(overrides, line):
    with pytest.raises(UserError) as found:
        tiny_run("objective=masked", *overrides)
    assert line in str(found.value)
    assert "\n" not in str(found.value)
