"""A base for tasks of one's own: problems are made one at a time, as two lists of signs.

    class Sorting(LineTask):
        \"\"\"Sort digits.\"\"\"

        def make(self, rng): ...            # ["3", "1", "2", "="], ["1", "2", "3"]

A generator of problems in plain Python makes some ten thousand a second at best, so blocks are small. Prompts
and answers may vary in length. What needs lookahead in such a task is unknown, unless it says so.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
from jaxtyping import Int, UInt64

from unforced.errors import UserError
from unforced.tasks.base import Problems, Symbols, Task, Verdicts
from unforced.tasks.capabilities import PromptReader, TextFormat
from unforced.tasks.problems import END
from unforced.tasks.sampling import hash_rows

Signs = Sequence[str]
Prompt = Int[np.ndarray, " prompt"]
Row = Int[np.ndarray, " length"]


@dataclass(frozen=True)
class LineProblems(Problems):
    """Symbols of prompts (padding before them) and of reference answers (padding behind them)."""

    prompt: Int[np.ndarray, "count prompt"]
    answer: Int[np.ndarray, "count answer"]


class LineTask(Task, ABC):
    """Problems as lists of signs, made one at a time."""

    block_size: ClassVar[int] = 256
    verdict_kinds: ClassVar[Mapping[str, str]] = {
        "correct": "",
        "wrong": "it is another answer",
        "malformed": "it holds what is not a sign of an answer",
    }

    @property
    @abstractmethod
    def answer_signs(self) -> tuple[str, ...]:
        """The signs that answers are made of."""

    @property
    @abstractmethod
    def other_signs(self) -> tuple[str, ...]:
        """The signs that only prompts have, the one at their end among them."""

    @property
    @abstractmethod
    def longest(self) -> tuple[int, int]:
        """Signs of the longest prompt and of the longest answer."""

    @abstractmethod
    def make(self, rng: np.random.Generator) -> tuple[Signs, Signs]:
        """Draw one problem: its prompt, and an answer to it."""

    def accepts(self, prompt: Signs, reference: Signs, answer: Signs) -> bool:
        """Verify an answer. By default the reference is the one right answer; else set `unique_answer`."""
        return list(answer) == list(reference)

    @property
    def topology(self) -> str:
        """The name, and the fields."""
        fields = self.model_dump(exclude={"name"})
        return " ".join([self.name, *(f"{key}={value}" for key, value in fields.items())])

    @property
    def text(self) -> TextFormat:
        """Signs with spaces between them; of a prompt alone, the answer is not known."""
        reader = PromptReader(self.read_prompts, "prompt")
        return self.text_format(" ", self.spaced, self._instruction, prompt_reader=reader)

    def read_prompts(self, prompts: Sequence[str]) -> LineProblems:
        """Read signs with spaces between them; the answers are left empty. Raises UserError."""
        answers = np.full((len(prompts), self.answer_length), END, dtype=np.int64)
        return LineProblems(self.read_spaced(prompts), answers)

    # What follows is not overridden.

    @property
    def alphabet(self) -> tuple[str, ...]:
        """The signs of answers, then those that only prompts have."""
        return (*self.answer_signs, *self.other_signs)

    @property
    def answer_symbols(self) -> int:
        """The signs of answers."""
        return len(self.answer_signs)

    @property
    def prompt_length(self) -> int:
        """Of the longest prompt."""
        return self.longest[0]

    @property
    def answer_length(self) -> int:
        """Of the longest answer."""
        return self.longest[1]

    @property
    def varied(self) -> bool:
        """Answers may vary in length."""
        return True

    def sample(self, rng: np.random.Generator, count: int) -> LineProblems:
        """Make problems one by one. Raises UserError if `make` gives what the task does not have."""
        made = [self.make(rng) for _ in range(count)]
        prompts = np.full((count, self.prompt_length), END, dtype=np.int64)
        answers = np.full((count, self.answer_length), END, dtype=np.int64)
        known = self._numbers("prompt"), self._numbers("answer")
        for row, (prompt, answer) in enumerate(made):
            symbols = self._symbols(prompt, known[0], "prompt"), self._symbols(answer, known[1], "answer")
            prompts[row, self.prompt_length - len(prompt) :], answers[row, : len(answer)] = symbols
        return LineProblems(prompts, answers)

    def _numbers(self, what: str) -> dict[str, int]:
        signs = self.alphabet if what == "prompt" else self.answer_signs
        return {sign: number for number, sign in reversed([*enumerate(signs)])}  # the first of two equal ones

    def _symbols(self, signs: Signs, known: Mapping[str, int], what: str) -> list[int]:
        most = self.prompt_length if what == "prompt" else self.answer_length
        if len(signs) > most:
            raise UserError(
                f"task: {self.name} made the {what} {' '.join(signs)!r} of {len(signs)} signs, more than "
                f"{most}; give `longest` more"
            )
        if strange := [sign for sign in signs if sign not in known]:
            where = "`answer_signs` or `other_signs`" if what == "prompt" else "`answer_signs`"
            raise UserError(
                f"task: {self.name} made the {what} {' '.join(signs)!r}, but {strange[0]!r} is none of its "
                f"signs; add it to {where}"
            )
        return [known[sign] for sign in signs]

    def keys(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash the prompt."""
        return hash_rows(self.prompts(problems))

    def prompts(self, problems: Problems) -> Symbols:
        """Return the prompts."""
        return cast(LineProblems, problems).prompt

    def answers(self, problems: Problems) -> Symbols:
        """Return the reference answers."""
        return cast(LineProblems, problems).answer.copy()

    def score(self, problems: Problems, answers: Symbols) -> Verdicts:
        """Ask `accepts` about each answer that is made of signs of answers."""
        lines = cast(LineProblems, problems)
        rows = zip(lines.prompt, lines.answer, answers, strict=True)
        return Verdicts(
            tuple(self.verdict_kinds), np.array([self._kind(*row) for row in rows], dtype=np.int64)
        )

    def _kind(self, prompt: Prompt, reference: Row, answer: Row) -> int:
        end = int((answer == END).argmax()) if (answer == END).any() else len(answer)
        made_of = (answer[:end] >= 0) & (answer[:end] < self.answer_symbols)
        if not made_of.all() or (answer[end:] != END).any():
            return 2
        return 0 if self.accepts(self._signs(prompt), self._signs(reference), self._signs(answer)) else 1

    def _signs(self, symbols: Row) -> Signs:
        return [self.alphabet[symbol] for symbol in symbols.tolist() if symbol >= 0]
