"""The probability of a symbol that is spelled with several tokens, from one pass over the true answer."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Tokens = tuple[int, ...]


def spelled_mass(
    spelled: Sequence[Tokens],
    options: Int[np.ndarray, "#count options"],
    logits: Float[Tensor, "count answer vocab"],
    answer: Int[Tensor, "count answer"],
    at: Bool[Tensor, "count answer"],
) -> Float[np.ndarray, " count"]:
    """Return the probability on any of the `options` at the tokens `at` of each answer.

    spelled: the tokens of each symbol there. An option counts by its tokens up to the first that differs from
    the true symbol's: what would follow is not known. NaN where the answer's own tokens spell no symbol.
    """
    symbols = {spelling: symbol for symbol, spelling in enumerate(spelled)}
    log = logits.float().log_softmax(-1)
    of_answer = log.gather(2, answer[..., None])[..., 0].numpy(force=True)
    ids, places = answer.numpy(force=True), at.numpy(force=True)
    offered = np.broadcast_to(options, (len(answer), options.shape[1]))
    mass = np.zeros(len(answer))
    rows: list[int] = []
    columns: list[int] = []
    tokens: list[int] = []
    before: list[float] = []
    for row in range(len(answer)):
        (own,) = np.nonzero(places[row])
        true = tuple(ids[row, own].tolist())
        if true not in symbols:
            mass[row] = np.nan
            continue
        for depth, token in sorted({_parting(true, spelled[option]) for option in offered[row]}):
            rows.append(row)
            columns.append(int(own[depth]))
            tokens.append(token)
            before.append(of_answer[row, own[:depth]].sum())
    there: list[Tensor] = [
        torch.tensor(np.array(each), device=log.device) for each in (rows, columns, tokens)
    ]
    probability = np.exp(log[tuple(there)].numpy(force=True) + np.array(before))
    np.add.at(mass, rows, probability)
    return mass


def spelled_probabilities(
    spelled: Sequence[Tokens],
    logits: Float[Tensor, "count answer vocab"],
    answer: Int[Tensor, "count answer"],
    at: Bool[Tensor, "count answer"],
) -> Float[np.ndarray, "count symbols"]:
    """Return the probability of each symbol at the tokens `at` of each answer, as `spelled_mass` counts it.

    NaN for symbols that part from the true one with the same token, and where the answer's own tokens spell
    no symbol.
    """
    log = logits.float().log_softmax(-1)
    of_answer = log.gather(2, answer[..., None])[..., 0].numpy(force=True)
    ids, places = answer.numpy(force=True), at.numpy(force=True)
    each = np.full((len(answer), len(spelled)), np.nan)
    for row in range(len(answer)):
        (own,) = np.nonzero(places[row])
        true = tuple(ids[row, own].tolist())
        if true not in spelled:
            continue
        partings = [_parting(true, other) for other in spelled]
        depths, tokens = np.array(partings).T
        before = np.concatenate([[0.0], of_answer[row, own].cumsum()])
        there = log[row, torch.from_numpy(own[depths]), torch.from_numpy(tokens)].numpy(force=True)
        shared = Counter(partings)
        alone = np.array([shared[parting] == 1 for parting in partings])
        each[row, alone] = np.exp(before[depths] + there)[alone]
    return each


def _parting(true: Tokens, other: Tokens) -> tuple[int, int]:
    """Return where `other` first differs from `true`, and its token there; the last, if nowhere."""
    for depth, (ours, theirs) in enumerate(zip(true, other, strict=False)):
        if ours != theirs:
            return depth, theirs
    return len(true) - 1, true[-1]
