"""Attention back-ends against a slow loop and each other, and how the fastest is chosen and remembered."""

import json
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unforced.models import attention
from unforced.models.attention import BACKENDS, Backend, Pattern, causal_pattern, fastest
from unforced.models.gpt import GPT

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


def pattern_of(kind, batch, heads, steps, past):
    """Draw a pattern of one of the kinds that the back-ends must serve; every query sees itself."""
    if kind == "none":
        return Pattern(None)
    if kind == "causal":
        return causal_pattern(steps, past, CPU)
    if kind == "rows of causal":
        return causal_pattern(steps + 2, max(past - 2, 0), CPU).rows(slice(2, None))
    allowed = torch.rand(batch if kind == "mask per row" else 1, steps, past + steps) < 0.5
    allowed |= torch.eye(steps, past + steps, dtype=torch.bool).roll(past, 1)
    if kind != "bias per head":
        return Pattern.of(allowed)
    bias = Pattern.of(allowed).bias
    return Pattern(torch.cat([bias, *[torch.zeros_like(bias)] * (heads - 1)], dim=1))


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
    pattern = pattern_of(kind, batch, heads, steps, past)
    keys = past + steps if pattern.bias is None else pattern.bias.shape[-1]
    sources = draw_heads(batch, heads, steps, keys, depth)
    found = BACKENDS[name].attend(*sources, pattern)
    expected = slow_attention(*sources, pattern.bias)
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
    pattern = pattern_of(kind, 2, 2, 6, 0 if kind == "rows of causal" else 3)
    keys = 9 if pattern.bias is None else pattern.bias.shape[-1]
    sources = draw_heads(2, 2, 6, keys, 8, torch.bfloat16)
    found = BACKENDS[name].attend(*sources, pattern)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), slow_attention(*sources, pattern.bias), rtol=0.05, atol=0.03)


@pytest.mark.parametrize("past", [0, 3])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_causal_pattern_lets_each_query_see_the_past_and_itself(steps, past):
    pattern = causal_pattern(steps, past, CPU)
    bias = torch.zeros(steps, past + steps) if pattern.bias is None else pattern.bias[0, 0]
    for query in range(steps):
        for key in range(past + steps):
            assert bias[query, key] == (0 if key <= past + query else -torch.inf)
    assert not (pattern.causal and past)


def test_pattern_of_a_mask_is_zero_where_allowed():
    allowed = torch.tensor([[[True, False], [True, True]]])
    assert Pattern.of(allowed).bias.tolist() == [[[[0.0, -torch.inf], [0.0, 0.0]]]]


@pytest.mark.parametrize("at", [slice(1, 3), torch.tensor([4, 0])], ids=str)
def test_rows_keeps_the_queries_asked_for_and_no_longer_claims_to_be_square(at):
    pattern = causal_pattern(5, 0, CPU)
    rows = pattern.rows(at)
    assert torch.equal(rows.bias, pattern.bias[:, :, at])
    assert pattern.causal
    assert not rows.causal


@pytest.mark.parametrize("dtype", [None, torch.float32])
def test_a_model_under_autocast_hands_a_backend_the_dtype_it_works_in(monkeypatch, dtype):
    seen = []

    def spy(*sources):
        seen.append((*(each.dtype for each in sources[:3]), torch.is_autocast_enabled("cpu")))
        return attention.explicit(*sources)

    monkeypatch.setitem(BACKENDS, "explicit", Backend(spy, dtype))
    model = GPT(layers=1, width=8, heads=2, attention="explicit").build(5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        model.hidden(torch.zeros(1, 4, dtype=torch.long))
    assert seen == [(*[dtype or torch.bfloat16] * 3, False)]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "unforced"


@pytest.fixture
def measured(monkeypatch):
    """Replace the clock: `measured["seconds"]` by back-end; `measured["calls"]` lists what was measured."""
    record = {"seconds": dict.fromkeys(BACKENDS, 2.0), "calls": []}

    def measure(backend, device, dtype, heads, depth, length):
        (name,) = (name for name, each in BACKENDS.items() if each is backend)
        record["calls"].append((name, length))
        return record["seconds"][name]

    monkeypatch.setattr(attention, "_measure", measure)
    return record


@pytest.mark.parametrize("winner", BACKENDS)
def test_fastest_measures_once_and_remembers_the_least_time(cache, measured, winner):
    measured["seconds"][winner] = 1.0
    assert fastest(*CASE) == winner
    assert sorted(name for name, _ in measured["calls"]) == sorted(BACKENDS)
    measured["calls"].clear()
    measured["seconds"][winner] = 3.0
    assert fastest(*CASE) == winner
    assert measured["calls"] == []
    (file,) = cache.iterdir()
    assert json.loads(file.read_text())["fastest"] == winner


def test_fastest_measures_each_shape_dtype_and_length_up_to_a_power_of_two(cache, measured):
    cases = [(torch.float32, 2, 4, 16), (torch.bfloat16, 2, 4, 16), (torch.float32, 4, 4, 16)]
    cases += [(torch.float32, 2, 8, 16), (torch.float32, 2, 4, 17)]
    for case in cases:
        fastest(CPU, *case)
    assert len(list(cache.iterdir())) == len(cases)
    measured["calls"].clear()
    fastest(CPU, torch.float32, 2, 4, 9)
    fastest(CPU, torch.float32, 2, 4, 32)
    assert measured["calls"] == []


CORRUPT = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"7",
    b'"fused"',
    b"{}",
    b'{"fastest": "gone"}',
    b'{"fastest": []}',
    b"\xff\xfe",
]


@pytest.mark.parametrize("content", CORRUPT, ids=repr)
def test_fastest_replaces_a_corrupt_cache_file(cache, measured, content):
    measured["seconds"]["fused"] = 1.0
    fastest(*CASE)
    (file,) = cache.iterdir()
    file.write_bytes(content)
    measured["seconds"]["explicit"] = 0.5
    assert fastest(*CASE) == "explicit"
    assert [json.loads(each.read_text())["fastest"] for each in cache.iterdir()] == ["explicit"]


def test_fastest_works_where_nothing_can_be_written(tmp_path, monkeypatch, measured):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    measured["seconds"]["explicit_fp32"] = 1.0
    assert fastest(*CASE) == "explicit_fp32"
    assert blocked.read_text() == "no folder"


def test_the_first_of_several_processes_decides_for_all(cache, measured, monkeypatch):
    """Another process finishes its measurement while ours is running."""
    measured["seconds"]["fused"] = 1.0
    fastest(*CASE)
    (file,) = cache.iterdir()
    first = file.read_text()
    file.unlink()
    measure = attention._measure

    def slower(*arguments):
        file.write_text(first)
        return measure(*arguments)

    monkeypatch.setattr(attention, "_measure", slower)
    measured["seconds"]["explicit"] = 0.5
    assert fastest(*CASE) == "fused"
    assert json.loads(file.read_text())["fastest"] == "fused"


@pytest.mark.parametrize("setting", [None, ""])
def test_without_a_cache_setting_the_measurement_goes_to_the_home_folder(
    tmp_path, monkeypatch, measured, setting
):
    """The XDG specification treats an empty setting as none."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME")
    if setting is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", setting)
    fastest(*CASE)
    assert len(list((tmp_path / ".cache/unforced").iterdir())) == 1
    assert list((tmp_path / "here").iterdir()) == []


def test_a_real_measurement_names_a_backend_and_leaves_the_random_numbers_alone(cache):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert fastest(CPU, torch.float32, 1, 2, 8) in BACKENDS
    assert torch.equal(torch.rand(3), expected)
    seconds = json.loads(next(cache.iterdir()).read_text())["seconds"]
    assert set(seconds) == set(BACKENDS)
    assert all(0 < value < 60 for value in seconds.values())
