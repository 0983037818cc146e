"""Operations of training on a problem and of answering one, against products of matrices by hand."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.runs import tiny_run
from unforced.decoding.autoregressive import Autoregressive
from unforced.objectives.moment import Moment
from unforced.results import count_answer_flops
from unforced.studies.cost import Costs
from unforced.training.flops import (
    answer_flops_of,
    flops_of,
    flops_per_answer,
    flops_per_sample,
    some_problems,
)
from unforced.training.loop import Trainer, start_accelerator
from unforced.training.store import MemoryStore
from unforced.training.train_module import TrainModule, build_train_module, loss_of

WIDTH, LAYERS = 16, 2  # of tiny_run
CODEC = tiny_run().codec
PROMPT, ANSWER, VOCAB = CODEC.prompt_length, CODEC.answer_length, CODEC.vocab_size


def product(rows, inner, columns):
    return 2 * rows * inner * columns


def layer(inputs, queries, keys=None):
    """One layer of a GPT: keys and values of all inputs; queries, output and MLP where it is asked."""
    keys = inputs if keys is None else keys
    linear = product(inputs, WIDTH, 2 * WIDTH) + product(queries, WIDTH, (1 + 1 + 4 + 4) * WIDTH)
    return linear + 2 * product(queries, WIDTH, keys)


def model(inputs, queries, keys=None):
    """All layers, the last one at the queries alone, and the unembedding."""
    below = (LAYERS - 1) * layer(inputs, inputs, keys)
    return below + layer(inputs, queries, keys) + product(queries, WIDTH, VOCAB)


@pytest.mark.parametrize("objective", ["next_token", "teacherless"])
def test_training_takes_three_times_the_products_of_a_forward_pass(objective):
    forward = model(PROMPT + ANSWER - 1, ANSWER)
    assert flops_of(tiny_run(f"objective={objective}")) == 3 * forward


@pytest.mark.parametrize("model", ["gpt", "mamba"])
def test_operations_are_those_that_pytorch_counts(model):
    run = tiny_run(f"model={model}", "model.width=16", "model.layers=2")
    train_module, batch = build_train_module(run), some_problems(run, "train")
    train_module.select_kernels(torch.device("meta"), torch.float32)
    with FlopCounterMode(display=False) as theirs:
        loss_of(train_module, run.objective.view(batch, Moment(len(batch)))).backward()
    expected = theirs.get_total_flops() / len(batch)
    assert flops_of(run) == flops_per_sample(run, batch, train_module) == expected


def test_heads_and_longer_sequences_are_counted():
    inputs = PROMPT + ANSWER - 1
    ahead = layer(inputs, ANSWER - 1) + product(ANSWER - 1, WIDTH, VOCAB)
    whole = LAYERS * layer(inputs, inputs) + product(ANSWER, WIDTH, VOCAB)  # the head reads all states
    assert flops_of(tiny_run("objective=multi_token")) == 3 * (whole + ahead)
    assert flops_of(tiny_run("objective=masked")) == 3 * model(PROMPT + ANSWER, ANSWER)
    plain = PROMPT + 2 * (ANSWER - 1)  # of two parts, behind one prompt
    shared = model(plain, 2 * ANSWER - 1) + product(1, WIDTH, VOCAB)  # for the last of the prompt, twice
    assert flops_of(tiny_run("objective=mixture")) == 3 * shared


def test_an_answer_takes_every_step_of_decoding_and_the_prompt_once():
    one_by_one = model(PROMPT, 1) + sum(model(1, 1, PROMPT + i) for i in range(1, ANSWER))
    assert answer_flops_of(tiny_run()) == one_by_one
    assert answer_flops_of(tiny_run("objective=teacherless")) == model(PROMPT + ANSWER - 1, ANSWER)
    assert answer_flops_of(tiny_run("objective=teacherless", "decoder=autoregressive")) == one_by_one
    assert answer_flops_of(tiny_run("objective=masked")) == ANSWER * model(PROMPT + ANSWER, ANSWER)


class UntilZero(Autoregressive):
    """Decodes once again for as long as the first answer begins with token 0."""

    def decode(self, model, heads, prompts, cache=None):
        written = super().decode(model, heads, prompts)
        while written[0, 0].item() == 0:
            written = super().decode(model, heads, prompts) + 1
        return written


def test_operations_that_depend_on_what_is_written_are_those_of_the_trained_weights(monkeypatch):
    run = tiny_run("model.attention=auto")
    monkeypatch.setattr(type(run), "decoding", UntilZero())
    trainer = Trainer(run, MemoryStore(), start_accelerator(run))
    kernels = trainer.select_kernels({})
    once = model(PROMPT, 1) + sum(model(1, 1, PROMPT + i) for i in range(1, ANSWER))
    for first_token, times in ((0, 2), (1, 1)):
        with torch.no_grad():
            trainer.train_module.model.norm.weight.zero_()
            trainer.train_module.model.norm.bias.fill_(1.0)
            trainer.train_module.model.unembedding.weight.zero_()[first_token] = 1.0
        assert count_answer_flops(trainer) == times * once
    assert trainer.select_kernels({}) == kernels


@pytest.mark.parametrize("name", ["gpt", "mamba"])
def test_shapes_alone_give_the_count_of_real_numbers(name):
    run = tiny_run(f"model={name}", "model.layers=2", "model.width=16")
    meta = some_problems(run).map(lambda tensor: tensor.to("meta"))
    assert flops_per_answer(run, TrainModule(run, empty=True), meta) == flops_per_answer(
        run, build_train_module(run), some_problems(run)
    )


def test_the_decoder_changes_the_cost_of_answers_alone():
    plain = tiny_run("objective=teacherless")
    other = tiny_run("objective=teacherless", "decoder=autoregressive")
    assert flops_of(plain) == flops_of(other)
    assert answer_flops_of(plain) != answer_flops_of(other)
    assert Costs(1).work(plain) == flops_of(plain) * 40 * 32
