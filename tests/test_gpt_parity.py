"""GPT against transformers' GPT-2, its init switches against measured weights, and rotary positions
against a slow independent implementation."""

import cmath
import math
from dataclasses import replace
from functools import partial
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel

from tests.planted import autoregressive, ragged
from unforced.models.gpt import GPT
from unforced.models.kernels.attention import BACKENDS
from unforced.models.kernels.rotary import rotations, split_heads

VOCAB, LENGTH, LAYERS, WIDTH, HEADS = 19, 12, 2, 16, 2
TOKENS = torch.randint(VOCAB, (4, LENGTH), generator=torch.Generator().manual_seed(1))
ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu": "gelu"}
OF_BLOCK = {
    "ln_1": "norm1",
    "attn.c_attn": "attention.projection",
    "attn.c_proj": "attention.output",
    "ln_2": "norm2",
    "mlp.c_fc": "up",
    "mlp.c_proj": "down",
}
NAMES = {
    "transformer.wte.weight": "tokens.weight",
    "transformer.wpe.weight": "places.weight",
    "transformer.ln_f.weight": "norm.weight",
    "transformer.ln_f.bias": "norm.bias",
} | {
    f"transformer.h.{layer}.{theirs}.{kind}": f"blocks.{layer}.{ours}.{kind}"
    for layer in range(LAYERS)
    for theirs, ours in OF_BLOCK.items()
    for kind in ("weight", "bias")
}


def in_our_layout(name, tensor):
    """GPT-2 keeps the matrices inside its blocks transposed."""
    return tensor.mT if ".h." in name and tensor.dim() == 2 else tensor


@pytest.fixture(scope="module", params=ACTIVATIONS)
def theirs(request):
    torch.manual_seed(2)
    config = GPT2Config(
        vocab_size=VOCAB, n_positions=LENGTH, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS,
        activation_function=request.param, bos_token_id=0, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        model.transformer.wpe.weight.mul_(3)
    return model


@pytest.fixture(params=BACKENDS)
def ours(theirs, request):
    """Our model with GPT-2's weights, one per attention back-end."""
    config = GPT(
        layers=LAYERS, width=WIDTH, heads=HEADS, positions="learned", tie_embeddings=True,
        activation=ACTIVATIONS[theirs.config.activation_function], attention=request.param,
    )  # fmt: skip
    model = config.build(VOCAB, LENGTH)
    weights = {NAMES[name]: in_our_layout(name, tensor) for name, tensor in theirs.named_parameters()}
    weights["unembedding.weight"] = weights["tokens.weight"]
    model.load_state_dict(weights)
    return model


def nats(logits, tokens):
    return F.cross_entropy(logits[:, :-1].mT, tokens[:, 1:])


def test_logits_equal_those_of_gpt2(ours, theirs):
    with torch.no_grad():
        torch.testing.assert_close(ours.logits(ours.hidden(TOKENS)), theirs(TOKENS).logits)


def test_gradients_equal_those_of_gpt2(ours, theirs):
    theirs.zero_grad()
    nats(theirs(TOKENS).logits, TOKENS).backward()
    nats(ours.logits(ours.hidden(TOKENS)), TOKENS).backward()
    mine = dict(ours.named_parameters())
    assert set(mine) == set(NAMES.values())
    for name, parameter in theirs.named_parameters():
        expected = in_our_layout(name, parameter.grad)
        torch.testing.assert_close(mine[NAMES[name]].grad, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("lengths", [(6, 6, 6, 6), (6, 1, 4, 3)], ids=["equal", "ragged"])
def test_greedy_decoding_equals_that_of_gpt2(ours, theirs, lengths):
    prompts = [row[:length] for row, length in zip(TOKENS.tolist(), lengths, strict=True)]
    batch = ragged(prompts, [[0] * 6] * 4, mask_token=0)
    mask = batch.prompt_mask.long()
    expected = theirs.generate(batch.prompt, attention_mask=mask, do_sample=False, max_new_tokens=6)[:, 6:]
    if mask.all():
        batch = replace(batch, prompt_mask=None)
    with torch.no_grad():
        found = autoregressive(ours, batch)
    assert torch.equal(found, expected)
    assert len(found.unique()) > 3


def test_bf16_is_close_to_fp32_with_and_without_a_cache(ours, theirs):
    with torch.no_grad():
        expected = theirs(TOKENS).logits
        with torch.autocast("cpu", torch.bfloat16):
            whole = ours.logits(ours.hidden(TOKENS))
            cache = ours.new_cache(len(TOKENS), LENGTH)
            parts = [ours.hidden(piece, cache=cache) for piece in TOKENS.split([5, 1, 6], dim=1)]
            pieces = ours.logits(torch.cat(parts, dim=1))
    for found in (whole, pieces):
        assert found.dtype == torch.bfloat16
        error = (found - expected).square().mean().sqrt() / expected.std()
        assert 1e-4 < error < 0.02


def test_bf16_gradients_are_close_to_fp32(ours):
    def gradient(enabled):
        ours.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            logits = ours.logits(ours.hidden(TOKENS, query_positions=slice(3, None)))
        logits.float().logsumexp(-1).sum().backward()
        return torch.cat([parameter.grad.flatten() for parameter in ours.parameters()])

    expected = gradient(False)
    assert 1e-4 < (gradient(True) - expected).norm() / expected.norm() < 0.03


def test_a_sequence_beyond_the_last_learned_position_or_the_room_of_a_cache_is_refused():
    learned, rotary = (
        GPT(layers=1, width=8, heads=1, positions=positions).build(VOCAB, 4)
        for positions in ("learned", "rotary")
    )
    tokens = torch.zeros(1, 5, dtype=torch.long)
    with pytest.raises(ValueError, match="5 tokens exceeds 4 learned positions"):
        learned.hidden(tokens)
    assert rotary.hidden(tokens).shape == (1, 5, 8)
    for model, capacity, message in ((learned, 8, "4 learned"), (rotary, 4, "a cache for 4 tokens")):
        cache = model.new_cache(1, capacity)
        model.hidden(tokens[:, :4], cache=cache)
        with pytest.raises(ValueError, match=message):
            model.hidden(tokens[:, :1], cache=cache)


@pytest.mark.parametrize("init_std", [0.02, 0.1, None])
@pytest.mark.parametrize("residual_init", ["scaled", "plain"])
@pytest.mark.parametrize("position_std", [0.02, 1.0])
def test_weights_start_with_the_std_that_the_config_names(init_std, residual_init, position_std):
    torch.manual_seed(0)
    config = GPT(
        layers=3, width=64, heads=1, positions="learned",
        init_std=init_std, residual_init=residual_init, position_std=position_std,
    )  # fmt: skip
    measured = {name: p for name, p in config.build(200, 100).named_parameters() if p.dim() == 2}
    scale = 6**-0.5 if residual_init == "scaled" else 1.0
    narrow, wide = init_std or 1 / 8, init_std or 1 / 16  # fan-in 64 and 256
    blocks = {"attention.projection": narrow, "attention.output": narrow * scale, "up": narrow}
    blocks["down"] = wide * scale
    expected = {f"blocks.{layer}.{part}": std for layer in range(3) for part, std in blocks.items()}
    expected |= {"tokens": narrow, "places": position_std, "unembedding": narrow}
    assert {name.removesuffix(".weight") for name in measured} == set(expected)
    for name, std in expected.items():
        weight = measured[f"{name}.weight"]
        assert weight.std().item() == pytest.approx(std, rel=0.05), name
        assert abs(weight.mean().item()) < 0.1 * std, name


def test_biases_start_at_zero_and_norms_at_one():
    model = GPT(layers=1, width=8, heads=1).build(VOCAB, LENGTH)
    for name, vector in model.named_parameters():
        if vector.dim() == 1:
            one = "norm" in name and name.endswith("weight")
            assert torch.equal(vector, torch.full_like(vector, float(one))), name


def test_rotary_logits_depend_on_relative_positions_only():
    torch.manual_seed(0)
    model = GPT(layers=2, width=16, heads=2, init_std=0.3, rotary_base=100.0).build(VOCAB, LENGTH)
    counting = torch.arange(LENGTH)[None]
    with torch.no_grad():
        expected = model.hidden(TOKENS)
        shifted = model.hidden(TOKENS, positions=counting + 7)
        torch.testing.assert_close(shifted, expected, atol=1e-4, rtol=1e-4)
        assert (model.hidden(TOKENS, positions=counting * 2) - expected).abs().max() > 0.1


def slow_split(projected, kinds, heads, positions, base, turned):
    """Split and turn pair by pair in plain complex numbers: arXiv 2104.09864, Eq. 12-15."""
    batch, time, features = projected.shape
    depth = features // (kinds * heads)
    output = torch.empty(kinds, batch, heads, time, depth, dtype=torch.float64)
    for k, b, h, t in product(*map(range, (kinds, batch, heads, time))):
        vector = projected[b, t, (k * heads + h) * depth :][:depth].tolist()
        for i in range(depth // 2 if k < turned else 0):
            angle = float(positions[b % len(positions), t]) * base ** (-2 * i / depth)
            pair = complex(*vector[2 * i : 2 * i + 2]) * cmath.exp(1j * angle)
            vector[2 * i : 2 * i + 2] = pair.real, pair.imag
        output[k, b, h, t] = torch.tensor(vector, dtype=torch.float64)
    return output


sizes = st.integers(1, 3)


@settings(max_examples=25, deadline=None)
@given(sizes, sizes, sizes, sizes, sizes, st.booleans(), st.sampled_from([10.0, 10_000.0]), st.data())
def test_split_heads_rotates_pair_by_pair_and_its_backward_is_the_transpose(
    batch, time, kinds, heads, pairs, own_positions, base, data
):
    torch.manual_seed(0)
    turned = data.draw(st.integers(1, kinds))
    dtype, tolerance = data.draw(st.sampled_from([(torch.float32, 1e-4), (torch.bfloat16, 2e-2)]))
    positions = torch.randint(50, (batch if own_positions else 1, time))
    projected = torch.randn(batch, time, kinds * heads * 2 * pairs, requires_grad=True)
    slow = partial(slow_split, kinds=kinds, heads=heads, positions=positions, base=base, turned=turned)
    turn = rotations(positions, 2 * pairs, base)
    found = torch.stack(split_heads(projected, kinds, heads, turn, turned, dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), slow(projected), rtol=tolerance, atol=tolerance)
    # The map is linear, so its backward pass is right if and only if <split(x), g> = <x, backward(g)>.
    probe, cotangent = torch.randn_like(projected), torch.randn_like(found)
    found.backward(cotangent)
    forward = (slow(probe) * cotangent.double()).sum()
    backward = (probe.double() * projected.grad.double()).sum()
    assert math.isclose(forward, backward, abs_tol=1e-4 * probe.numel())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_split_heads_without_rotations_only_moves_features(dtype):
    projected = torch.randn(2, 3, 3 * 2 * 4, requires_grad=True)
    found = torch.stack(split_heads(projected, 3, 2, None, 2, dtype))
    expected = projected.view(2, 3, 3, 2, 4).permute(2, 0, 3, 1, 4).to(dtype)
    assert torch.equal(found, expected)
    (found.float().square().sum() / 2).backward()
    assert torch.equal(projected.grad, projected.detach().to(dtype).float())
