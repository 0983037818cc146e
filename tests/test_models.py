"""What every registered model owes its callers."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pretrained import CAUSAL, saved
from unforced.models.gpt import GPT, Transformer
from unforced.registry import MODELS
from unforced.testing import ConformanceError, check_model
from unforced.testing.check_models import BATCH, LENGTH, MODEL_RULES, VOCAB, ModelSubject, close, logits
from unforced.testing.models import small_config
from unforced.testing.rules import DoesNotApplyError

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


def build_config(name, options):
    """The config of a model; a pretrained one is saved first."""
    if options is None:
        return small_config(name)
    options = dict(options)
    if "family" in options:
        options["name_or_path"] = saved(options.pop("family"))
    return MODELS.get(name)(**options)


@pytest.fixture(scope="module", params=CONFIGS.values(), ids=CONFIGS)
def subject(request):
    return ModelSubject(build_config(*request.param))


@pytest.fixture(scope="module")
def model(subject):
    return subject.model


@pytest.mark.parametrize("rule", MODEL_RULES, ids=lambda rule: rule.__name__)
def test_every_model_keeps_to_the_contract(subject, rule):
    try:
        rule(subject)
    except DoesNotApplyError:
        pytest.skip("it does not concern the model")


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


@pytest.mark.parametrize(
    ("name", "known"), [(name, known) for name in MODELS.names() for known in CHOICES.get(name, [])], ids=str
)
def test_the_kernels_of_an_earlier_session_are_kept(name, known):
    model = build_config(name, SMALL[name][-1]).build(VOCAB, LENGTH)
    assert model.select_kernels(torch.device("cpu"), torch.float32, LENGTH, known) == known


class Leaking(Transformer):
    """Attends to what is to come, and forgets its cache's length."""

    def hidden(self, inputs, *, attention="causal", cache=None, **options):
        states = super().hidden(inputs, attention=attention, cache=cache, **options)
        return states + states.mean(dim=1, keepdim=True)


class Leaks(GPT):
    def build(self, vocab_size, max_length):
        model = super().build(vocab_size, max_length)
        model.__class__ = Leaking
        return model


def test_a_model_that_breaks_the_contract_is_found_out():
    with pytest.raises(ConformanceError, match=r"'gpt' breaks \d+ of") as broken:
        check_model(Leaks(layers=1, width=8, heads=2))
    lines = str(broken.value).splitlines()[1:]
    assert any("changes earlier logits" in line for line in lines)
    assert any(line.startswith("- Reading in pieces with a cache") for line in lines)
    assert not any(line.startswith("- Rows of a batch") for line in lines)
