"""Mamba against transformers' MambaForCausalLM with the same weights, and the scans against a slow loop."""

import subprocess
import sys
import types
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MambaConfig, MambaForCausalLM

from tests.planted import autoregressive, ragged
from tests.runs import tiny_run
from unforced.errors import UserError
from unforced.models.kernels import convolution
from unforced.models.kernels.scan import BACKENDS, select_scan
from unforced.models.mamba import Mamba
from unforced.training.flops import flops_per_sample
from unforced.training.source import encode, split_problems

VOCAB, LENGTH, LAYERS, WIDTH, STATE = 19, 12, 2, 16, 5
TOKENS = torch.randint(VOCAB, (4, LENGTH), generator=torch.Generator().manual_seed(1))
PORTABLE = ["sequential", "parallel"]


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(2)
    config = MambaConfig(
        vocab_size=VOCAB, hidden_size=WIDTH, state_size=STATE, num_hidden_layers=LAYERS,
        bos_token_id=0, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    model = MambaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model


@pytest.fixture(params=PORTABLE)
def ours(theirs, request):
    """Our model with their weights, by their own names."""
    model = Mamba(layers=LAYERS, width=WIDTH, d_state=STATE, scan=request.param).build(VOCAB, LENGTH)
    model.load_state_dict(theirs.state_dict())
    return model


def nats(logits, tokens):
    return F.cross_entropy(logits[:, :-1].mT, tokens[:, 1:])


def test_logits_equal_those_of_transformers(ours, theirs):
    with torch.no_grad():
        torch.testing.assert_close(ours.logits(ours.hidden(TOKENS)), theirs(TOKENS).logits)


def test_gradients_equal_those_of_transformers(ours, theirs):
    theirs.zero_grad()
    nats(theirs(TOKENS).logits, TOKENS).backward()
    nats(ours.logits(ours.hidden(TOKENS)), TOKENS).backward()
    mine = dict(ours.named_parameters())
    assert set(mine) == set(dict(theirs.named_parameters()))
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(mine[name].grad, parameter.grad, rtol=1e-3, atol=1e-6)


def test_a_compiled_model_has_the_same_gradients():
    command = [sys.executable, "-m", "tests.compiled", *PORTABLE]  # a process without checks of shapes
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("lengths", [(6, 6, 6, 6), (6, 1, 4, 3)], ids=["equal", "ragged"])
def test_greedy_decoding_equals_that_of_transformers_row_by_row(ours, theirs, lengths):
    prompts = [row[:length] for row, length in zip(TOKENS.tolist(), lengths, strict=True)]
    batch = ragged(prompts, [[0] * 6] * 4, mask_token=0)
    if batch.prompt_mask.all():
        batch = replace(batch, prompt_mask=None)
    with torch.no_grad():
        found = autoregressive(ours, batch)
        for row, prompt in zip(found, prompts, strict=True):
            alone = torch.tensor([prompt])
            expected = theirs.generate(
                alone, attention_mask=torch.ones_like(alone), do_sample=False, max_new_tokens=6
            )
            assert row.tolist() == expected[0, len(prompt) :].tolist()
    assert len(found.unique()) > 3


def test_bf16_is_close_to_fp32_with_and_without_a_cache(ours, theirs):
    with torch.no_grad():
        expected = theirs(TOKENS).logits
        with torch.autocast("cpu", torch.bfloat16):
            whole = ours.logits(ours.hidden(TOKENS))
            cache = ours.new_cache(len(TOKENS), LENGTH)
            pieces = [ours.logits(ours.hidden(part, cache=cache)) for part in TOKENS.split([5, 1, 6], dim=1)]
    scale = expected.abs().max()
    for found in (whole, torch.cat(pieces, dim=1)):
        assert (found.float() - expected).abs().max() < 0.05 * scale


def slow_scan(x, delta, log_decay, b, c, start):
    """The recurrence, one step and one line at a time."""
    state, outputs = start, []
    for t in range(x.shape[1]):
        decay = torch.exp(delta[:, t, None] * log_decay)
        state = decay * state + b[:, t, :, None] * (delta[:, t] * x[:, t])[:, None]
        outputs.append((c[:, t, :, None] * state).sum(1))
    return torch.stack(outputs, 1), state


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    time=st.integers(1, 20),
    channels=st.integers(1, 6),
    state=st.integers(1, 5),
    fast=st.booleans(),
    seed=st.integers(0, 1000),
)
@pytest.mark.parametrize("name", PORTABLE)
def test_a_scan_equals_the_slow_loop_with_all_its_gradients(name, batch, time, channels, state, fast, seed):
    """Also where states are forgotten at once (decays that underflow)."""
    noise = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=noise, dtype=torch.float64)

    delta = draw(batch, time, channels).exp() * (1000 if fast else 1)
    inputs = [draw(batch, time, channels), delta, -draw(state, channels).exp()]
    inputs += [draw(batch, time, state), draw(batch, time, state), draw(batch, state, channels)]
    inputs = [each.requires_grad_() for each in inputs]
    weights = draw(batch, time, channels), draw(batch, state, channels)

    def run(scan):
        outputs = scan(*inputs)
        total = sum((weight * output).sum() for weight, output in zip(weights, outputs, strict=True))
        return *outputs, *torch.autograd.grad(total, inputs)

    for found, expected in zip(run(BACKENDS[name].scan), run(slow_scan), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_long_steps_in_fp32_overflow_nowhere():
    x = torch.ones(1, 64, 2, requires_grad=True)
    delta, decay = torch.full((1, 64, 2), 50.0), -torch.tensor([[1.0, 16.0]])
    ones = torch.ones(1, 64, 1)
    for name in PORTABLE:
        y, _ = BACKENDS[name].scan(x, delta, decay, ones, ones, None)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert y.isfinite().all()
        assert gradient.isfinite().all()


def test_the_official_kernel_is_called_as_it_is_documented(monkeypatch):
    """A stand-in with the kernel's signature and layout: [batch, channels, time], A as [channels, state]."""

    def selective_scan_fn(u, delta, a, b, c, *, delta_softplus=False, return_last_state=False):
        assert all(each.is_contiguous() for each in (u, delta, a, b, c))
        assert a.shape == (u.shape[1], b.shape[1])
        assert (delta_softplus, return_last_state) == (False, True)
        y, last = slow_scan(u.mT, delta.mT, a.T, b.mT, c.mT, u.new_zeros(len(u), *a.T.shape))
        return y.mT, last.mT

    module = types.ModuleType("mamba_ssm.ops.selective_scan_interface")
    module.selective_scan_fn = selective_scan_fn
    monkeypatch.setitem(sys.modules, module.__name__, module)
    shapes = [(2, 7, 3), (2, 7, 3), (4, 3), (2, 7, 4), (2, 7, 4)]
    inputs = [torch.rand(shape) for shape in shapes]
    inputs[2].neg_()
    for start in (None, torch.rand(2, 4, 3)):
        found, expected = (BACKENDS[name].scan(*inputs, start) for name in ("mamba_ssm", "sequential"))
        torch.testing.assert_close(found[0], expected[0])
        torch.testing.assert_close(found[1], expected[1])


def causal_conv1d_fn(x, weight, bias=None, seq_idx=None, initial_states=None, activation=None):
    """A stand-in with the kernel's signature, layout and limits: x [batch, channels, time]."""
    assert x.is_contiguous()
    assert weight.shape == (x.shape[1], weight.shape[1])
    assert weight.shape[1] in (2, 3, 4)
    assert activation == "silu"
    padded = F.pad(x, (weight.shape[1] - 1, 0))
    return F.silu(F.conv1d(padded, weight[:, None], bias, groups=x.shape[1]))


@pytest.fixture
def kernel(monkeypatch):
    """Let the official convolution be installed, and fit for a processor."""
    module = types.ModuleType("causal_conv1d")
    module.causal_conv1d_fn = causal_conv1d_fn
    monkeypatch.setitem(sys.modules, module.__name__, module)
    backend = replace(convolution.BACKENDS["causal_conv1d"], available=lambda device, width: 2 <= width <= 4)
    monkeypatch.setitem(convolution.BACKENDS, "causal_conv1d", backend)


@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize("time", [1, 2, 9])
def test_the_official_convolution_equals_ours_with_all_its_gradients(kernel, width, time):
    noise = torch.Generator().manual_seed(width)
    shapes = [(3, width - 1 + time, 5), (5, width), (5,)]
    inputs = [torch.randn(shape, generator=noise, dtype=torch.float64).requires_grad_() for shape in shapes]
    results = []
    for name in ("causal_conv1d", "pytorch"):
        y = convolution.BACKENDS[name].convolve(*inputs)
        assert y.shape == (3, time, 5)
        results.append((y, *torch.autograd.grad((y * y).sum(), inputs)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


def test_a_model_says_the_same_with_the_official_convolution(kernel, ours, theirs):
    ours.kernels.convolution = "causal_conv1d"
    with torch.no_grad():
        expected = theirs(TOKENS).logits
        torch.testing.assert_close(ours.logits(ours.hidden(TOKENS)), expected)
        cache = ours.new_cache(len(TOKENS), LENGTH)
        pieces = [ours.logits(ours.hidden(part, cache=cache)) for part in TOKENS.split([5, 1, 1, 5], dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), expected)


def test_the_official_convolution_is_taken_where_it_can_run(kernel):
    def selected(known, width=4):
        model = Mamba(layers=1, width=8, scan="sequential", d_conv=width).build(VOCAB, LENGTH)
        choices = model.select_kernels(torch.device("cpu"), torch.float32, LENGTH, known)
        assert choices == vars(model.kernels)
        return choices["convolution"]

    assert selected({}) == "causal_conv1d"
    assert selected({}, width=5) == "pytorch"
    assert selected({"scan": "sequential", "convolution": "pytorch"}) == "pytorch"
    assert selected({"scan": "sequential"}) == "pytorch"  # a session from before there was a choice


@pytest.mark.parametrize(
    ("device", "expected"), [("cpu", "sequential"), ("cuda", "parallel"), ("mps", "parallel")]
)
def test_the_scan_is_selected_by_device(device, expected, monkeypatch):
    for name in ("mamba_ssm.ops.selective_scan_interface", "triton"):
        monkeypatch.setitem(sys.modules, name, None)
    assert select_scan(torch.device(device)) == expected


def test_the_official_scan_is_taken_on_a_gpu_where_it_is_installed(monkeypatch):
    name = "mamba_ssm.ops.selective_scan_interface"
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    assert select_scan(torch.device("cuda")) == "mamba_ssm"
    assert select_scan(torch.device("cpu")) == "sequential"


def test_the_official_convolution_needs_its_package_a_gpu_and_few_weights(monkeypatch):
    available = convolution.BACKENDS["causal_conv1d"].available
    monkeypatch.setitem(sys.modules, "causal_conv1d", types.ModuleType("causal_conv1d"))
    assert available(torch.device("cuda"), 4)
    assert not available(torch.device("cpu"), 4)
    assert not available(torch.device("cuda"), 5)
    monkeypatch.setitem(sys.modules, "causal_conv1d", None)
    assert not available(torch.device("cuda"), 4)


def test_a_decoding_step_costs_the_same_at_any_length():
    model = Mamba(layers=2, width=16, d_state=4, scan="sequential").build(VOCAB, LENGTH)
    cache = model.new_cache(1, 1)
    sizes = set()
    for _ in range(3):
        with torch.no_grad():
            model.hidden(TOKENS[:1], cache=cache)
        sizes.add(sum(layer.recent.numel() + layer.state.numel() for layer in cache.layers))
    assert cache.length == 3 * LENGTH
    assert len(sizes) == 1


def test_initial_weights_are_those_of_the_authors():
    torch.manual_seed(0)
    model = Mamba(layers=3, width=64, d_state=16).build(VOCAB, LENGTH)
    mixer = model.backbone.layers[0].mixer
    assert torch.equal(mixer.A_log.exp().round(), torch.arange(1.0, 17).repeat(128, 1))
    assert (mixer.D == 1).all()
    steps = F.softplus(mixer.dt_proj.bias)
    assert 1e-3 <= steps.min() < 3e-3
    assert 3e-2 < steps.max() <= 0.1 + 1e-6
    assert mixer.dt_proj.weight.abs().max() <= 4**-0.5
    plain = 128**-0.5 / 3**0.5  # the bound of a linear layer's initial weights; the variance is a third of it
    assert mixer.out_proj.weight.std().item() == pytest.approx(plain / 3**0.5, rel=0.05)


def test_the_official_kernel_is_refused_where_it_cannot_run():
    model = Mamba(layers=1, width=8, scan="mamba_ssm").build(VOCAB, LENGTH)
    with pytest.raises(
        UserError, match=r"model.scan: mamba_ssm needs a CUDA device .*; take auto, sequential or"
    ):
        model.select_kernels(torch.device("cpu"), torch.float32, LENGTH, {})


@pytest.mark.parametrize(
    ("model", "setting", "kernels"),
    [
        ("mamba", "scan", ["auto", "sequential", "parallel", "triton", "mamba_ssm"]),
        ("gpt", "attention", ["auto", "math", "math_fp32", "sdpa"]),
    ],
)
def test_operations_are_counted_alike_however_they_are_computed(model, setting, kernels):
    def count(kernel):
        run = tiny_run(f"model={model}", "model.layers=1", "model.width=8", f"model.{setting}={kernel}")
        return flops_per_sample(run, encode(run, split_problems(run, "train", 2)))

    first, *others = map(count, kernels)
    assert set(others) == {first}
    assert first > 0
