"""The task contract: a frozen config that generates problems and verifies answers. NumPy only."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from jaxtyping import Bool, Int, Shaped, UInt64
from numpy.typing import NDArray

from unforced.parts import Part
from unforced.registry import TASKS, Registry

Order = Literal["forward", "reversed"]
Symbols = Int[np.ndarray, "count length"]
Marks = Bool[np.ndarray, "count length"]
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


class Task(Part, ABC):
    """A generator of problems with exact answers. Equal configs generate equal problems.

    Symbols are integers that index `alphabet`. A prompt ends with the symbol after which the answer
    begins. Every array operation is vectorised over the problems.
    """

    registry: ClassVar[Registry] = TASKS
    verdict_kinds: ClassVar[Mapping[str, str]]
    """The kinds of answers that `score` names, "correct" first, and what is wrong with one of each kind."""
    separator: ClassVar[str]
    """What stands between the symbols of an answer in a line of text."""

    @property
    @abstractmethod
    def topology(self) -> str:
        """The shape of the problems, as a row of a table names it: G(2,5)."""

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
        """Answer positions (forward order, from 0) that only lookahead gets right, in some problems.

        There may be none.
        """

    @property
    @abstractmethod
    def answer_symbols(self) -> int:
        """Answers are made of the symbols 0 .. answer_symbols - 1."""

    @property
    @abstractmethod
    def prompt_length(self) -> int:
        """Symbols in a prompt."""

    @property
    @abstractmethod
    def answer_length(self) -> int:
        """Symbols in an answer."""

    @abstractmethod
    def position_chances(self, given_answer: bool = True) -> tuple[float, ...]:
        """The best accuracy without lookahead at each answer position where it is decisive; 1 where never.

        given_answer: whether the true answer before the position is known (teacher forcing), or nothing but
        the prompt.
        """

    @abstractmethod
    def sample(self, rng: np.random.Generator, count: int) -> Problems:
        """Draw `count` problems, uniformly over the task's space."""

    @abstractmethod
    def keys(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash each problem as a *problem*: equal for two prompts that ask the same thing."""

    @abstractmethod
    def families(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash what a problem shares with those that ask something else of the same material.

        A family falls to one split as a whole: who has learned one of its problems by heart has learned
        something of the others (path-star: another goal in the same graph).
        """

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
    def decisive(self, problems: Problems) -> Marks:
        """Mark the answer positions, in forward order, that only lookahead gets right."""

    @abstractmethod
    def followers(self, problems: Problems) -> Marks:
        """Mark the positions that the true answer before them gives away without lookahead.

        They are what the Clever Hans cheat fits (arXiv 2403.06963, Sec. 4): given away by teacher forcing,
        whether or not the prompt gives them too (as it does path-star's goal). Positions that are neither
        these nor decisive have no answer before them to read (path-star's start) or take nothing from it
        (addition's last column).
        """

    @abstractmethod
    def stated(self, problems: Problems) -> Marks:
        """Mark the positions whose true symbol the prompt names as such (path-star: the start, the goal)."""

    @abstractmethod
    def options(self, problems: Problems, position: int) -> Symbols:
        """Return what someone who does not look ahead chooses from at a position where it is decisive.

        The true symbol comes first; the others are distinct from it.
        """

    @abstractmethod
    def decoys(self, problems: Problems) -> Int[np.ndarray, "count decoys length"]:
        """Return counterfactual answers: one decision made wrongly, and all that it entails.

        There may be none (`decoys` = 0), where nothing is decisive or a wrong decision entails nothing
        definite.
        """

    @abstractmethod
    def other_questions(self, problems: Problems) -> list[Problems]:
        """Return counterfactual prompts: batches alike but for what is asked, so that decisions change.

        They are of the same family. A problem that cannot be altered so may stay as it is. The list may be
        empty.
        """

    @abstractmethod
    def prompt_lines(self, problems: Problems) -> list[str]:
        """Write each prompt as text, up to the `=` behind which the answer stands."""

    @abstractmethod
    def instruction(self, order: Order) -> str:
        """Say in plain English how a line of text is to be read, what is asked, and how to answer.

        It names every sign that separates symbols, and gives no example.
        """

    def answer_lines(self, answers: Symbols) -> list[str]:
        """Write answers as text, in the order in which they are given."""
        texts = self.alphabet
        return [self.separator.join([texts[symbol] for symbol in row]) for row in answers.tolist()]

    def read_answers(self, lines: Sequence[str], length: int | None = None) -> Symbols:
        """Read what `answer_lines` wrote, whatever else it may be; `length` symbols (whole answers, if None).

        What is no symbol of an answer becomes -1, as does what is not there; of an answer that is too long,
        so does the last symbol.
        """
        length = self.answer_length if length is None else length
        symbols = {text: symbol for symbol, text in enumerate(self.alphabet[: self.answer_symbols])}
        answers = np.full((len(lines), length), -1, dtype=np.int64)
        for row, line in zip(answers, lines, strict=True):
            parts = line.split(self.separator) if self.separator else list(line.strip())
            known = [symbols.get(part.strip(), -1) for part in parts[:length]]
            row[: len(known)] = known
            if len(parts) > length:
                row[-1] = -1
        return answers

    def lines(self, problems: Problems, order: Order = "forward") -> list[str]:
        """Write each problem and its answer as one line of text."""
        answers = self.answer_lines(in_order(self.answers(problems), order))
        return [prompt + answer for prompt, answer in zip(self.prompt_lines(problems), answers, strict=True)]

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

    @abstractmethod
    def drawing(self, problems: Problems, index: int) -> dict[str, Any]:
        """Say what a picture of one problem shows, as JSON values; empty where there is nothing to draw.

        A graph has `edges` (pairs of symbols' texts, as the prompt lists them), a `start` and a `goal`.
        """


def in_order(answers: Shaped[np.ndarray, "count length"], order: Order) -> Shaped[np.ndarray, "count length"]:
    """Turn answers (or marks on them) from forward order into `order`, or back: it is its own inverse."""
    return answers[:, ::-1] if order == "reversed" else answers
