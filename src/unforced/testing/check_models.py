"""Whether a model keeps to the contract of `unforced.models.base`.

from unforced.testing import check_model

def test_gru():
    check_model(GRU(layers=1, width=16))
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from unforced.models.base import ModelConfig, SequenceModel
from unforced.testing.rules import ConformanceError, DoesNotApplyError, check_all, require

VOCAB, LENGTH, BATCH = 13, 8, 3
_CPU = torch.device("cpu")
_LENGTHS = ([8, 5, 3], [8, 5, 1])


@dataclass
class ModelSubject:
    """A model to be checked. Its weights are random: none stands at zero or one."""

    config: ModelConfig

    @cached_property
    def model(self) -> SequenceModel:
        """The model, with noise added to every parameter, so that each matters."""
        return self.build()

    def build(self) -> SequenceModel:
        """Build the same model once more."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return disturbed(self.config.build(VOCAB, LENGTH))

    @property
    def tokens(self) -> Tensor:
        """Three sequences of eight tokens."""
        return torch.randint(VOCAB, (BATCH, LENGTH), generator=torch.Generator().manual_seed(2))


def check_model(config: ModelConfig) -> None:
    """Check a model that a config builds. Raises ConformanceError: a line for each rule that is broken.

    Give a small config: a layer or two of width 16. It is built for a vocabulary of 13 tokens.
    """
    subject = ModelSubject(config)
    check_all(f"model {config.name!r}", MODEL_RULES, lambda: subject)


def disturbed(module: Any) -> Any:
    """Add noise to every parameter of a module."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return module


def logits(model: SequenceModel, inputs: Tensor, **options: Any) -> Tensor:
    """Return the logits of a model, without gradients."""
    with torch.no_grad():
        return model.logits(model.hidden(inputs, **options))


def close(one: Tensor, other: Tensor, atol: float = 2e-5) -> bool:
    """Whether two tensors have one shape and, but for rounding, one content."""
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=atol)


def padded(tokens: Tensor, lengths: Sequence[int], padding: int, side: str) -> tuple[Tensor, Tensor]:
    """Keep the first `lengths` tokens of each row, with `padding` on one side; mark which are real."""
    width = max(lengths)
    real = torch.tensor([[i < length for i in range(width)] for length in lengths])
    real = real.flip(1) if side == "left" else real
    rows = torch.full((len(lengths), width), padding)
    rows[real] = torch.cat([row[:length] for row, length in zip(tokens, lengths, strict=True)])
    return rows, real


def _paddings(tokens: Tensor) -> list[tuple[str, Tensor, Tensor | None]]:
    sides = [(side, *padded(tokens, _LENGTHS[0], 0, side)) for side in ("left", "right")]
    return [("no", tokens, None), *sides]


def _causal() -> Tensor:
    return torch.ones(1, LENGTH, LENGTH, dtype=torch.bool).tril()


def _apart(one: Tensor, other: Tensor, what: str) -> None:
    if not close(one, other):
        raise ConformanceError(f"{what}: {_distance(one, other)}")


def _distance(one: Tensor, other: Tensor) -> str:
    if one.shape != other.shape:
        return f"shapes {tuple(one.shape)} and {tuple(other.shape)}"
    return f"they differ by up to {(one - other).abs().max().item():.2g}"


def shapes(subject: ModelSubject) -> None:
    """Hidden states and logits have the sizes that the model names."""
    model, hidden = subject.model, subject.model.hidden(subject.tokens)
    require(model.vocab_size == VOCAB, f"vocab_size is {model.vocab_size}, not {VOCAB}")
    require(hidden.shape == (BATCH, LENGTH, model.width), f"hidden has the shape {tuple(hidden.shape)}")
    found = tuple(model.logits(hidden).shape)
    require(found == (BATCH, LENGTH, VOCAB), f"logits have the shape {found}")


def causality(subject: ModelSubject) -> None:
    """A token changes its own logits and later ones, but no earlier one."""
    before = logits(subject.model, subject.tokens)
    for changed in range(LENGTH):
        other = subject.tokens
        other[:, changed] = (other[:, changed] + 1) % VOCAB
        after = logits(subject.model, other)
        _apart(before[:, :changed], after[:, :changed], f"token {changed} changes earlier logits")
        later = (before - after)[:, changed:].abs().amax(-1)
        require((later > 1e-4).all(), f"token {changed} does not change all logits from there on")


def separate_rows(subject: ModelSubject) -> None:
    """Rows of a batch do not see each other."""
    model, tokens = subject.model, subject.tokens
    together = logits(model, tokens)
    for row in range(BATCH):
        _apart(together[row : row + 1], logits(model, tokens[row : row + 1]), f"row {row} alone")
    _apart(logits(model, tokens[[2, 0, 1]]), together[[2, 0, 1]], "rows in another order")


def steps(subject: ModelSubject) -> None:
    """Asking `at` some steps equals asking at all and selecting; their gradients, too."""
    model = subject.model
    chosen: list[slice | Tensor] = [
        slice(None),
        slice(3, None),
        slice(2, 5),
        slice(-1, None),
        slice(0, 8, 3),
        torch.tensor([6, 0, 3]),
    ]
    by_row = torch.tensor([[6, 0], [3, 3], [1, 7]])
    for side, tokens, real in _paddings(subject.tokens):
        whole = logits(model, tokens, padding=real)
        for at in chosen:
            _apart(
                logits(model, tokens, query_positions=at, padding=real),
                whole[:, at],
                f"query_positions={at}, {side} padding",
            )
        expected = torch.stack([row[at] for row, at in zip(whole, by_row, strict=True)])
        found = logits(model, tokens, query_positions=by_row, padding=real)
        _apart(found, expected, f"query_positions=indices per row, {side} padding")

    def gradients(hidden: Tensor) -> list[Tensor | None]:
        model.zero_grad()
        model.logits(hidden).square().sum().backward()
        return [None if p.grad is None else p.grad.clone() for p in model.parameters()]

    pairs = zip(
        gradients(model.hidden(subject.tokens, query_positions=slice(5, None))),
        gradients(model.hidden(subject.tokens)[:, 5:]),
        strict=True,
    )
    for some, all_ in pairs:
        if some is not None and all_ is not None:
            tolerance = 1e-3 * all_.abs().max().item()
            require(close(some, all_, tolerance), "gradients at some steps are not those of all, selected")


def default_positions(subject: ModelSubject) -> None:
    """Positions count from zero where none are given."""
    model, tokens, positions = subject.model, subject.tokens, torch.arange(LENGTH)[None]
    for given in (positions, positions.expand(BATCH, -1)):
        _apart(
            logits(model, tokens, positions=given), logits(model, tokens), f"positions {tuple(given.shape)}"
        )


def attention_kinds(subject: ModelSubject) -> None:
    """Config and model name the same kinds of attention, and others are refused with ValueError."""
    model, tokens = subject.model, subject.tokens
    kinds = model.attends
    require(
        subject.config.attends == kinds,
        f"the config names {set(subject.config.attends)}, the model {set(kinds)}",
    )
    require("causal" in kinds <= {"causal", "full", "mask"}, f"attends is {set(kinds)}")
    asked: list[tuple[str, Any]] = [("full", "full"), ("mask", _causal()), ("mask", _causal().mT)]
    for kind, attention in asked:
        if kind in kinds:
            require(logits(model, tokens, attention=attention).isfinite().all(), f"{kind}: not finite")
            continue
        try:
            logits(model, tokens, attention=attention)
        except ValueError:
            continue
        require(False, f"attention that is {kind} is neither named nor refused (call check_attention)")


def masks(subject: ModelSubject) -> None:
    """An attention mask is followed: a causal one is causal attention, and hidden keys do not matter."""
    model, tokens = subject.model, subject.tokens
    if "mask" not in model.attends:
        raise DoesNotApplyError
    expected = logits(model, tokens)
    for mask in (_causal(), _causal().expand(BATCH, -1, -1)):
        _apart(logits(model, tokens, attention=mask), expected, f"a causal mask {tuple(mask.shape)}")
    other = (tokens + 1) % VOCAB
    other[:, -1] = tokens[:, -1]
    alone = torch.eye(LENGTH, dtype=torch.bool)[None]
    one, two = (logits(model, each, attention=alone)[:, -1] for each in (tokens, other))
    _apart(one, two, "tokens that a step may not attend to matter")
    require(not close(expected[:, -1], logits(model, other)[:, -1], 1e-2), "tokens before do not matter")
    stretched = torch.tensor([[0, 1, 2, 4, 5, 6, 6, 7]])
    moved = logits(model, tokens, positions=stretched)
    require(not close(moved, expected, 1e-2), "positions do not matter")


def full_attention(subject: ModelSubject) -> None:
    """Full attention sees every real token and no padding."""
    model, tokens = subject.model, subject.tokens
    if "full" not in model.attends:
        raise DoesNotApplyError
    for side, rows, real in _paddings(tokens):
        lengths = _LENGTHS[0] if real is not None else [LENGTH] * BATCH
        found = logits(model, rows, padding=real, attention="full")
        real = torch.ones_like(rows, dtype=torch.bool) if real is None else real
        for i, length in enumerate(lengths):
            row = tokens[i : i + 1, :length]
            everywhere = torch.ones(1, length, length, dtype=torch.bool)
            expected = logits(model, row, attention=everywhere) if "mask" in model.attends else None
            alone = logits(model, row, attention="full") if expected is None else expected
            _apart(found[i : i + 1, real[i]], alone, f"row {i}, {side} padding")
            require(not close(alone, logits(model, row), 1e-2), "it is causal")


def pieces(subject: ModelSubject) -> None:
    """Reading in pieces with a cache equals reading at once; its `length` counts what was read."""
    model, tokens = subject.model, subject.tokens
    expected = logits(model, tokens)
    for cuts in ([], [1], [7], [3, 4], [1, 2, 5, 7], list(range(1, LENGTH))):
        for by_padding in (False, True):
            cache, read = model.new_cache(BATCH, LENGTH), []
            for start, end in pairwise([0, *cuts, LENGTH]):
                require(cache.length == start, f"the cache's length is {cache.length} after {start} tokens")
                padding = torch.ones(1, end, dtype=torch.bool) if by_padding else None
                read.append(logits(model, tokens[:, start:end], cache=cache, padding=padding))
            _apart(torch.cat(read, dim=1), expected, f"cut at {cuts}")


def forks(subject: ModelSubject) -> None:
    """Several forks of a cache continue from its contents and leave it unchanged."""
    model, tokens = subject.model, subject.tokens
    cache, expected = model.new_cache(BATCH, LENGTH), logits(model, tokens)
    logits(model, tokens[:, :5], cache=cache)
    for end in (6, 8):
        found = logits(model, tokens[:, 5:end], cache=cache.fork())
        _apart(found, expected[:, 5:end], f"a fork that reads up to token {end}")
        require(cache.length == 5, f"a fork changed the cache's length to {cache.length}")


def padding(subject: ModelSubject) -> None:
    """Padding changes nothing, whatever token it is, on either side, with a cache, too."""
    model, tokens = subject.model, subject.tokens
    for fill in (0, VOCAB - 1):
        for side in ("left", "right"):
            rows, real = padded(tokens, _LENGTHS[1], fill, side)
            found = logits(model, rows, padding=real)
            require(found.isfinite().all(), f"{side} padding by token {fill}: logits are not finite")
            for i, length in enumerate(_LENGTHS[1]):
                alone = logits(model, tokens[i : i + 1, :length])
                _apart(found[i : i + 1, real[i]], alone, f"row {i}, {side} padding by token {fill}")
    lengths = [6, 4, 1]
    rows, real = padded(tokens, lengths, 0, "left")
    cache = model.new_cache(BATCH, LENGTH)
    logits(model, rows, padding=real, cache=cache)
    real = torch.cat([real, torch.ones(BATCH, 1, dtype=torch.bool)], dim=1)
    found = logits(model, tokens[:, 7:], padding=real, cache=cache)
    for i, length in enumerate(lengths):
        whole = torch.cat([tokens[i, :length], tokens[i, 7:]])[None]
        _apart(found[i : i + 1], logits(model, whole)[:, -1:], f"row {i}, left padding in a cache")


def gradients(subject: ModelSubject) -> None:
    """Every parameter gets a gradient."""
    model = subject.model
    model.zero_grad()
    model.logits(model.hidden(subject.tokens)).logsumexp(-1).sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            require(parameter.grad is not None, f"{name} has no gradient; is it used?")
            assert parameter.grad is not None
            require(parameter.grad.isfinite().all(), f"the gradient of {name} is not finite")
            require(parameter.grad.any(), f"the gradient of {name} is zero; is it used?")


def seeds(subject: ModelSubject) -> None:
    """Equal seeds build equal weights, and others do not."""

    def weights(seed: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            built = subject.config.build(VOCAB, LENGTH)
        return torch.cat([parameter.detach().flatten() for parameter in built.parameters()])

    require(torch.equal(weights(5), weights(5)), "one seed builds two models")
    require(not torch.equal(weights(5), weights(6)), "two seeds build one model")


def kernels(subject: ModelSubject) -> None:
    """Selecting kernels names them, keeps known ones, and leaves the logits."""
    model, again, tokens = subject.build(), subject.build(), subject.tokens
    before = logits(model, tokens)
    choices = model.select_kernels(_CPU, torch.float32, LENGTH, {})
    texts = [text for pair in choices.items() for text in pair]
    require(all(isinstance(text, str) for text in texts), f"select_kernels returns {choices}")
    kept = again.select_kernels(_CPU, torch.float32, LENGTH, choices)
    require(kept == choices, f"known kernels {choices} become {kept}")
    for each in (model, again):
        _apart(logits(each, tokens), before, "other kernels give other logits")


def embeddings(subject: ModelSubject) -> None:
    """`hidden` takes what `embed` returns in place of the tokens, and other embeddings, with gradients."""
    model = subject.model
    for side, tokens, real in _paddings(subject.tokens):
        embedded = model.embed(tokens, padding=real)
        found = tuple(embedded.shape)
        require(found == (*tokens.shape, model.width), f"embed returns the shape {found}")
        by_embedding, by_token = (logits(model, each, padding=real) for each in (embedded, tokens))
        _apart(by_embedding, by_token, f"embeddings of tokens, {side} padding")
    tokens, cache = subject.tokens, model.new_cache(BATCH, LENGTH)
    first = logits(model, tokens[:, :5], cache=cache)
    rest = logits(model, model.embed(tokens[:, 5:], cache=cache), cache=cache)
    _apart(torch.cat([first, rest], dim=1), logits(model, tokens), "embeddings behind a cache")
    soft = model.embed(tokens).detach().requires_grad_()
    model.logits(model.hidden(soft, query_positions=slice(-1, None))).logsumexp(-1).sum().backward()
    reached = soft.grad is not None and bool((soft.grad.abs().amax(-1) > 0).all())
    require(reached, "embeddings get no gradient")


def trunk(subject: ModelSubject) -> None:
    """`trunk` names the sizes, and builds a twin of the same shape with weights of its own."""
    model = subject.model
    parts = model.trunk()
    sizes = (parts.width, parts.vocab_size, parts.max_length)
    require(sizes == (model.width, VOCAB, LENGTH), f"width, vocab_size and max_length are {sizes}")
    block, twin = parts.block(), parts.twin()
    own = {*map(id, model.parameters())}
    others = {*map(id, block.parameters()), *map(id, twin.parameters())}
    require(not own & others, "block or twin shares parameters with the model")
    require([p.shape for p in twin.parameters()] == [p.shape for p in model.parameters()], "the twin differs")
    require(
        logits(twin, subject.tokens).shape == (BATCH, LENGTH, VOCAB), "the twin's logits have another shape"
    )


def block(subject: ModelSubject) -> None:
    """A block of `trunk` is a causal layer that keeps padding out, and attends fully where it is asked to."""
    model = subject.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        layer = disturbed(model.trunk().block())
    states = torch.randn(BATCH, LENGTH, model.width, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        before = layer(states)
        require(before.shape == states.shape, f"it returns the shape {tuple(before.shape)}")
        other = torch.cat([states[:, :4], -states[:, 4:]], dim=1)
        asked = layer(states, query_positions=slice(2, 5))
        _apart(asked, before[:, 2:5], "states at query_positions differ from those of all positions")
        _apart(layer(other)[:, :4], before[:, :4], "later states change earlier ones")
        changed, unchanged = (layer(each, attention="full")[:, :4] for each in (other, states))
        require(not close(changed, unchanged, 1e-2), 'attention="full" is causal')
        real = torch.arange(LENGTH) >= 3
        shifted = torch.cat([torch.zeros_like(states[:, :3]), states[:, :5]], dim=1)
        _apart(layer(shifted, padding=real[None])[:, 3:], before[:, :5], "padding on the left matters")


def emptiness(subject: ModelSubject) -> None:
    """`build_empty` builds the same shapes without weights."""
    empty = subject.config.build_empty(VOCAB, LENGTH)
    require(all(parameter.is_meta for parameter in empty.parameters()), "some parameters have weights")
    wanted, found = ({n: p.shape for n, p in each.named_parameters()} for each in (subject.model, empty))
    require(found == wanted, f"parameters differ: {sorted(set(found.items()) ^ set(wanted.items()))[:2]}")


MODEL_RULES = (
    shapes,
    causality,
    separate_rows,
    steps,
    default_positions,
    attention_kinds,
    masks,
    full_attention,
    pieces,
    forks,
    padding,
    gradients,
    seeds,
    kernels,
    embeddings,
    trunk,
    block,
    emptiness,
)
