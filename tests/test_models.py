"""What every registered model owes its callers."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pretrained import CAUSAL, saved
from unforced.registry import MODELS
from unforced.testing.models import small_config

VOCAB, LENGTH, BATCH = 13, 8, 3
SMALL = {
    "gpt": [
        {"layers": 2, "width": 16, "heads": 2, "positions": "rotary", "attention": "math"},
        {
            "layers": 2,
            "width": 16,
            "heads": 2,
            "positions": "learned",
            "attention": "math_fp32",
            "tie_embeddings": True,
        },
        {
            "layers": 2,
            "width": 16,
            "heads": 2,
            "positions": "rotary",
            "attention": "sdpa",
            "activation": "gelu_tanh",
        },
        {"layers": 2, "width": 16, "heads": 2, "token_shift": True, "attention": "math"},
        {"layers": 1, "width": 12, "heads": 3, "positions": "learned", "attention": "auto"},
    ],
    "mamba": [
        {"layers": 2, "width": 12, "d_state": 3, "scan": "sequential", "embedding_std": 0.5},
        {"layers": 2, "width": 12, "d_state": 4, "scan": "parallel", "tie_embeddings": False, "d_conv": 2},
        {"layers": 1, "width": 8, "d_state": 2, "expand": 1, "dt_rank": 3, "d_conv": 1},
    ],
    "pretrained": [{"family": family, "encoding": "symbol"} for family in CAUSAL],
}
CHOICES = {
    "gpt": [{"attention": name} for name in ("math", "math_fp32", "sdpa")],
    "mamba": [{"scan": name, "convolution": "pytorch"} for name in ("sequential", "parallel")],
    "pretrained": [],
}
CONFIGS = {
    f"{name}{i}": (name, options)
    for name in MODELS.names()
    for i, options in enumerate(SMALL.get(name, [None]))  # None: of a plug-in
}
CPU = torch.device("cpu")


def build_config(name, options):
    """The config of a model; a pretrained one is saved first."""
    if options is None:
        return small_config(name)
    options = dict(options)
    if "family" in options:
        options["name_or_path"] = saved(options.pop("family"))
    return MODELS.get(name)(**options)


def random_model(config):
    """Build a model whose every parameter matters: none stands at zero or one."""
    torch.manual_seed(1)
    return disturbed(config.build(VOCAB, LENGTH))


def disturbed(module):
    """Add noise to every parameter."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return module


@pytest.fixture(scope="module", params=CONFIGS.values(), ids=CONFIGS)
def config(request):
    return build_config(*request.param)


@pytest.fixture(scope="module")
def model(config):
    return random_model(config)


@pytest.fixture
def tokens():
    return torch.randint(VOCAB, (BATCH, LENGTH), generator=torch.Generator().manual_seed(2))


def logits(model, tokens, **options):
    with torch.no_grad():
        return model.logits(model.hidden(tokens, **options))


def close(one, other, atol=2e-5):
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=atol)


def causal(steps, past=0):
    return torch.ones(1, steps, past + steps, dtype=torch.bool).tril(past)


def padded(tokens, lengths, padding, side="left"):
    """Keep the first `lengths` tokens of each row, with `padding` on one side, and say which are real."""
    width = max(lengths)
    real = torch.tensor([[i < length for i in range(width)] for length in lengths])
    real = real.flip(1) if side == "left" else real
    rows = torch.full((len(lengths), width), padding)
    rows[real] = torch.cat([row[:length] for row, length in zip(tokens, lengths, strict=True)])
    return rows, real


def test_shapes_are_those_the_model_names(model, tokens):
    hidden = model.hidden(tokens)
    assert hidden.shape == (BATCH, LENGTH, model.width)
    assert model.logits(hidden).shape == (BATCH, LENGTH, model.vocab_size)
    assert model.vocab_size == VOCAB


@pytest.mark.parametrize("changed", range(LENGTH))
def test_a_token_changes_its_own_logits_and_later_ones_but_no_earlier_one(model, tokens, changed):
    other = tokens.clone()
    other[:, changed] = (other[:, changed] + 1) % VOCAB
    before, after = logits(model, tokens), logits(model, other)
    assert close(before[:, :changed], after[:, :changed], atol=1e-6)
    assert ((before - after)[:, changed:].abs().amax(-1) > 1e-4).all()


def test_rows_do_not_see_each_other(model, tokens):
    together = logits(model, tokens)
    for row in range(BATCH):
        assert close(together[row : row + 1], logits(model, tokens[row : row + 1]))
    shuffled = tokens[[2, 0, 1]]
    assert close(logits(model, shuffled), together[[2, 0, 1]])


@pytest.mark.parametrize(
    "at",
    [slice(None), slice(3, None), slice(2, 5), slice(-1, None), slice(0, 8, 3), torch.tensor([6, 0, 3])],
    ids=str,
)
@pytest.mark.parametrize("side", [None, "left", "right"])
def test_asking_for_some_steps_equals_slicing_all_of_them(model, tokens, at, side):
    padding = None
    if side:
        tokens, padding = padded(tokens, [8, 5, 3], 0, side)
    assert close(logits(model, tokens, at=at, padding=padding), logits(model, tokens, padding=padding)[:, at])


@pytest.mark.parametrize("side", [None, "left", "right"])
def test_each_row_may_be_asked_for_steps_of_its_own(model, tokens, side):
    padding = None
    if side:
        tokens, padding = padded(tokens, [8, 5, 3], 0, side)
    at = torch.tensor([[6, 0], [3, 3], [1, 7]])
    found, whole = (logits(model, tokens, at=steps, padding=padding) for steps in (at, None))
    assert close(found, torch.stack([row[steps] for row, steps in zip(whole, at, strict=True)]))


def test_default_positions_count_from_zero(model, tokens):
    expected, positions = logits(model, tokens), torch.arange(LENGTH)[None]
    assert close(logits(model, tokens, positions=positions), expected)
    assert close(logits(model, tokens, positions=positions.expand(BATCH, -1)), expected)


def needs(model, attention):
    if attention not in model.attends:
        pytest.skip(f"the model has no {attention} attention")


def test_the_config_knows_how_the_model_attends(config, model):
    assert config.attends == model.attends
    assert "causal" in model.attends <= {"causal", "full", "mask"}


@pytest.mark.parametrize(
    ("kind", "attention"), [("full", "full"), ("mask", causal(LENGTH)), ("mask", causal(LENGTH).mT)], ids=str
)
def test_an_attention_that_a_model_cannot_do_is_refused(model, tokens, kind, attention):
    if kind in model.attends:
        assert logits(model, tokens, attention=attention).isfinite().all()
    else:
        with pytest.raises(ValueError, match=f"has no {kind} attention, only causal"):
            logits(model, tokens, attention=attention)


def test_a_causal_mask_is_causal_attention(model, tokens):
    needs(model, "mask")
    expected = logits(model, tokens)
    for mask in (causal(LENGTH), causal(LENGTH).expand(BATCH, -1, -1)):
        assert close(logits(model, tokens, attention=mask), expected)


def test_positions_matter(model, tokens):
    needs(model, "mask")
    stretched = torch.tensor([[0, 1, 2, 4, 5, 6, 6, 7]])
    assert not close(logits(model, tokens, positions=stretched), logits(model, tokens), atol=1e-2)


def test_a_mask_hides_keys(model, tokens):
    """Step t sees itself alone, so it cannot tell what stands before it."""
    needs(model, "mask")
    other = (tokens + 1) % VOCAB
    other[:, -1] = tokens[:, -1]
    alone = torch.eye(LENGTH, dtype=torch.bool)[None]
    assert close(logits(model, tokens, attention=alone)[:, -1], logits(model, other, attention=alone)[:, -1])
    assert not close(logits(model, tokens)[:, -1], logits(model, other)[:, -1], atol=1e-2)


@pytest.mark.parametrize("side", [None, "left", "right"])
def test_full_attention_sees_every_real_token_and_no_other(model, tokens, side):
    needs(model, "full")
    lengths = [LENGTH, 5, 3] if side else [LENGTH] * BATCH
    rows, real = padded(tokens, lengths, 0, side)
    found = logits(model, rows, padding=real if side else None, attention="full")
    assert found.isfinite().all()
    for i, length in enumerate(lengths):
        row = tokens[i : i + 1, :length]
        everywhere = torch.ones(1, length, length, dtype=torch.bool)
        assert close(found[i : i + 1, real[i]], logits(model, row, attention=everywhere))
        assert not close(found[i : i + 1, real[i]], logits(model, row), atol=1e-2)


@settings(max_examples=12, deadline=None)
@given(cuts=st.sets(st.integers(1, LENGTH - 1)), by_padding=st.booleans())
def test_reading_in_pieces_with_a_cache_equals_reading_at_once(model, cuts, by_padding):
    tokens = torch.randint(VOCAB, (BATCH, LENGTH), generator=torch.Generator().manual_seed(3))
    cache, pieces, edges = model.new_cache(BATCH, LENGTH), [], [0, *sorted(cuts), LENGTH]
    for start, end in pairwise(edges):
        assert cache.length == start
        padding = torch.ones(1, end, dtype=torch.bool) if by_padding else None
        pieces.append(logits(model, tokens[:, start:end], cache=cache, padding=padding))
    assert cache.length == LENGTH
    assert close(torch.cat(pieces, dim=1), logits(model, tokens))


@pytest.mark.parametrize("padding", [0, VOCAB - 1])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(model, tokens, padding, side):
    lengths = [8, 5, 1]
    rows, real = padded(tokens, lengths, padding, side)
    found = logits(model, rows, padding=real)
    assert found.isfinite().all()
    for i, length in enumerate(lengths):
        assert close(found[i : i + 1, real[i]], logits(model, tokens[i : i + 1, :length]))


def test_left_padding_with_a_cache_changes_nothing(model, tokens):
    lengths = [6, 4, 1]
    rows, real = padded(tokens, lengths, padding=0)
    cache = model.new_cache(BATCH, LENGTH)
    logits(model, rows, padding=real, cache=cache)
    real = torch.cat([real, torch.ones(BATCH, 1, dtype=torch.bool)], dim=1)
    found = logits(model, tokens[:, 7:], padding=real, cache=cache)
    for i, length in enumerate(lengths):
        whole = torch.cat([tokens[i, :length], tokens[i, 7:]])[None]
        assert close(found[i : i + 1], logits(model, whole)[:, -1:])


def test_every_parameter_gets_a_gradient(model, tokens):
    model.zero_grad()
    model.logits(model.hidden(tokens)).logsumexp(-1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_asking_for_some_steps_gives_their_gradients(model, tokens):
    def gradients(hidden):
        model.zero_grad()
        model.logits(hidden).square().sum().backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    some = gradients(model.hidden(tokens, at=slice(5, None)))
    sliced = gradients(model.hidden(tokens)[:, 5:])
    assert all(close(a, b, atol=1e-3 * b.abs().max().item()) for a, b in zip(some, sliced, strict=True))


def test_equal_seeds_build_equal_weights_and_others_do_not(config):
    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([parameter.flatten() for parameter in config.build(VOCAB, LENGTH).parameters()])

    assert torch.equal(weights(5), weights(5))
    assert not torch.equal(weights(5), weights(6))


def test_selecting_kernels_names_them_keeps_known_ones_and_leaves_the_logits(config, tokens):
    model, again = random_model(config), random_model(config)
    before = logits(model, tokens)
    choices = model.select_kernels(CPU, torch.float32, LENGTH, {})
    assert isinstance(choices, dict)
    assert all(isinstance(text, str) for pair in choices.items() for text in pair)
    assert again.select_kernels(CPU, torch.float32, LENGTH, choices) == choices
    assert close(logits(model, tokens), before)
    assert close(logits(again, tokens), before)


@pytest.mark.parametrize(
    ("name", "known"), [(name, known) for name in MODELS.names() for known in CHOICES.get(name, [])], ids=str
)
def test_the_kernels_of_an_earlier_session_are_kept(name, known):
    model = build_config(name, SMALL[name][-1]).build(VOCAB, LENGTH)
    assert model.select_kernels(CPU, torch.float32, LENGTH, known) == known


@pytest.mark.parametrize("side", [None, "left", "right"])
def test_embeddings_stand_for_their_tokens(model, tokens, side):
    padding = None
    if side:
        tokens, padding = padded(tokens, [8, 5, 3], 0, side)
    embedded = model.embed(tokens, padding=padding)
    assert embedded.shape == (*tokens.shape, model.width)
    found, expected = (logits(model, inputs, padding=padding) for inputs in (embedded, tokens))
    assert close(found, expected)


def test_embeddings_stand_for_tokens_read_in_pieces(model, tokens):
    cache = model.new_cache(BATCH, LENGTH)
    first = logits(model, tokens[:, :5], cache=cache)
    rest = logits(model, model.embed(tokens[:, 5:], cache=cache), cache=cache)
    assert close(torch.cat([first, rest], dim=1), logits(model, tokens))


def test_embeddings_need_not_be_those_of_tokens(model, tokens):
    soft = model.embed(tokens).detach().requires_grad_()
    model.logits(model.hidden(soft, at=slice(-1, None))).logsumexp(-1).sum().backward()
    assert (soft.grad.abs().amax(-1) > 0).all()


def test_heads_may_have_a_block_and_a_twin_of_the_model(model, tokens):
    trunk = model.trunk()
    assert (trunk.width, trunk.vocab_size, trunk.max_length) == (model.width, VOCAB, LENGTH)
    block, twin = trunk.block(), trunk.twin()
    assert not {*map(id, model.parameters())} & {*map(id, block.parameters()), *map(id, twin.parameters())}
    assert [p.shape for p in twin.parameters()] == [p.shape for p in model.parameters()]
    assert logits(twin, tokens).shape == logits(model, tokens).shape


def test_a_block_is_a_causal_layer_that_keeps_padding_out(model, tokens):
    torch.manual_seed(1)
    block = disturbed(model.trunk().block())
    states = torch.randn(BATCH, LENGTH, model.width, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        before = block(states)
        assert before.shape == states.shape
        other = torch.cat([states[:, :4], -states[:, 4:]], dim=1)
        assert close(block(other)[:, :4], before[:, :4])
        assert not close(
            block(other, attention="full")[:, :4], block(states, attention="full")[:, :4], atol=1e-2
        )
        real = torch.arange(LENGTH) >= 3
        shifted = torch.cat([torch.zeros_like(states[:, :3]), states[:, :5]], dim=1)
        assert close(block(shifted, padding=real[None])[:, 3:], before[:, :5])


def test_a_model_without_weights_has_the_shapes_of_one_with_them(config, model):
    empty = config.build_empty(VOCAB, LENGTH)
    assert all(parameter.is_meta for parameter in empty.parameters())
    shapes = [{name: p.shape for name, p in each.named_parameters()} for each in (empty, model)]
    assert shapes[0] == shapes[1]
