"""Problems, answers and verdicts as arrays whose first axis is the problem."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Bool, Int, Shaped
from numpy.typing import NDArray

Order = Literal["forward", "reversed"]
Symbols = Int[np.ndarray, "count length"]
Marks = Bool[np.ndarray, "count length"]

END = -1
"""Stands behind the end of an answer, and before the beginning of a prompt, where lengths differ."""
NOT_A_SYMBOL = -2
"""What is not a symbol of an answer, in tasks whose answers vary in length; in others it is -1."""

AnyProblems = TypeVar("AnyProblems", bound="Problems")


@lru_cache(maxsize=16)
def numerals(count: int) -> tuple[str, ...]:
    """Write the numbers below `count`: symbols of many alphabets."""
    return tuple(map(str, range(count)))


@dataclass(frozen=True)
class Problems:
    """A batch of problems: arrays whose first axis is the problem."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def take(self: AnyProblems, index: slice | NDArray[np.generic]) -> AnyProblems:
        """Select problems, as NumPy indexes an array."""
        return type(self)(*(getattr(self, each.name)[index] for each in fields(self)))

    @classmethod
    def concatenate(cls: type[AnyProblems], parts: Sequence[AnyProblems]) -> AnyProblems:
        """Join batches end to end."""
        return cls(*(np.concatenate([getattr(p, each.name) for p in parts]) for each in fields(cls)))

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the arrays take."""
        return sum(int(getattr(self, each.name).nbytes) for each in fields(self))


@dataclass(frozen=True)
class Verdicts:
    """A verifier's verdict on each answer.

    `kind[i]` indexes `kinds`; `kinds[0]` is "correct". `slices` sorts the problems: a number per problem
    under the name of what is counted (the length of the true answer, say); accuracies are also measured in
    each slice. `parts` are pieces of an answer that are judged by themselves: 1 right, 0 wrong, -1 where the
    problem has no such part.
    """

    kinds: tuple[str, ...]
    kind: Int[np.ndarray, " count"]
    slices: Mapping[str, Int[np.ndarray, " count"]] = field(default_factory=dict)
    parts: Mapping[str, Int[np.ndarray, " count"]] = field(default_factory=dict)

    @property
    def exact(self) -> NDArray[np.bool_]:
        """Whether the whole answer is right, per problem."""
        return self.kind == 0

    def counts(self) -> dict[str, int]:
        """How many answers there are of each kind."""
        totals = np.bincount(self.kind, minlength=len(self.kinds))
        return dict(zip(self.kinds, totals.tolist(), strict=True))


def in_order(
    answers: Shaped[np.ndarray, "count length"],
    order: Order,
    lengths: Int[np.ndarray, " count"] | None = None,
) -> Shaped[np.ndarray, "count length"]:
    """Turn answers (or marks on them) from forward order into `order`, or back: it is its own inverse.

    lengths: how many symbols each answer has; what stands behind them stays there. None: all of the row.
    """
    if order == "forward":
        return answers
    if lengths is None:
        return answers[:, ::-1]
    place = np.arange(answers.shape[1])[None]
    index = np.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)
    turned: Shaped[np.ndarray, "count length"] = np.take_along_axis(answers, index, axis=1)
    return turned


def answer_lengths(answers: Symbols) -> Int[np.ndarray, " count"]:
    """Count the symbols before the end of each answer."""
    ended = answers == END
    lengths: Int[np.ndarray, " count"] = np.where(ended.any(axis=1), ended.argmax(axis=1), answers.shape[1])
    return lengths
