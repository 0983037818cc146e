"""Next-latent prediction: its targets by hand, and loss and gradients against the source's equations."""

import copy

import pytest
import torch
import torch.nn.functional as F

from tests.auxiliary import ANSWERS, PROMPTS, losses_of, padded_batch, random_heads, random_model, states_of
from tests.planted import ragged
from unforced.data.batch import Batch
from unforced.models.gpt import GPT
from unforced.models.mamba import Mamba
from unforced.models.roles import role
from unforced.objectives.moment import Moment
from unforced.objectives.next_latent import NextLatent, frozen_logits


def drawn(ahead):
    return [["".join(".x"[each] for each in step) for step in row] for row in ahead.tolist()]


@pytest.mark.parametrize(
    ("settings", "expected", "latent", "kl"),
    [
        ({}, [".xxxxx", "..xxxx"], 9, 8),
        ({"horizon": 1}, [".xxxxx"], 5, 4),
        ({"train_positions": (1,)}, [".x.x..", "...x.."], 3, 2),
        ({"prompt_states": False}, ["..xxxx", "..xxxx"], 8, 8),
        ({"prompt_states": False, "horizon": 1}, [".xxxx"], 4, 4),
    ],
)
def test_states_count_that_have_one_to_start_from(settings, expected, latent, kl):
    batch = Batch(torch.tensor([[5, 6, 7]]), torch.tensor([[2, 3, 2, 1]]), 8)
    view = NextLatent(**settings).view(batch, Moment(1))
    assert drawn(view.ahead) == [expected]
    assert (view.terms["latent"].count.item(), view.terms["kl"].count.item()) == (latent, kl)


def test_states_of_padding_neither_start_nor_count():
    batch = ragged([[5, 6, 7], [7]], [[2, 3, 1], [4]], 8)
    view = NextLatent(horizon=2).view(batch, Moment(2))
    assert drawn(view.ahead) == [[".xxxx", "..xxx"], ["....."] * 2]
    batch = ragged([[5, 6, 7], [6, 7]], [[2, 3, 1], [4, 1]], 8)
    view = NextLatent(horizon=2).view(batch, Moment(2))
    assert drawn(view.ahead)[1] == ["..xx.", "...x."]


def unembed(model, state):
    return model.logits(state[None, None])[0, 0]


def slow_losses(model, head, dynamics, prompt, answer, settings):
    """Both losses of one row, by their definitions, position by position and step by step."""
    tokens, first = [*prompt, *answer[:-1]], len(prompt) - 1
    states = [model.hidden(torch.tensor([tokens[:end]]))[0, -1] for end in range(1, len(tokens) + 1)]
    embedded = model.embed(torch.tensor([tokens]))[0]
    trained = settings.get("train_positions", range(len(answer)))
    latent = kl = torch.zeros(())
    for start, state in enumerate(states):
        for target in range(start + 1, min(start + settings["horizon"], len(tokens) - 1) + 1):
            inputs = F.layer_norm(
                torch.cat([state, embedded[target]]), (32,), dynamics.norm.weight, dynamics.norm.bias
            )
            inner = F.gelu(dynamics.second.weight @ F.gelu(dynamics.first.weight @ inputs))
            state = state + dynamics.last.weight @ inner
            of_answer = target >= first and target - first in trained
            if of_answer or (target < first and settings.get("prompt_states", True)):
                latent = latent + F.smooth_l1_loss(state, states[target].detach())
            if of_answer:
                true, said = (
                    unembed(head, states[target]).detach().softmax(0),
                    unembed(head, state).log_softmax(0),
                )
                kl = kl + (true * (true.log() - said)).sum()
    return latent, kl


SETTINGS = [
    {"horizon": 2},
    {"horizon": 1, "train_positions": (1, 2)},
    {"horizon": 3, "prompt_states": False},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("tied", [False, True])
def test_losses_and_gradients_are_those_of_the_source(settings, tied):
    objective, model, batch = NextLatent(**settings), random_model(tie_embeddings=tied), padded_batch()
    heads = random_heads(objective, model)
    found = losses_of(objective, model, heads, batch)
    frozen = copy.deepcopy(model).requires_grad_(False)
    rows = [slow_losses(model, frozen, heads, *row, settings) for row in zip(PROMPTS, ANSWERS, strict=True)]
    weights = [*model.parameters(), *heads.parameters()]
    for name, column in zip(("latent", "kl"), zip(*rows, strict=True), strict=True):
        wanted = torch.stack(column)
        torch.testing.assert_close(found[name][0], wanted, rtol=1e-4, atol=1e-5)
        pairs = (
            torch.autograd.grad(total.sum(), weights, retain_graph=True, materialize_grads=True)
            for total in (found[name][0], wanted)
        )
        for mine, theirs in zip(*pairs, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        GPT(layers=1, width=16, heads=2, tie_embeddings=True),
        Mamba(layers=1, width=16),
        Mamba(layers=1, width=16, tie_embeddings=False),
    ],
)
def test_a_frozen_unembedding_gives_its_gradient_to_the_states_alone(config):
    model, states = config.build(9, 8), torch.randn(2, 3, 16, requires_grad=True)
    frozen, live = frozen_logits(model, states), model.logits(states)
    torch.testing.assert_close(frozen, live)
    weights = list(model.parameters())
    assert not any(
        gradient.any()
        for gradient in torch.autograd.grad(frozen.sum(), weights, retain_graph=True, materialize_grads=True)
    )
    torch.testing.assert_close(
        *(torch.autograd.grad(logits.sin().sum(), states)[0] for logits in (frozen, live))
    )


def test_at_first_a_state_predicts_itself_and_the_dynamics_are_not_for_muon():
    model = random_model()
    heads = NextLatent(dynamics_width=0.25).build_heads(model.trunk())
    states, tokens = torch.randn(2, 3, 16), torch.randn(2, 3, 16)
    assert torch.equal(heads(states, tokens), states)
    assert heads.second.weight.shape == (8, 8)
    assert {role(parameter) for parameter in heads.parameters()} == {"table", "vector"}


def test_heads_say_what_predicted_states_say():
    objective, model, batch = NextLatent(horizon=2), random_model(), padded_batch()
    heads = random_heads(objective, model)
    found = objective.head_logits(model, heads, batch)
    assert list(found) == ["step_1", "step_2"]
    states, embedded = states_of(model, [5, 6], [7, 2, 3]), model.embed(torch.tensor([[7, 2]]))
    two_ahead = heads(heads(states[0][None, None], embedded[:, :1]), embedded[:, 1:])
    torch.testing.assert_close(
        found["step_2"].logits[0, 1:2], model.logits(two_ahead)[0], rtol=1e-4, atol=1e-4
    )
    assert drawn(found["step_2"].predicts[None])[0] == ["xxxx", "..xx", ".xxx", "xxxx"]


def test_settings_that_fit_no_answer_are_refused():
    with pytest.raises(
        ValueError, match=r"horizon: 5 steps are more than the 4 tokens of an answer; .* null for 2"
    ):
        NextLatent(horizon=5).check(4)
    NextLatent(horizon=4).check(4)
