"""Optional capabilities of a task, beyond problems and a verifier; training needs none of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Int, UInt64

from unforced.tasks.problems import END, NOT_A_SYMBOL, Marks, Order, Problems, Symbols

Reader = Callable[[Iterable[str], str, Order, Mapping[str, Any]], tuple[Any, Problems]]


class Lookahead(ABC):
    """What of a task's answers only lookahead gets right, and counterfactuals that show who looks ahead.

    The diagnostics of the Clever Hans cheat and of the indecipherable token take one. Positions are counted
    in forward order, from 0; marks are per problem.
    """

    backwards: ClassVar[str] = (
        "with the answer reversed, each token follows from the one before it: nothing is decided ahead"
    )
    """Why nothing is measured where answers are written, and read, from their end."""

    @property
    @abstractmethod
    def decisive_positions(self) -> tuple[int, ...]:
        """Answer positions that only lookahead gets right, in some problems. There may be none."""

    @abstractmethod
    def position_chances(self, given_answer: bool = True) -> tuple[float, ...]:
        """The best accuracy without lookahead at each answer position where it is decisive; 1 where never.

        given_answer: whether the true answer before the position is known (teacher forcing), or nothing but
        the prompt.
        """

    @abstractmethod
    def decisive(self, problems: Problems) -> Marks:
        """Mark the answer positions that only lookahead gets right."""

    @abstractmethod
    def given_away(self, problems: Problems) -> Marks:
        """Mark the positions that the true answer before them gives away without lookahead.

        They are what the Clever Hans cheat fits (arXiv 2403.06963, Sec. 4): given away by teacher forcing,
        whether or not the prompt gives them too (as it does path-star's goal). Positions that are neither
        these nor decisive have no answer before them to read (path-star's start) or take nothing from it
        (addition's last column).
        """

    @abstractmethod
    def with_stated_end(self, problems: Problems, answers: Symbols) -> Symbols:
        """Return wrong answers with their last symbol replaced by the end that the prompt states, if any.

        For path-star it is the goal: who follows a wrong arm and then writes the goal followed that arm.
        """

    @abstractmethod
    def choices(self, problems: Problems, position: int) -> Int[np.ndarray, "count choices"]:
        """Return what someone who does not look ahead chooses from at a position, where it is decisive.

        The true symbol comes first; the others are distinct from it. Rows of problems in which the position
        is not decisive mean nothing.
        """

    @abstractmethod
    def decoys(self, problems: Problems) -> Int[np.ndarray, "count decoys length"]:
        """Return counterfactual answers: one decision made wrongly, and all that it entails.

        There may be none (`decoys` = 0), where nothing is decisive or a wrong decision entails nothing
        definite.
        """

    @abstractmethod
    def counterfactual_prompts(self, problems: Problems) -> list[Problems]:
        """Return counterfactual prompts: the same problems with another question, so that decisions change.

        They are of the same family. A problem that cannot be altered so may stay as it is. The list may be
        empty.
        """


@dataclass(frozen=True)
class PromptReader:
    """Reads prompts, as text, into problems of one task.

    read   raises UserError for a text that is not a prompt of the task
    knows  what the problems hold: "answer", the right answers, worked out from the prompts; "verdict", all
           that the verifier needs, but no right answer; "prompt", the prompts alone
    """

    read: Callable[[Sequence[str]], Problems]
    knows: Literal["answer", "verdict", "prompt"] = "answer"


@dataclass(frozen=True)
class TextFormat:
    """How a task's problems are written as text: a prompt and an answer, each a string of its own.

    symbols      the text of each symbol of answers
    separator    what stands between the symbols of an answer
    longest      symbols of the longest answer
    varied       whether answers vary in length
    prompts      writes the prompt of each problem
    instruction  says in plain English how a prompt is to be read, what is asked, and how to answer in an
                 order; it names every sign that separates symbols, and gives no example
    reader       reads lines of prompts and answers that others wrote (lines, source, order, known fields of
                 the task), and tells the task from them; None: problems are read from Parquet alone
    prompt_reader  reads prompts without answers; None: nothing does
    cut          cuts an answer into the texts of its symbols, where no separator does; None: by `separator`
    joint        what prompts end with that only parts them from answers, in a text without a template
    trim         takes off an answer that is read what does not count, before it is cut
    right        lists the right answers to each problem, in forward order; None: none is listed but the
                 reference
    """

    symbols: tuple[str, ...]
    separator: str
    longest: int
    varied: bool
    prompts: Callable[[Problems], list[str]]
    instruction: Callable[[Order], str]
    reader: Reader | None = None
    prompt_reader: PromptReader | None = None
    cut: Callable[[str], list[str]] | None = None
    trim: Callable[[str], str] = str
    joint: str = ""
    right: Callable[[Problems], list[Sequence[str]]] | None = None

    def answers(self, answers: Symbols) -> list[str]:
        """Write answers as text, in the order in which they are given."""
        texts, keep = self.symbols, self.varied
        return [
            self.separator.join([texts[symbol] for symbol in row if not (keep and symbol == END)])
            for row in answers.tolist()
        ]

    def read_answers(self, lines: Sequence[str], length: int | None = None) -> Symbols:
        """Read what `answers` wrote, whatever else it may be; `length` symbols (the longest, if None).

        What is not there becomes -1, as does what is not a symbol of an answer (-2, where answers vary in
        length); of an answer that is too long, so does the last symbol.
        """
        length = self.longest if length is None else length
        wrong = NOT_A_SYMBOL if self.varied else -1
        answers = np.full((len(lines), length), -1, dtype=np.int64)
        for row, line in zip(answers, lines, strict=True):
            parts = self._parts(line)
            parts = parts if self.cut is not None else [part.strip() for part in parts]
            known = [self._numbers.get(part, wrong) for part in parts[:length]]
            row[: len(known)] = known
            if len(parts) > length:
                row[-1] = wrong
        return answers

    def spelled(self, answer: str) -> list[str]:
        """Cut an answer that `answers` wrote into the texts of its symbols."""
        if self.cut is not None:
            return self.cut(answer)
        return answer.split(self.separator) if self.separator else list(answer)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """The symbol of each text."""
        return {text: symbol for symbol, text in enumerate(self.symbols)}

    def _parts(self, line: str) -> list[str]:
        if self.cut is not None:
            return self.cut(self.trim(line))
        if not self.separator.strip():
            return line.split() if self.separator else list(line.strip())
        return line.split(self.separator)


@dataclass(frozen=True)
class Pictures:
    """How problems are shown, by their place in a batch.

    drawing      says what a picture shows, as JSON values: a graph has `edges` (pairs of symbols' texts, as
                 the prompt lists them), a `start` and a `goal`; where it is empty, the `rows` of `draw` are
                 shown
    draw         draws for a terminal, a line of text per row
    draw_answer  draws a right answer, given as symbols, in such lines, where answers differ from the
                 reference; None: nothing does
    """

    drawing: Callable[[Problems, int], dict[str, Any]]
    draw: Callable[[Problems, int], list[str]]
    draw_answer: Callable[[Sequence[int]], list[str]] | None = None


class SetScore(ABC):
    """How a set of answers is scored where tasks are open-ended: by what they say that is new.

    Of the answers of a set, those count that the verifier calls right (coherent), that say what no training
    answer says (original), and that no earlier answer of the set says (unique). All of it is decided on
    canonical forms: two ways to write one thing are one thing. Source: arXiv 2504.15266, Sec. 2; its code
    compares answers as they are written for three of its four tasks, when it counts unique ones.
    """

    @abstractmethod
    def canonical(self, answers: Symbols) -> UInt64[np.ndarray, " count"]:
        """Hash the canonical forms of right answers: equal for two that say the same."""

    def asked(self, problems: Problems) -> Bool[np.ndarray, " count"]:
        """Mark the problems that ask for an answer of one's own, and so count: by default all."""
        return np.ones(len(problems), dtype=np.bool_)
