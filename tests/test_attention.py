"""Attention kernels against a slow loop and each other, and the rule that selects one."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unforced.models.gpt import GPT
from unforced.models.kernels import attention
from unforced.models.kernels.attention import BACKENDS, AttentionBias, Backend, causal_bias, select_attention

CPU = torch.device("cpu")
CASE = (CPU, torch.float32, 2, 4, 16)


def slow_attention(query, key, value, bias):
    """Attend one query at a time, over the keys that its bias allows, in double precision."""
    keys, scale = key.shape[2], query.shape[-1] ** -0.5
    bias = (torch.zeros(1) if bias is None else bias).expand(*query.shape[:3], keys)
    output = torch.zeros(query.shape, dtype=torch.float64)
    for b, h, t in product(*map(range, query.shape[:3])):
        seen = [k for k in range(keys) if bias[b, h, t, k] == 0]
        weights = torch.stack([(query[b, h, t].double() @ key[b, h, k].double() * scale).exp() for k in seen])
        for k, weight in zip(seen, weights / weights.sum(), strict=True):
            output[b, h, t] = output[b, h, t] + weight * value[b, h, k].double()
    return output


def bias_of(kind, batch, heads, steps, past):
    """Draw a bias of one of the kinds that the back-ends must serve; every query sees itself."""
    if kind == "none":
        return AttentionBias(None)
    if kind == "causal":
        return causal_bias(steps, past, CPU)
    if kind == "rows of causal":
        return causal_bias(steps + 2, max(past - 2, 0), CPU).rows(slice(2, None))
    allowed = torch.rand(batch if kind == "mask per row" else 1, steps, past + steps) < 0.5
    allowed |= torch.eye(steps, past + steps, dtype=torch.bool).roll(past, 1)
    if kind != "bias per head":
        return AttentionBias.of(allowed)
    values = AttentionBias.of(allowed).values
    return AttentionBias(torch.cat([values, *[torch.zeros_like(values)] * (heads - 1)], dim=1))


KINDS = ["none", "causal", "rows of causal", "mask for all", "mask per row", "bias per head"]


def draw_heads(batch, heads, steps, keys, depth, dtype=torch.float32):
    lengths = (steps, keys, keys)
    return [torch.randn(batch, heads, n, depth).to(dtype).requires_grad_() for n in lengths]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=10, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.integers(0, 3), st.integers(1, 6))
def test_outputs_and_gradients_equal_those_of_a_slow_loop(name, kind, batch, heads, steps, past, depth):
    torch.manual_seed(0)
    bias = bias_of(kind, batch, heads, steps, past)
    keys = past + steps if bias.values is None else bias.values.shape[-1]
    sources = draw_heads(batch, heads, steps, keys, depth)
    found = BACKENDS[name].attend(*sources, bias)
    expected = slow_attention(*sources, bias.values)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
    cotangent = torch.randn_like(found)
    ours = torch.autograd.grad(found, sources, cotangent)
    slow = torch.autograd.grad(expected, sources, cotangent.double())
    for one, other in zip(ours, slow, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS[:5])
@pytest.mark.parametrize("name", BACKENDS)
def test_bf16_stays_bf16_and_close_to_the_slow_loop(name, kind):
    torch.manual_seed(0)
    bias = bias_of(kind, 2, 2, 6, 0 if kind == "rows of causal" else 3)
    keys = 9 if bias.values is None else bias.values.shape[-1]
    sources = draw_heads(2, 2, 6, keys, 8, torch.bfloat16)
    found = BACKENDS[name].attend(*sources, bias)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), slow_attention(*sources, bias.values), rtol=0.05, atol=0.03)


@pytest.mark.parametrize("past", [0, 3])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_causal_bias_lets_each_query_see_the_past_and_itself(steps, past):
    bias = causal_bias(steps, past, CPU)
    values = torch.zeros(steps, past + steps) if bias.values is None else bias.values[0, 0]
    for query in range(steps):
        for key in range(past + steps):
            assert values[query, key] == (0 if key <= past + query else -torch.inf)
    assert not (bias.causal and past)


def test_a_mask_as_a_bias_is_zero_where_allowed():
    allowed = torch.tensor([[[True, False], [True, True]]])
    assert AttentionBias.of(allowed).values.tolist() == [[[[0.0, -torch.inf], [0.0, 0.0]]]]


@pytest.mark.parametrize("at", [slice(1, 3), torch.tensor([4, 0])], ids=str)
def test_rows_keeps_the_queries_asked_for_and_no_longer_claims_to_be_square(at):
    bias = causal_bias(5, 0, CPU)
    rows = bias.rows(at)
    assert torch.equal(rows.values, bias.values[:, :, at])
    assert bias.causal
    assert not rows.causal


@pytest.mark.parametrize("dtype", [None, torch.float32])
def test_a_model_under_autocast_hands_a_backend_the_dtype_it_works_in(monkeypatch, dtype):
    seen = []

    def spy(*sources):
        seen.append((*(each.dtype for each in sources[:3]), torch.is_autocast_enabled("cpu")))
        return attention.math_attention(*sources)

    monkeypatch.setitem(BACKENDS, "math", Backend(spy, dtype))
    model = GPT(layers=1, width=8, heads=2, attention="math").build(5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        model.hidden(torch.zeros(1, 4, dtype=torch.long))
    assert seen == [(*[dtype or torch.bfloat16] * 3, False)]


@pytest.mark.parametrize(
    ("device", "dtype", "length", "expected"),
    [
        ("cpu", torch.float32, 16, "math"),
        ("cpu", torch.float32, 128, "math"),
        ("cpu", torch.float32, 129, "sdpa"),
        ("cpu", torch.bfloat16, 512, "math"),
        ("cpu", torch.bfloat16, 513, "sdpa"),
        ("cpu", torch.float16, 16, "sdpa"),
        ("cuda", torch.bfloat16, 16, "sdpa"),
        ("mps", torch.float32, 16, "sdpa"),
    ],
)
def test_the_kernel_follows_a_rule(device, dtype, length, expected):
    assert select_attention(torch.device(device), dtype, length) == expected
    model = GPT(layers=1, width=8, heads=1).build(5, length)
    for known, selected in (
        ({}, expected),
        ({"attention": "math_fp32"}, "math_fp32"),
        ({"attention": "gone"}, expected),
    ):
        choices = model.select_kernels(torch.device(device), dtype, length, known)
        assert choices == {"attention": selected}
        assert model.kernel.name == selected
