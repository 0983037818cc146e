"""`own_data`: prompts and answers from a file of yours.

    prompt  capital of France?⏎     answer  Paris

The model reads the prompt and what separates it from the answer (⏎, a line break), and writes the answer. It
is right if it is one of the prompt's right answers after a stated normalisation. A symbol, and so a position,
is a character, or a token of a tokenizer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, cast

import numpy as np
from jaxtyping import Int, UInt64

from unforced.errors import UserError
from unforced.tasks.base import Order, Problems, Symbols, Verdicts
from unforced.tasks.capabilities import PromptReader, TextFormat
from unforced.tasks.own_data.rows import is_whole
from unforced.tasks.own_data.settings import OwnSettings
from unforced.tasks.own_data.splits import SPLITS, hash_of, normalised, prompt_key
from unforced.tasks.own_data.table import OwnProblems, load, problems_of
from unforced.tasks.problems import END


class OwnData(OwnSettings):
    """Answer prompts of your own data.

    Splits are those that a column, or a saved `DatasetDict`, names, else by a hash of the prompt. The file's
    SHA-256 is part of the run: a file that has changed since is refused. What needs lookahead is unknown.
    """

    block_size: ClassVar[int] = 1024
    verdict_kinds: ClassVar[Mapping[str, str]] = {
        "correct": "",
        "of_another_prompt": "it is the right answer to another prompt of the data",
        "wrong": "it is no right answer to any prompt of the data",
        "malformed": "it has no end, or holds what the data do not",
    }

    name: Literal["own_data"] = "own_data"

    @property
    def ready(self) -> bool:
        """Whether a file is named."""
        return bool(self.path)

    @property
    def topology(self) -> str:
        """The name of the file."""
        return Path(self.path).name or self.name

    @property
    def alphabet(self) -> tuple[str, ...]:
        """The symbols of answers, then those that only prompts have."""
        return load(self).alphabet

    @property
    def answer_symbols(self) -> int:
        """How many symbols answers are made of."""
        return load(self).answer_symbols

    @property
    def prompt_length(self) -> int:
        """Of the longest prompt, with the separator."""
        return load(self).lengths.most[0]

    @property
    def answer_length(self) -> int:
        """Of the longest right answer."""
        return load(self).lengths.most[1]

    @property
    def varied(self) -> bool:
        """Answers vary in length."""
        return True

    @property
    def unique_answer(self) -> bool:
        """Whether no prompt has two right answers that differ after normalisation."""
        return load(self).unique

    @property
    def splits(self) -> Mapping[str, float]:
        """The shares of a split by hash."""
        return {"train": 1 - 2 * self.held_out, "validation": self.held_out, "test": self.held_out}

    def listed(self, split: str) -> OwnProblems:
        """All problems of a split, in the order of the data."""
        everything = load(self).problems
        return everything.take(everything.split == SPLITS.index(split))

    def sample(self, rng: np.random.Generator, count: int) -> OwnProblems:
        """Draw from all problems, with replacement."""
        everything = load(self).problems
        return everything.take(rng.integers(len(everything), size=count))

    def owners(self, problems: Problems) -> Int[np.ndarray, " count"]:
        """Number the split that each row is in."""
        return cast(OwnProblems, problems).split

    def place(self, problems: Problems, row: int) -> str:
        """Return the file and the line."""
        index = int(cast(OwnProblems, problems).row[row])
        return load(self).places[index] if index >= 0 else ""

    def keys(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash the prompt, without regard to blanks and to how Unicode composes characters."""
        prompts = cast(OwnProblems, problems).prompt
        return np.array([hash_of(prompt_key(prompt)) for prompt in prompts], dtype=np.uint64)

    def prompts(self, problems: Problems) -> Symbols:
        """Cut the prompts into symbols, the separator behind them. Raises UserError for unknown symbols."""
        texts: list[str] = cast(OwnProblems, problems).prompt.tolist()
        data = load(self)
        rows = [data.numbers(pieces, text) for text, pieces in zip(texts, data.cut(texts), strict=True)]
        end = data.numbers(next(iter(data.cut([self.separator]))), self.separator)
        symbols = np.full((len(rows), self.prompt_length), END, dtype=np.int64)
        for row, numbers in zip(symbols, rows, strict=True):
            if len(numbers) + len(end) > len(row):
                raise UserError(
                    f"task: a prompt of {len(numbers)} symbols; the longest in {self.path} has "
                    f"{len(row) - len(end)}, and the model reads no more"
                )
            row[len(row) - len(numbers) - len(end) :] = [*numbers, *end]
        return symbols

    def answers(self, problems: Problems) -> Symbols:
        """Cut the reference answers into symbols; what is behind them, and an unknown answer, is empty."""
        references = [right[0] if right else "" for right in cast(OwnProblems, problems).right]
        data = load(self)
        symbols = np.full((len(references), self.answer_length), END, dtype=np.int64)
        for row, text, pieces in zip(symbols, references, data.cut(references), strict=True):
            if text:
                row[: len(pieces)] = data.numbers(pieces, text)
        return symbols

    def score(self, problems: Problems, answers: Symbols) -> Verdicts:
        """Compare answers with the right ones, after normalisation."""
        alphabet, known = self.alphabet, load(self).right
        kinds = np.empty(len(answers), dtype=np.int64)
        rows = zip(cast(OwnProblems, problems).right, answers.tolist(), strict=True)
        for i, (right, symbols) in enumerate(rows):
            symbols = symbols[: symbols.index(END)] if END in symbols else symbols
            if not all(0 <= symbol < len(alphabet) for symbol in symbols):
                kinds[i] = 3
                continue
            said = normalised("".join([alphabet[symbol] for symbol in symbols]), self.normalise)
            is_right = any(said == normalised(each, self.normalise) for each in right)
            kinds[i] = 0 if is_right else 1 if said in known else 2
        return Verdicts(tuple(self.verdict_kinds), kinds)

    @property
    def text(self) -> TextFormat:
        """The texts of the data."""
        reader = PromptReader(self.read_prompts, "prompt")
        texts = self.text_format("", self._texts, self._instruct, prompt_reader=reader)
        return replace(texts, cut=self._cut, trim=self._trim, joint=self.separator, right=self._right)

    def read_prompts(self, prompts: Sequence[str]) -> OwnProblems:
        """Take prompts as they are. Raises UserError for an empty one, or one with unknown symbols."""
        texts = [prompt.removesuffix(self.separator) for prompt in prompts]
        for text in texts:
            if not text.strip():
                raise UserError(f"{text!r} is not a prompt of {self.name}: it is empty")
            if not is_whole(text):
                raise UserError(f"{text!r} is not a prompt of {self.name}: it has half a character")
        found = problems_of(texts, [()] * len(texts), np.full(len(texts), -1), np.full(len(texts), -1))
        self.prompts(found)
        return found

    def check_new_symbols(self) -> None:
        """Raise UserError if held-out problems have symbols that training never shows."""
        data = load(self)
        if self.unseen != "refuse" or not data.unseen:
            return
        rows = sum(len(rows) for rows in data.unseen.values())
        symbol, lines = next(iter(data.unseen.items()))
        count, word = len(data.unseen), self._unit
        raise UserError(
            f"{self.path}: held-out problems have {count} {word}{'s' * (count > 1)} that training never "
            f"shows, in {rows} place{'s' * (rows > 1)}, as {symbol!r} in {data.places[lines[0]]}; "
            "task.unseen=drop drops these problems, task.unseen=keep keeps them"
        )

    def describe(self) -> str:
        """Say in a line how many problems each split has, and how many rows were dropped."""
        data = load(self)
        sizes = ", ".join(f"{split} {len(self.listed(split)):,}" for split in SPLITS)
        dropped = ", ".join(f"{count:,} {reason}" for reason, count in data.dropped.items() if count)
        return f"{self.path}: {sizes}{f'; dropped: {dropped}' if dropped else ''}"

    @property
    def notice(self) -> str:
        """Name a prompt or answer that is far longer than most."""
        data = load(self)
        return data.lengths.notice(data.places, self._unit)

    @property
    def _unit(self) -> str:
        """What a symbol is."""
        return "character" if self.tokenizer is None else "token"

    def _texts(self, problems: Problems) -> list[str]:
        return [prompt + self.separator for prompt in cast(OwnProblems, problems).prompt]

    def _right(self, problems: Problems) -> list[Sequence[str]]:
        return list(cast(OwnProblems, problems).right)

    def _cut(self, answer: str) -> list[str]:
        return next(iter(load(self).cut([answer]))) if answer else []

    def _trim(self, answer: str) -> str:
        """Take off blanks at an end where no right answer has them."""
        if self.normalise == "none":
            return answer
        return answer.rstrip() if load(self).begin_blank else answer.strip()

    def _instruct(self, order: Order) -> str:
        written = "" if order == "forward" else " Write it backwards, its last sign first."
        return f"The line is a prompt. It has an answer.{written} Write the answer and nothing else."
