"""What open-ended tasks share: a prompt that is a random seed string, and any coherent answer to it.

    prompt  k3x9pq02zz:     answer  b17 c40 a3      also right: every other coherent answer

The string says nothing of the answer: it is the one source of randomness of a model that writes its likeliest
answer, so that fresh strings get different answers. What answers are made of (which child has which parent,
a graph) is learnt from the training set, in weights, and belongs to the task: runs with other seeds have
other training sets of the same material.

Answers are scored as a set: see `SetScore`. No symbol of an answer is the one right one, so nothing is
decisive, given away or a decoy, and `lookahead` is None. Neither is there a chance of being right: whoever
repeats one training item is always coherent, and never original.

Source: arXiv 2504.15266 (seed strings are its hash-conditioning), and the code of its authors.
"""

import string
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Bool, Int, UInt64
from pydantic import Field

from unforced.tasks.base import Order, Problems, Symbols, Task
from unforced.tasks.capabilities import Pictures, PromptReader, SetScore, TextFormat
from unforced.tasks.lines import read_prompts
from unforced.tasks.problems import END
from unforced.tasks.published import Source
from unforced.tasks.sampling import hash_rows

ROLL_THE_DICE = Source(
    "Roll the dice", "2504.15266", "Sec. 2; its results are figures, sizes are those of its authors' code"
)
CHARACTERS = string.ascii_lowercase + string.digits
"""What seed strings are made of."""
MOST_CHARACTERS = 100
_END_OF_PROMPT = ":"


@dataclass(frozen=True)
class SeedProblems(Problems):
    """Seed strings, as numbers of characters, and a reference answer of each, as symbols.

    A row of -1 is a prompt without a seed string; -1 stands behind a shorter answer.
    """

    seeds: Int[np.ndarray, "count characters"]
    answer: Int[np.ndarray, "count length"]


class SeedStringTask(Task, ABC):
    """Write any coherent answer, another one to each seed string.

    Symbols: those of answers, then the 36 characters, then the sign `:` that ends a prompt.

    Splits: a seed string belongs to one of them, so held-out prompts are strings that no training set holds.
    Reference answers are drawn anew for each string, from the same answers in every split. Strings of ten
    characters are distinct (of 50,000, two are the same once in three million training sets); there are 1,296
    of two characters. Prompts without a string are told apart by their reference answers.
    """

    seed_length: int = Field(
        10, ge=0, le=MOST_CHARACTERS, description="characters of a seed string (0: prompts say nothing), h"
    )

    @property
    @abstractmethod
    def answer_signs(self) -> tuple[str, ...]:
        """The text of each symbol of answers; two characters at least, or a sign, unlike a seed string's."""

    @property
    @abstractmethod
    def answer_words(self) -> str:
        """What an answer is, in plain English, for the instruction: sentences."""

    @abstractmethod
    def draw_answers(self, rng: np.random.Generator, count: int) -> Symbols:
        """Draw coherent answers."""

    @abstractmethod
    def canonical(self, answers: Symbols) -> Int[np.ndarray, "count form"]:
        """Return the canonical forms of coherent answers: equal rows for answers that say the same."""

    @abstractmethod
    def sketch(self, answer: Sequence[int]) -> list[str]:
        """Draw a coherent answer for a terminal, a line of text per row."""

    @property
    def other_signs(self) -> tuple[str, ...]:
        """Signs that prompts have besides seed strings, and before the last: none."""
        return ()

    def asked(self, problems: Problems) -> Bool[np.ndarray, " count"]:
        """Mark the problems that ask for an answer of one's own: by default all."""
        return np.ones(len(problems), dtype=np.bool_)

    @property
    def alphabet(self) -> tuple[str, ...]:
        """Symbols of answers, the characters of seed strings, then signs."""
        characters = CHARACTERS if self.seed_length else ""
        return (*self.answer_signs, *characters, *self.other_signs, _END_OF_PROMPT)

    @property
    def answer_symbols(self) -> int:
        """All that answers are made of."""
        return len(self.answer_signs)

    @property
    def prompt_length(self) -> int:
        """The seed string and the sign at the end."""
        return self.seed_length + 1

    @property
    def unique_answer(self) -> bool:
        """Every coherent answer is right."""
        return False

    def sample(self, rng: np.random.Generator, count: int) -> SeedProblems:
        """Draw uniform seed strings, and coherent answers."""
        seeds = rng.integers(len(CHARACTERS), size=(count, self.seed_length), dtype=np.int32)
        return SeedProblems(seeds, self.draw_answers(rng, count).astype(np.int32))

    def keys(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash the seed string; without one, the reference answer's canonical form."""
        seeds = cast(SeedProblems, problems).seeds
        forms = hash_rows(self.canonical(self.answers(problems)))
        without = (seeds < 0).all(axis=1)
        return np.where(without, forms, hash_rows(seeds))

    def prompts(self, problems: Problems) -> Symbols:
        """Write the seed string, then the sign `:`."""
        seeds = cast(SeedProblems, problems).seeds.astype(np.int64)
        end = np.full((len(seeds), 1), len(self.alphabet) - 1)
        return np.concatenate([np.where(seeds < 0, END, seeds + self.answer_symbols), end], axis=1)

    def answers(self, problems: Problems) -> Symbols:
        """Write the reference answers."""
        return cast(SeedProblems, problems).answer.astype(np.int64)

    @property
    def text(self) -> TextFormat:
        """The seed string in one word; symbols of an answer with spaces between them."""
        reader = PromptReader(self.read_prompts, "verdict")
        return self.text_format(" ", self.prompt_texts, self._explain, prompt_reader=reader)

    def prompt_texts(self, problems: Problems) -> list[str]:
        """Write prompts: `k3x9pq02zz:`."""
        seeds = cast(SeedProblems, problems).seeds.tolist()
        return ["".join(CHARACTERS[number] for number in row) + _END_OF_PROMPT for row in seeds]

    def read_prompts(self, prompts: Sequence[str]) -> SeedProblems:
        """Read prompts; the reference answers are left empty. Raises UserError."""
        rows = read_prompts(prompts, f"a prompt of {self}", self.parse_prompt)
        seeds = np.array(rows, dtype=np.int32).reshape(len(rows), self.seed_length)
        return SeedProblems(seeds, np.full((len(rows), self.answer_length), END, dtype=np.int32))

    def parse_prompt(self, prompt: str) -> list[int]:
        """Read the characters of a prompt. Raises ValueError."""
        seed = prompt.removesuffix(_END_OF_PROMPT)
        if seed == prompt:
            raise ValueError(f"it does not end with the sign {_END_OF_PROMPT}")
        if len(seed) != self.seed_length:
            raise ValueError(
                f"its seed string has {len(seed)} characters, not seed_length {self.seed_length}"
            )
        if strange := [sign for sign in seed if sign not in CHARACTERS]:
            raise ValueError(f"{strange[0]!r} is none of a-z and 0-9")
        return [CHARACTERS.index(sign) for sign in seed]

    @property
    def pictures(self) -> Pictures:
        """The prompt, and the reference answer below it."""
        return Pictures(lambda problems, index: {}, self._draw, self.sketch)

    @property
    def of_a_set(self) -> "SeedStringScore":
        """Canonical forms."""
        return SeedStringScore(self)

    def _draw(self, problems: Problems, index: int) -> list[str]:
        one = problems.take(slice(index, index + 1))
        answer = [symbol for symbol in self.answers(one)[0].tolist() if symbol >= 0]
        return self.prompt_texts(one) + (self.sketch(answer) if answer else [])

    def _explain(self, order: Order) -> str:
        seed = "a random string that says nothing of the answer" if self.seed_length else "no string"
        backwards = "" if order == "forward" else " Write it backwards, its last sign first."
        return (
            f"Each line begins with {seed}, and the sign : and behind it comes the answer. "
            f"{self.answer_words} Give another answer on each line. There is a space between any two signs "
            f"of an answer.{backwards} Write the answer and nothing else."
        )


@dataclass(frozen=True)
class SeedStringScore(SetScore):
    """The canonical forms of a task's answers, as hashes."""

    task: SeedStringTask

    def canonical(self, answers: Symbols) -> UInt64[np.ndarray, " count"]:
        """Hash canonical forms."""
        return hash_rows(self.task.canonical(answers))

    def asked(self, problems: Problems) -> Bool[np.ndarray, " count"]:
        """Mark the problems that ask for an answer of one's own."""
        return self.task.asked(problems)


def first_kind(
    faults: Mapping[str, Bool[np.ndarray, " count"]], kinds: Sequence[str]
) -> Int[np.ndarray, " count"]:
    """Name the first fault of each answer by its number in `kinds`; 0 where there is none."""
    numbers = [kinds.index(name) for name in faults]
    kind: Int[np.ndarray, " count"] = np.select(list(faults.values()), numbers, default=0)
    return kind.astype(np.int64)
