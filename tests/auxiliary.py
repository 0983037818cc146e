"""A small random model, and batches with repeated tokens, for tests of objectives with auxiliary losses."""

import torch

from tests.planted import ragged
from unforced.models.gpt import GPT
from unforced.objectives.moment import Moment

VOCAB, MASK = 9, 8
PROMPTS = [[5, 6, 7], [7], [2, 7], [6, 6, 7]]
ANSWERS = [[2, 3, 2, 1], [4, 4, 1], [3, 1], [1]]


def random_model(**settings):
    torch.manual_seed(4)
    config = GPT(layers=2, width=16, heads=2, attention="math", init_std=0.5, **settings)
    return config.build(VOCAB, 8)


def random_heads(objective, model):
    """Heads with noise in every parameter, so that each matters."""
    torch.manual_seed(5)
    heads = objective.build_heads(model.trunk())
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return heads


def padded_batch():
    """Prompts and answers of several lengths, with padding that is also a real token."""
    return ragged(PROMPTS, ANSWERS, MASK, padding=3)


def states_of(model, prompt, answer):
    """The states that predict each token of an answer, of a row alone, one by one."""
    tokens = [*prompt, *answer]
    return [model.hidden(torch.tensor([tokens[:end]]))[0, -1] for end in range(len(prompt), len(tokens))]


def losses_of(objective, model, heads, batch, moment=None):
    """Losses and counts of each term and row."""
    view = objective.view(batch, moment or Moment(len(batch)))
    rows = objective.loss(model, heads, view)
    return {name: (rows[name], term.count) for name, term in view.terms.items()}
