"""Run by test_triton_scan.py in a process where Triton interprets its kernels: they against the slow scan."""

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.runs import tiny_run
from unforced.models.kernels import scan
from unforced.models.kernels.scan import BACKENDS
from unforced.training.checkpoint import mean_losses
from unforced.training.loop import Trainer, start_accelerator
from unforced.training.store import MemoryStore


def draw(batch, time, channels, state, started, seed, dtype=torch.float32):
    """Inputs of a scan, with a start or None, and weights of its outputs."""
    noise = torch.Generator().manual_seed(seed)
    shapes = [(batch, time, channels)] * 2 + [(state, channels)] + [(batch, time, state)] * 2
    shapes += [(batch, state, channels), (batch, time, channels), (batch, state, channels)]
    x, delta, decay, b, c, start, *weights = (torch.randn(shape, generator=noise) for shape in shapes)
    x, delta, b, c, *weights = (tensor.to(dtype) for tensor in (x, delta.exp() / 4, b, c, *weights))
    inputs = [x, delta, -decay.exp(), b, c, start if started else None]
    return inputs, weights


def outputs_and_gradients(name, inputs, weights):
    """What a scan returns, and the gradients of a weighted sum of it: both of y and of the last state."""
    inputs = [None if each is None else each.clone().requires_grad_() for each in inputs]
    outputs = BACKENDS[name].scan(*inputs)
    total = sum((weight.float() * output).sum() for weight, output in zip(weights, outputs, strict=True))
    return *outputs, *torch.autograd.grad(total, [each for each in inputs if each is not None])


def quick(shape):
    """Whether the interpreter, which takes 8 ms for a step of a block of channels, is done in a second."""
    batch, time, channels, _ = shape
    return batch * time * -(-channels // 16) <= 120


SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 70), st.integers(1, 17))


@settings(max_examples=6, deadline=None, derandomize=True, database=None)
@example(shape=(1, 40, 70, 17), started=True, seed=0)
@example(shape=(3, 16, 16, 16), started=True, seed=1)
@given(shape=SHAPES.filter(quick), started=st.booleans(), seed=st.integers(0, 1000))
def test_it_equals_the_sequential_scan_with_all_its_gradients(shape, started, seed):
    inputs, weights = draw(*shape, started, seed)
    exact_inputs = [None if each is None else each.double() for each in inputs]
    expected = outputs_and_gradients("sequential", exact_inputs, weights)
    for found, exact in zip(outputs_and_gradients("triton", inputs, weights), expected, strict=True):
        assert found.dtype == torch.float32
        scale = max(exact.abs().max().item(), 1)
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=2e-6 * scale)


def test_its_state_is_in_fp32_where_inputs_are_in_bf16():
    inputs, weights = draw(2, 19, 5, 3, True, 0, torch.bfloat16)
    exact = outputs_and_gradients("sequential", [each.float() for each in inputs], weights)
    found = outputs_and_gradients("triton", inputs, weights)
    y, last, grad_x, grad_delta, grad_log_decay, grad_b, grad_c, grad_start = found
    rounded = (y, grad_x, grad_delta, grad_b, grad_c)
    assert {each.dtype for each in rounded} == {torch.bfloat16}
    assert {each.dtype for each in (last, grad_log_decay, grad_start)} == {torch.float32}
    for mine, expected in zip(found, exact, strict=True):
        tolerance = 1e-2 if mine.dtype == torch.bfloat16 else 1e-4
        torch.testing.assert_close(mine.float(), expected, rtol=tolerance, atol=tolerance)


def test_inputs_and_gradients_need_not_be_contiguous():
    (x, delta, log_decay, b, c, start), _ = draw(2, 7, 5, 3, True, 1)
    strided = [x.mT.contiguous().mT, delta.mT.contiguous().mT, log_decay.T.contiguous().T]
    both = torch.cat([b, c], dim=-1)
    for found, expected in zip(
        outputs_and_gradients(
            "triton", [*strided, both[..., :3], both[..., 3:], start], (torch.ones(()),) * 2
        ),
        outputs_and_gradients("triton", [x, delta, log_decay, b, c, start], (torch.ones(()),) * 2),
        strict=True,
    ):
        assert torch.equal(found, expected)


def test_long_steps_overflow_nowhere():
    x = torch.ones(1, 33, 2, requires_grad=True)
    delta, decay = torch.full((1, 33, 2), 50.0), -torch.tensor([[1.0, 16.0]])
    ones = torch.ones(1, 33, 1)
    y, _ = BACKENDS["triton"].scan(x, delta, decay, ones, ones, None)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert y.isfinite().all()
    assert gradient.isfinite().all()


def test_a_model_trains_to_the_same_losses():
    def train(name):
        given = ["model=mamba", "model.layers=1", "model.width=8", "model.d_state=3", f"model.scan={name}"]
        run = tiny_run(*given, "batch_size=2")
        trainer = Trainer(run, MemoryStore(), start_accelerator(run))
        assert trainer.select_kernels({})["scan"] == name
        for _ in range(3):
            trainer.step()
        return mean_losses(trainer.progress.losses), trainer.train_module.model.state_dict()

    for found, expected in zip(train("triton"), train("sequential"), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_a_sequence_may_be_read_in_pieces():
    inputs, _ = draw(2, 21, 6, 4, True, 2)
    *over_time, start = inputs
    x, delta, log_decay, b, c = over_time
    whole, last = BACKENDS["triton"].scan(*inputs)
    pieces, state = [], start
    for part in (slice(0, 1), slice(1, 18), slice(18, 21)):
        y, state = BACKENDS["triton"].scan(
            x[:, part], delta[:, part], log_decay, b[:, part], c[:, part], state
        )
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)
    torch.testing.assert_close(state, last)


def test_the_trial_before_it_is_used_finds_it_right():
    assert scan._triton_fails(torch.device("cpu")) == ""
