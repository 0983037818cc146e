"""transformers' Trainer on objectives: the loss and the gradient are those of our own loop."""

import pytest

from tests.trainer import ROWS, assert_same, offered, problem, step

OFFERED = offered()


def test_objectives_are_offered_whose_models_answer_by_themselves():
    kinds = {"next_token", "teacherless", "mixture", "multi_token", "token_order", "future_summary"}
    heads = {f"multi_token {kind}" for kind in ("parallel", "sequential", "shared", "transfer", "leap")}
    assert {*OFFERED} == kinds | heads | {"next_latent", "registers", "scribbled"}


@pytest.mark.parametrize("name", OFFERED)
def test_the_loss_and_the_gradient_are_those_of_our_loop(name):
    asked = problem(OFFERED[name])
    network = asked.network
    for parts in (1, 2):
        assert_same(step(asked, ROWS // parts, parts, model=network), asked.own)
