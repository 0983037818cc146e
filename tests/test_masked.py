"""Masked diffusion: what is hidden and asked, what it weighs, and the decoder that fills answers in."""

import math
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import nn

from tests.planted import Planted, certain, ragged
from tests.runs import tiny_run, unchecked
from unforced.config import Run
from unforced.decoding.iterative import Iterative
from unforced.decoding.noise import gumbel
from unforced.errors import UserError
from unforced.models.gpt import GPT
from unforced.objectives.masked import Masked
from unforced.objectives.mixture import Mixture
from unforced.objectives.moment import Moment
from unforced.objectives.next_token import NextToken
from unforced.testing import check_objective

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
    """One that embeds the token before along with each, and one with learned positions."""
    torch.manual_seed(4)
    kind = {"positions": request.param, "token_shift": request.param == "rotary"}
    return GPT(layers=2, width=16, heads=2, attention="math", init_std=0.5, **kind).build(VOCAB, 13).eval()


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
    assert (view.query_positions, view.attention, view.positions) == (slice(4, 9), "full", None)
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


def likelihood(model, prompt, answer, block=None):
    """Log-probabilities at each place of the last block of an answer, read by itself.

    The tokens of a block see it and those before it; so does the prompt, if there are several blocks.
    """
    start = (len(answer) - 1) // block * block if block else 0
    number = [-1] * len(prompt) + [place // block if block else -1 for place in range(len(answer))]
    sees = [[other <= mine for other in number] for mine in number]
    with torch.no_grad():
        hidden = model.hidden(torch.tensor([prompt + answer]), attention=torch.tensor([sees]))
        return model.logits(hidden)[0, len(prompt) + start :].log_softmax(-1)


def slow_loss(objective, model, problems, moment):
    """The objective's equations, block by block; returns the sum of each problem's addends, and its count."""
    total, counted = [], []
    room = problems.answer.shape[1]
    start, numbers = moment.uniform(1)[0, 0].item(), moment.uniform(room, stream=1)
    size = objective.block_size or room
    blocks = math.ceil(room / size)
    for i, prompt in enumerate(PROMPTS):
        answer, length = problems.answer[i].tolist(), len(ANSWERS[i])
        if problems.end is not None:
            answer, length = [*ANSWERS[i], *[END] * (room - length)], length + 1
        loss, count = 0.0, 0
        for k in range(blocks):
            places = range(k * size, min((k + 1) * size, room))
            if problems.end is not None:
                real = [places[0] < length for _ in places]
            else:
                real = [place < length for place in places]
            t = (start + i / 3 + k / blocks) % 1
            level = int(20 * t)
            rate, weight = (level + 1) / 20, 1 - level / 20
            if objective.weighting in ("plain", "mdlm"):
                rate = 0.001 + 0.999 * t
                weight = 1 / rate if objective.weighting == "mdlm" else 1.0
            masked = [numbers[i, place].item() < rate for place in places]
            before = [answer[place] if place < length or problems.end else MASK for place in range(places[0])]
            inside = [
                MASK if hides or (not there and problems.end is None) else answer[place]
                for place, hides, there in zip(places, masked, real, strict=True)
            ]
            said = likelihood(model, prompt, before + inside, objective.block_size)
            for place, hides, there, logs in zip(places, masked, real, said, strict=True):
                if hides and there:
                    nats = -logs[answer[place]]
                    if objective.weighting == "mgdm":
                        nats = 0.25 * (1 - torch.exp(-nats)) ** objective.gamma * nats
                    loss += weight * nats.item()
                count += there if objective.weighting == "mdlm" else hides and there
        total.append(loss)
        counted.append(count)
    return torch.tensor(total), torch.tensor(counted).float()


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("block", [None, 2, 3])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_loss_is_that_of_the_equations(model, weighting, block, closed):
    gamma = 2.0 if weighting == "mgdm" else 1.0
    objective, problems = Masked(weighting=weighting, gamma=gamma, block_size=block), batch(closed)
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
    answer, when, step = [MASK] * room, [-1] * room, 0
    noise = gumbel(decoder.seed, torch.tensor([number]), 0, torch.arange(room)[None])[0].tolist()
    size = decoder.block_size or room
    for start in range(0, room, size):
        places = range(start, min(start + size, room))
        steps = min(decoder.steps or len(places), len(places))
        for i in range(steps):
            said = likelihood(model, prompt, answer[: places[-1] + 1], size if size < room else None).exp()
            said[:, MASK] = 0
            said = said / said.sum(1, keepdim=True)
            best = said.sort(1, descending=True).values
            score = {
                "confidence": best[:, 0].tolist(),
                "margin": (best[:, 0] - best[:, 1]).tolist(),
                "random": noise[start:],
            }[decoder.order]
            places_left = [place for place in places if answer[place] == MASK]
            count = (i + 1) * len(places) // steps - i * len(places) // steps
            for place in sorted(places_left, key=lambda place: (-score[place - start], place))[:count]:
                answer[place], when[place] = said[place - start].argmax().item(), step
            step += 1
    return answer, when


@pytest.mark.parametrize("order", ["confidence", "margin", "random"])
@pytest.mark.parametrize(
    ("block", "steps"), [(None, None), (None, 1), (None, 2), (None, 4), (2, None), (3, 2), (5, 3)]
)
def test_decoder_fills_in_as_a_slow_one_does(model, order, block, steps):
    decoder = Iterative(order=order, steps=steps, block_size=block, seed=3)
    prompts = replace(batch().prompts, numbers=torch.tensor([7, 1, 4]))
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


@pytest.mark.parametrize("block", [None, 2, 3])
def test_teacher_forced_logits_hide_each_token_and_all_behind_it(model, block):
    problems = batch()
    with torch.no_grad():
        forced = Iterative(block_size=block).teacher_forced(model, nn.Identity(), problems).log_softmax(-1)
    for i, answer in enumerate(ANSWERS):
        whole = [*answer, END]
        for place in range(len(whole)):
            start = place // (block or 5) * (block or 5)
            stop = min(start + (block or 5), 5)
            said = likelihood(model, PROMPTS[i], whole[:place] + [MASK] * (stop - place), block)
            torch.testing.assert_close(forced[i, place], said[place - start], atol=1e-4, rtol=1e-4)


def test_view_of_blocks():
    view = Masked(block_size=2).view(batch(), Scripted(3, numbers=NUMBERS))
    assert view.inputs[:, 4:].tolist() == [
        [1, 2, 3, 4, 1, MASK, MASK, MASK, MASK],  # rates .5, .83, .17
        [5, 6, END, END, MASK, 6, MASK, END, END],  # .83, .17, .5
        [7, 1, 2, END, 7, MASK, MASK, MASK, MASK],  # .17, .5, .83
    ]
    assert view.weights.tolist() == [[0, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 1, 1, 1, 0]]
    assert view.targets.tolist() == [[1, 2, 3, 4, END], [5, 6, END, END, END], [7, 1, 2, END, END]]
    assert view.positions.tolist() == [
        [0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7, 8],
        [0, 0, 0, 1, 2, 3, 4, 5, 2, 3, 4, 5, 6],
        [0, 0, 1, 2, 3, 4, 5, 6, 3, 4, 5, 6, 7],
    ]
    assert ["".join(".x"[sees] for sees in row) for row in view.attention[0].tolist()] == [
        *["xxxx........."] * 4,
        *["xxxxxx......."] * 2,
        *["xxxxxxxx....."] * 2,
        *["xxxx....xx..."] * 2,
        *["xxxxxx....xx."] * 2,
        "xxxxxxxx....x",
    ]
    assert view.query_positions == slice(8, 13)


@pytest.mark.parametrize("settings", [{"block_size": 1, "weighting": "mdlm"}, {"block_size": 2}])
def test_blocks_keep_to_the_contract(settings):
    with unchecked():
        check_objective(Masked(**settings))


@pytest.mark.parametrize("weighting", ["plain", "mdlm", "linear"])
@pytest.mark.parametrize("closed", [True, False])
def test_blocks_of_one_token_are_next_token_prediction(model, closed, weighting):
    objective, alone = Masked(block_size=1, weighting=weighting), NextToken()
    assert objective.default_decoder == alone.default_decoder
    assert (objective.needs, objective.shows) == (alone.needs, alone.shows)
    assert objective.sequence_length(4, 5) == alone.sequence_length(4, 5)
    for each in (batch(closed), replace(batch(closed), prompt_mask=None)):
        view, other = objective.view(each, Moment(3)), alone.view(each, Moment(3))
        assert torch.equal(view.terms["masked"].count, other.terms["answer"].count)
        loss = objective.loss(model, nn.Identity(), view)["masked"]
        torch.testing.assert_close(loss, alone.loss(model, nn.Identity(), other)["answer"], atol=0, rtol=0)


@pytest.mark.parametrize(
    "overrides",
    [
        ["decoder=iterative"],
        ["decoder.steps=1"],
        ["decoder.block_size=null"],
        ["decoder.block_size=2"],
        ["decoder=iterative", "decoder.steps=1"],
    ],
)
def test_a_run_writes_the_blocks_that_it_trains(overrides):
    masked, blocks = "objective=masked", "objective.block_size=2"
    wanted = Iterative(block_size=2, steps=1 if "decoder.steps=1" in overrides else None)
    orders = [[masked, blocks, *overrides], [masked, *overrides, blocks], [*overrides, masked, blocks]]
    runs = [tiny_run(*order) for order in orders]
    assert [run.decoding for run in runs] == [wanted] * 3
    assert len({run.fingerprint for run in runs}) == 1
    assert Run.from_tree(runs[0].tree()) == runs[0]
    assert runs[0].replace(decoder=None).decoding == Iterative(block_size=2)


def test_changes_of_a_run_keep_to_its_blocks():
    run = tiny_run().replace(objective=Masked(block_size=2), decoder={"steps": 1})
    assert run.decoding == Iterative(block_size=2, steps=1)
    assert run.replace(decoder="iterative").decoding == Iterative(block_size=2)
    assert run.override(["objective.block_size=3"]).decoding == Iterative(block_size=3, steps=1)
    with pytest.raises(UserError, match=r"decoder.block_size: 4, but training had blocks of 2"):
        run.replace(decoder=Iterative(block_size=4))


def test_a_mixture_writes_in_the_blocks_of_a_part():
    sizes = [{"name": "masked", "block_size": size} for size in (2, 3)]
    mixture = Mixture.model_validate({"parts": sizes})
    assert mixture.decoding() == mixture.decoding(Iterative()) == Iterative(block_size=2)
    assert mixture.decoding(Iterative(block_size=3)) == Iterative(block_size=3)
    with pytest.raises(ValueError, match="block_size: 4, but training had blocks of 2"):
        mixture.decoding(Iterative(block_size=4))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_block_of_the_whole_answer_is_no_block(model, weighting):
    whole, block = (Masked(weighting=weighting, block_size=size) for size in (None, 5))
    view, other = (each.view(batch(), Moment(3, step=2)) for each in (whole, block))
    assert torch.equal(view.inputs, other.inputs)
    assert torch.equal(view.weights, other.weights)
    assert view.attention == other.attention == "full"
    losses = (each.loss(model, nn.Identity(), view)["masked"] for each in (whole, block))
    assert torch.equal(*losses)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["decoder.steps=4"],
            "decoder.steps: 4 are more than the 3 tokens of an answer; give up to 3, or null",
        ),
        (["objective.gamma=2"], "gamma: the weighting plain has none"),
        (
            ["objective.weighting=mgdm", "objective.block_size=1"],
            "objective.weighting: mgdm scales each token's loss, and blocks of 1 are next-token prediction",
        ),
        (["objective.weighting=cosine"], "objective.weighting"),
        (
            ["objective.block_size=4"],
            "objective.block_size: 4 is beyond the 3 tokens of an answer; give up to 3",
        ),
        (
            ["objective.block_size=2", "decoder.steps=3"],
            "decoder.steps: 3 are more than the 2 tokens of a block",
        ),
        (
            ["objective.block_size=2", "decoder.block_size=4"],
            "decoder.block_size: 4, but training had blocks of 2; drop it or give 2",
        ),
        (
            ["decoder.block_size=2"],
            "decoder.block_size: 2, but training had one block, the whole answer; drop it",
        ),
        (
            ["objective.block_size=1", "decoder=iterative"],
            "iterative does not fit the objective masked; choose autoregressive, or null",
        ),
        (["objective.block_size=2", "model=mamba"], "objective masked needs mask attention"),
        (
            ["decoder=autoregressive"],
            "decoder: autoregressive does not fit the objective masked; choose iterative, or null",
        ),
        (["model=mamba"], "objective masked needs full attention; model mamba is causal only; use model=gpt"),
    ],
)
def test_bad_settings_are_one_line(overrides, line):
    with pytest.raises(UserError) as found:
        tiny_run("objective=masked", *overrides)
    assert line in str(found.value)
    assert "\n" not in str(found.value)
