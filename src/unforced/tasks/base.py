"""The task contract: a frozen config that generates problems and verifies answers. NumPy only."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int, UInt64

from unforced.parts import Part
from unforced.registry import TASKS, Registry
from unforced.tasks.capabilities import Lookahead, Pictures, PromptReader, SetScore, TextFormat
from unforced.tasks.lines import read_prompts
from unforced.tasks.problems import (
    END,
    AnyProblems,
    Marks,
    Order,
    Problems,
    Symbols,
    Verdicts,
    answer_lengths,
    in_order,
)
from unforced.tasks.published import Published, Source

__all__ = [
    "EMPTY",
    "EVERY_SPLIT",
    "AnyProblems",
    "Marks",
    "Order",
    "Problems",
    "Symbols",
    "Task",
    "Verdicts",
    "in_order",
    "owners_by_hash",
]

EMPTY: Mapping[str, Any] = MappingProxyType({})
EVERY_SPLIT: Mapping[str, float] = MappingProxyType({"train": 0.8, "validation": 0.1, "test": 0.1})
"""The splits that every task has, with their shares."""


def owners_by_hash(
    hashes: UInt64[np.ndarray, " count"], shares: Iterable[float]
) -> Int[np.ndarray, " count"]:
    """Give each hash to a split, by number, so that each split gets its share."""
    bounds = np.cumsum(list(shares))[:-1] * 2.0**64
    return np.searchsorted(bounds.astype(np.uint64), hashes, side="right")


class Task(Part, ABC):
    """A generator of problems with exact answers. Equal configs generate equal problems.

    Symbols are integers that index `alphabet`. A prompt ends with the symbol after which the answer
    begins. Every array operation is vectorised over the problems. What is abstract here is all that training
    and evaluation need; the rest has defaults, which say that something is unknown or is not offered.
    """

    registry: ClassVar[Registry] = TASKS
    verdict_kinds: ClassVar[Mapping[str, str]]
    """The kinds of answers that `score` names, "correct" first, and what is wrong with one of each kind."""
    block_size: ClassVar[int] = 4096
    """How many problems of a split are made at once: fewer, where each is slow to make."""
    sources: ClassVar[tuple[Source, ...]] = ()
    """What defines the task, the first; then what else its settings are from. None: it is ours."""
    published: ClassVar[tuple[Published, ...]] = ()
    """Numbers that others report on it."""
    shown: ClassVar[tuple[Mapping[str, Any], ...]] = (EMPTY,)
    """Settings whose sizes the gallery lists; the first are those of its example."""

    def __str__(self) -> str:
        return self.topology

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
    def answer_symbols(self) -> int:
        """Answers are made of the symbols 0 .. answer_symbols - 1."""

    @property
    @abstractmethod
    def prompt_length(self) -> int:
        """Symbols in the longest prompt."""

    @property
    @abstractmethod
    def answer_length(self) -> int:
        """Symbols in the longest answer, wrong ones included."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, count: int) -> Problems:
        """Draw `count` problems, uniformly over the task's space."""

    @abstractmethod
    def keys(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash each problem as a *problem*: equal for two prompts that ask the same thing."""

    @abstractmethod
    def prompts(self, problems: Problems) -> Symbols:
        """Write the prompts; where they vary in length, -1 stands before the shorter ones."""

    @abstractmethod
    def answers(self, problems: Problems) -> Symbols:
        """Write a right answer to each problem, in forward order: the reference that models train on.

        Where answers vary in length, -1 stands behind the end of the shorter ones.
        """

    @abstractmethod
    def score(self, problems: Problems, answers: Symbols) -> Verdicts:
        """Verify answers given in forward order, and name the kind of each error; all right ones count."""

    @property
    def chance(self) -> float | None:
        """The best accuracy of a whole answer without lookahead; None if it is unknown."""
        return None

    @property
    def varied(self) -> bool:
        """Whether answers vary in length, so that each is closed by a token of its own."""
        return False

    @property
    def unique_answer(self) -> bool:
        """Whether a problem has one right answer; else token accuracies are agreement with a reference."""
        return True

    @property
    def splits(self) -> Mapping[str, float]:
        """The share of problems that falls to each split; train, validation and test are always there."""
        return EVERY_SPLIT

    @property
    def ready(self) -> bool:
        """Whether its settings name all that it needs: not so where a file is still to be named."""
        return True

    def listed(self, split: str) -> Problems | None:
        """All problems of a split, where they are a list; None: they are drawn by `sample`, without end.

        A run's stream of a listed split is the list in an order of the run's seed, again and again.
        """
        return None

    def place(self, problems: Problems, row: int) -> str:
        """Say where a problem came from, as in `data.jsonl:17`; empty where it was drawn."""
        return ""

    @property
    def notice(self) -> str:
        """What to know of a file's problems before training on them, in a line; empty: nothing."""
        return ""

    def check_data(self) -> None:
        """Raise UserError if a file that the settings name cannot be read, or holds something else."""

    def check_new_symbols(self) -> None:
        """Raise UserError if a model to which all symbols are new could not learn each in training."""

    def families(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash what a problem shares with those that ask something else of the same material.

        A family falls to one split as a whole: a model that memorised one of its problems knows something of
        the others (path-star: another goal in the same graph). By default each problem is a family.
        """
        return self.keys(problems)

    def owners(self, problems: Problems) -> Int[np.ndarray, " count"]:
        """Number the split, in the order of `splits`, that owns each problem; by a hash of its family."""
        return owners_by_hash(self.families(problems), self.splits.values())

    @property
    def lookahead(self) -> Lookahead | None:
        """What only lookahead gets right; None if it is unknown."""
        return None

    @property
    def text(self) -> TextFormat:
        """How problems are written as text: by default, the symbols with spaces between them."""
        return self.text_format(" ", self.spaced, self._instruction)

    @property
    def pictures(self) -> Pictures | None:
        """How problems are drawn; None: as their text."""
        return None

    @property
    def of_a_set(self) -> SetScore | None:
        """How a set of answers is scored, where answers are not scored one by one alone."""
        return None

    # What follows is not overridden.

    def text_format(
        self,
        separator: str,
        prompts: Any,
        instruction: Any,
        reader: Any = None,
        prompt_reader: PromptReader | None = None,
    ) -> TextFormat:
        """Build a text format for this task's symbols; see `TextFormat`."""
        symbols = self.alphabet[: self.answer_symbols]
        shape = symbols, separator, self.answer_length, self.varied
        return TextFormat(*shape, prompts, instruction, reader, prompt_reader)

    def read_spaced(self, prompts: Sequence[str]) -> Symbols:
        """Read what `spaced` wrote: symbols, with -1 before the shorter ones. Raises UserError."""
        numbers = {text: symbol for symbol, text in reversed([*enumerate(self.alphabet)])}
        rows = np.full((len(prompts), self.prompt_length), END, dtype=np.int64)

        def parse(prompt: str) -> list[int]:
            signs = prompt.split()
            if strange := [sign for sign in signs if sign not in numbers]:
                raise ValueError(f"{strange[0]!r} is not one of its symbols")
            if not 0 < len(signs) <= self.prompt_length:
                raise ValueError(f"it has {len(signs)} symbols; a prompt has 1 to {self.prompt_length}")
            return [numbers[sign] for sign in signs]

        for row, symbols in zip(rows, read_prompts(prompts, f"a prompt of {self.name}", parse), strict=True):
            row[len(row) - len(symbols) :] = symbols
        return rows

    @property
    def decisive_positions(self) -> tuple[int, ...]:
        """Answer positions that only lookahead gets right, in some problems; empty if they are unknown."""
        return () if self.lookahead is None else self.lookahead.decisive_positions

    def lengths(self, answers: Symbols) -> Int[np.ndarray, " count"] | None:
        """Count the symbols of each answer; None where all answers have the same length."""
        return answer_lengths(answers) if self.varied else None

    def exists(self, answers: Symbols) -> Marks:
        """Mark the positions that each answer has."""
        lengths = answer_lengths(answers) if self.varied else np.full(len(answers), answers.shape[1])
        return np.arange(answers.shape[1]) < lengths[:, None]

    def in_order(self, answers: Symbols, order: Order) -> Symbols:
        """Turn answers from forward order into `order`, or back: the end stays where it is."""
        return in_order(answers, order, self.lengths(answers))

    def texts(self, problems: Problems, order: Order = "forward") -> list[tuple[str, str]]:
        """Write each problem and its reference answer as a pair of texts."""
        answers = self.text.answers(self.in_order(self.answers(problems), order))
        return list(zip(self.text.prompts(problems), answers, strict=True))

    def lines(self, problems: Problems, order: Order = "forward") -> list[str]:
        """Write each problem and its reference answer as one line of text."""
        return [prompt + answer for prompt, answer in self.texts(problems, order)]

    def drawing(self, problems: Problems, index: int) -> dict[str, Any]:
        """Say what a picture of one problem shows; see `Pictures`."""
        if self.pictures is None:
            return {}
        drawn = self.pictures.drawing(problems, index)
        return drawn or {"rows": self.pictures.draw(problems, index)}

    def draw(self, problems: Problems, index: int) -> list[str]:
        """Draw one problem for a terminal, a line of text per row; at least its prompt and answer."""
        if self.pictures is not None:
            return self.pictures.draw(problems, index)
        return [" ".join(pair) for pair in self.texts(problems.take(slice(index, index + 1)))]

    def spaced(self, problems: Problems) -> list[str]:
        """Write prompts as their symbols with spaces between them."""
        texts = self.alphabet
        return [" ".join(texts[s] for s in row if s >= 0) for row in self.prompts(problems).tolist()]

    def _instruction(self, order: Order) -> str:
        about = " ".join((type(self).__doc__ or self.name).split("\n\n")[0].split())
        written = "" if order == "forward" else " Write it backwards, its last sign first."
        return (
            f"{about} Each line is a problem, its signs separated by spaces. Write the answer to it, its "
            f"signs separated by spaces, too.{written} Write the answer and nothing else."
        )
