"""The task contract: a frozen config that generates problems and verifies answers. NumPy only."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from jaxtyping import Int, UInt64
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Order = Literal["forward", "reversed"]
Symbols = Int[np.ndarray, "count length"]
EMPTY: Mapping[str, Any] = MappingProxyType({})


AnyProblems = TypeVar("AnyProblems", bound="Problems")


@dataclass(frozen=True)
class Problems:
    """A batch of problems: arrays whose first axis is the problem."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def take(self: AnyProblems, index: slice | NDArray[np.generic]) -> AnyProblems:
        """Select problems, as NumPy indexes an array."""
        return type(self)(*(getattr(self, field.name)[index] for field in fields(self)))

    @classmethod
    def concatenate(cls: type[AnyProblems], parts: Sequence[AnyProblems]) -> AnyProblems:
        """Join batches end to end."""
        return cls(*(np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(cls)))


@dataclass(frozen=True)
class Verdicts:
    """What a verifier says of each answer.

    `kind[i]` indexes `kinds`; `kinds[0]` is "correct".
    """

    kinds: tuple[str, ...]
    kind: Int[np.ndarray, " count"]

    @property
    def exact(self) -> NDArray[np.bool_]:
        """Whether the whole answer is right, per problem."""
        return self.kind == 0

    def counts(self) -> dict[str, int]:
        """How many answers there are of each kind."""
        totals = np.bincount(self.kind, minlength=len(self.kinds))
        return dict(zip(self.kinds, totals.tolist(), strict=True))


class Task(BaseModel, ABC):
    """A generator of problems with exact answers. Equal configs generate equal problems.

    Symbols are integers that index `alphabet`. A prompt ends with the symbol after which the answer
    begins. Every array operation is vectorised over the problems.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    verdict_kinds: ClassVar[tuple[str, ...]]
    name: str

    @property
    @abstractmethod
    def alphabet(self) -> tuple[str, ...]:
        """The text of each symbol."""

    @property
    @abstractmethod
    def chance(self) -> float:
        """The best accuracy of a whole answer without lookahead."""

    @property
    @abstractmethod
    def decisive_positions(self) -> tuple[int, ...]:
        """Answer positions (forward order, from 0) that only lookahead gets right."""

    @property
    @abstractmethod
    def prompt_length(self) -> int:
        """Symbols in a prompt."""

    @property
    @abstractmethod
    def answer_length(self) -> int:
        """Symbols in an answer."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, count: int) -> Problems:
        """Draw `count` problems, uniformly over the task's space."""

    @abstractmethod
    def keys(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash each problem as a *problem*: equal for two prompts that ask the same thing."""

    @abstractmethod
    def prompts(self, problems: Problems) -> Symbols:
        """Write the prompts."""

    @abstractmethod
    def answers(self, problems: Problems) -> Symbols:
        """Write the true answers, in forward order."""

    @abstractmethod
    def score(self, problems: Problems, answers: Symbols) -> Verdicts:
        """Verify answers given in forward order, and name the kind of each error."""

    @abstractmethod
    def lines(self, problems: Problems, order: Order = "forward") -> list[str]:
        """Write each problem and its answer as one line of text."""

    @classmethod
    @abstractmethod
    def read_lines(
        cls, lines: Iterable[str], source: str, order: Order = "forward", known: Mapping[str, Any] = EMPTY
    ) -> tuple["Task", Problems]:
        """Read what `lines` wrote, and tell the task from it; `known` holds fields of the task given.

        Raises UserError with `source` and the line number.
        """

    @abstractmethod
    def draw(self, problems: Problems, index: int) -> list[str]:
        """Draw one problem for a terminal, a line of text per row."""


def in_order(answers: Symbols, order: Order) -> Symbols:
    """Turn answers from forward order into `order`, or back: the map is its own inverse."""
    return answers[:, ::-1] if order == "reversed" else answers
