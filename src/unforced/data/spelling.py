"""The probability of a symbol that is spelled with several tokens, from one pass over the true answer.

A symbol counts by its tokens up to the first that differs from the true symbol's: what would follow is not
known.

    true  7 0 ,     p(71) = p(7) p(1 after 7)     p(110) = p(1), and so has every symbol that begins with 1
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Spelled:
    """How probable each symbol is, per answer; NaN where an answer's tokens spell no symbol.

    parting: equal numbers for symbols that part from the true one with the same token, whose probability
    they share.
    """

    probability: Float[np.ndarray, "count symbols"]
    parting: Int[np.ndarray, "count symbols"]

    @classmethod
    def of(
        cls,
        spelled: Sequence[Tokens],
        logits: Float[Tensor, "count answer vocab"],
        answer: Int[Tensor, "count answer"],
        at: Bool[Tensor, "count answer"],
    ) -> "Spelled":
        """Read logits at the tokens `at` of each answer; `spelled` holds the tokens of each symbol there."""
        (used,) = np.nonzero(at.any(dim=0).numpy(force=True))
        columns = torch.from_numpy(used).to(answer.device)
        log, ids = logits[:, columns].float().log_softmax(-1), answer[:, columns]
        of_answer = log.gather(2, ids[..., None])[..., 0].numpy(force=True)
        own, true = at[:, columns].numpy(force=True), ids.numpy(force=True)
        symbols = set(spelled)
        known: dict[
            Tokens, tuple[np.ndarray, np.ndarray, np.ndarray]
        ] = {}  # of those that are true somewhere
        probability = np.full((len(answer), len(spelled)), np.nan)
        parting = np.zeros(probability.shape, dtype=np.int64)
        for row in range(len(answer)):
            places = np.flatnonzero(own[row])
            spelling = tuple(true[row, places].tolist())
            if spelling not in symbols:
                continue
            if spelling not in known:
                known[spelling] = _partings(spelling, spelled)
            depths, tokens, parting[row] = known[spelling]
            before = np.concatenate([[0.0], of_answer[row, places].cumsum()])
            there = log[row, torch.from_numpy(places[depths]), torch.from_numpy(tokens)].numpy(force=True)
            probability[row] = np.exp(before[depths] + there)
        return cls(probability, parting)

    def of_any(self, choices: Int[np.ndarray, "#count choices"]) -> Float[np.ndarray, " count"]:
        """Return the probability on any of the choices; equal splits count once."""
        choices = np.broadcast_to(choices, (len(self.probability), choices.shape[1]))
        each, parting = (np.take_along_axis(of, choices, 1) for of in (self.probability, self.parting))
        again = np.tril(parting[:, :, None] == parting[:, None, :], k=-1).any(axis=2)
        return np.where(again, 0.0, each).sum(axis=1)

    def apart(self) -> Float[np.ndarray, "count symbols"]:
        """Return the probability of each symbol; NaN where several share it."""
        shared = (self.parting[:, :, None] == self.parting[:, None, :]).sum(axis=2) > 1
        return np.where(shared, np.nan, self.probability)


def _partings(true: Tokens, spelled: Sequence[Tokens]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where each symbol parts from the true one, its token there, and a number per parting."""
    partings = [_parting(true, other) for other in spelled]
    number = {parting: i for i, parting in enumerate(dict.fromkeys(partings))}
    depths, tokens = np.array(partings).T
    return depths, tokens, np.array([number[parting] for parting in partings])


def _parting(true: Tokens, other: Tokens) -> tuple[int, int]:
    """Return where `other` first differs from `true`, and its token there; the last, if nowhere."""
    for depth, (ours, theirs) in enumerate(zip(true, other, strict=False)):
        if ours != theirs:
            return depth, theirs
    return len(true) - 1, true[-1]
