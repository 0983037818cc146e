"""Countdown: reach a target from three or four numbers by arithmetic; any right way counts.

    prompt  8 6 9 > 5 :     answer  8 + 6 = 14 , 14 - 9 = 5      also right: 6 + 8 = 14 , 14 - 9 = 5

Each equation takes two of the numbers that are there and leaves its result in their place; the last one
leaves the target. How much of it can be done without lookahead is unknown, and so is chance. A model is
trained on one right answer, the reference; the verifier accepts all of them, and judges each equation.
Source: arXiv 2404.03683 (the game as a task for language models); accuracy by equation: NextLat.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
from jaxtyping import Bool, Int, UInt64
from pydantic import Field, model_validator

from unforced.tasks.base import Order, Problems, Symbols, Task, Verdicts
from unforced.tasks.capabilities import PromptReader, TextFormat
from unforced.tasks.lines import read_prompts
from unforced.tasks.problems import END, answer_lengths, numerals
from unforced.tasks.published import Published, Source, table
from unforced.tasks.sampling import hash_rows

KINDS = {
    "correct": "",
    "wrong_target": "all equations hold, but the last one leaves another number",
    "wrong_numbers": "an equation takes a number that is not there",
    "wrong_arithmetic": "an equation does not hold",
    "malformed": "it is not the right number of equations",
}
STREAM = Source("Stream of search", "2404.03683", "the game as a task")
NEXTLAT = Source("NextLat", "2511.05963", "d: how many steps ahead are predicted")
RESULTS = table(
    NEXTLAT,
    "exact, held out",
    ["500,000 problems of 4 numbers"],
    {
        "next_token": (0.331,),
        "belief_state": (0.423,),
        **{f"multi_token, d={d}": (value,) for d, value in ((1, 0.392), (4, 0.497), (8, 0.573))},
        **{f"next_latent, d={d}": (value,) for d, value in ((1, 0.548), (4, 0.576), (8, 0.587))},
    },
)
_SIGNS = ("+", "-", "*", "/", "=", ",")
_STRIDE = 6  # symbols from one equation to the next
Numbers = Int[np.ndarray, " count"]


@dataclass(frozen=True)
class CountdownProblems(Problems):
    """Numbers in the order in which the prompt lists them (-1 behind the last), a target, and a solution."""

    numbers: Int[np.ndarray, "count most"]
    target: Int[np.ndarray, " count"]
    solution: Int[np.ndarray, "count length"]


class Countdown(Task):
    """Reach a target from a few numbers by + - * /, each number used once.

    Symbols: the values 0..max_value, then + - * / = and the comma; in prompts also > and the colon. All
    values on the way are whole, and none is above max_value or below 0.
    """

    verdict_kinds: ClassVar[Mapping[str, str]] = KINDS
    sources: ClassVar[tuple[Source, ...]] = (STREAM, NEXTLAT)
    published: ClassVar[tuple[Published, ...]] = RESULTS
    shown: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"fewest": 4, "largest": 99, "max_value": 9999})

    name: Literal["countdown"] = "countdown"
    fewest: int = Field(3, ge=2, le=8, description="numbers of a problem, at the least")
    most: int = Field(4, ge=2, le=8, description="numbers of a problem, at the most")
    largest: int = Field(20, ge=2, le=10_000, description="largest number of a prompt; the smallest is 1")
    max_value: int = Field(100, ge=2, le=10_000, description="largest value of an equation, and target")

    @model_validator(mode="after")
    def _bounds_fit(self) -> "Countdown":
        if self.fewest > self.most:
            raise ValueError(f"fewest: give at most most {self.most}, not {self.fewest}")
        if self.largest > self.max_value:
            raise ValueError(f"largest: give at most max_value {self.max_value}, not {self.largest}")
        return self

    def __str__(self) -> str:
        return f"{self.topology}, values up to {self.max_value}"

    @property
    def topology(self) -> str:
        """How many numbers, and how large."""
        count = str(self.most) if self.fewest == self.most else f"{self.fewest}-{self.most}"
        return f"countdown({count},{self.largest})"

    @property
    def alphabet(self) -> tuple[str, ...]:
        """Values, then the signs."""
        return (*numerals(self.max_value + 1), *_SIGNS, ">", ":")

    @property
    def answer_symbols(self) -> int:
        """Values and the signs of equations."""
        return self.max_value + 1 + len(_SIGNS)

    @property
    def prompt_length(self) -> int:
        """The numbers, the target and two signs."""
        return self.most + 3

    @property
    def answer_length(self) -> int:
        """One equation less than numbers, with commas between them."""
        return _STRIDE * (self.most - 1) - 1

    @property
    def varied(self) -> bool:
        """More numbers take more equations."""
        return True

    @property
    def unique_answer(self) -> bool:
        """There are many ways."""
        return False

    def sample(self, rng: np.random.Generator, count: int) -> CountdownProblems:
        """Draw numbers, and equations at random until one value is left: the target."""
        sizes = rng.integers(self.fewest, self.most + 1, size=count)
        numbers = rng.integers(1, self.largest + 1, size=(count, self.most))
        numbers[np.arange(self.most) >= sizes[:, None]] = END
        pool, rows = numbers.copy(), np.arange(count)
        solution = np.full((count, self.answer_length), END, dtype=np.int64)
        first_sign = self.max_value + 1
        for step in range(self.most - 1):
            left = np.maximum(sizes - step, 2)  # rows that are done draw, too, and are not written
            first = (rng.random(count) * left).astype(np.int64)
            second = (rng.random(count) * (left - 1)).astype(np.int64)
            second += second >= first
            a, sign, b, result = self._equation(rng, pool[rows, first], pool[rows, second])
            going = step < sizes - 1
            at = _STRIDE * step
            columns = [a, first_sign + sign, b, np.full(count, first_sign + _SIGNS.index("=")), result]
            solution[going, at : at + 5] = np.stack(columns, axis=1)[going]
            if at:
                solution[going, at - 1] = first_sign + _SIGNS.index(",")
            pool[rows[going], first[going]] = result[going]
            pool[rows[going], second[going]] = pool[rows[going], left[going] - 1]
        ends = solution[rows, answer_lengths(solution) - 1]
        return CountdownProblems(numbers.astype(np.int32), ends, solution.astype(np.int32))

    def _equation(
        self, rng: np.random.Generator, left: Numbers, right: Numbers
    ) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        """Choose one of the operations that stay within bounds; for - and / the larger operand is first."""
        large, small = np.maximum(left, right), np.minimum(left, right)
        results = np.stack([left + right, large - small, left * right, large // np.maximum(small, 1)], axis=1)
        possible = results <= self.max_value
        possible[:, 3] &= (small > 0) & (large % np.maximum(small, 1) == 0)
        sign = np.where(possible, rng.random(results.shape), -1.0).argmax(axis=1)
        ordered = (sign == 1) | (sign == 3)
        a, b = np.where(ordered, large, left), np.where(ordered, small, right)
        return a, sign, b, results[np.arange(len(sign)), sign]

    def keys(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash the numbers, in whatever order, and the target."""
        target = cast(CountdownProblems, problems).target.astype(np.uint64)
        return hash_rows(np.stack([self.families(problems), target], axis=1))

    def families(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash the numbers, in whatever order."""
        return hash_rows(np.sort(cast(CountdownProblems, problems).numbers, axis=1))

    def prompts(self, problems: Problems) -> Symbols:
        """Write the numbers, >, the target and the colon."""
        given = cast(CountdownProblems, problems)
        missing = (given.numbers < 0).sum(axis=1)
        place = np.arange(self.most) - missing[:, None]
        numbers = np.take_along_axis(given.numbers, np.maximum(place, 0), axis=1)
        prompts = np.full((len(given), self.prompt_length), self.answer_symbols, dtype=np.int64)
        prompts[:, : self.most] = np.where(place >= 0, numbers, END)
        prompts[:, -2] = given.target
        prompts[:, -1] = self.answer_symbols + 1
        return prompts

    def answers(self, problems: Problems) -> Symbols:
        """Write the equations by which the problem was made."""
        return cast(CountdownProblems, problems).solution.astype(np.int64)

    def score(self, problems: Problems, answers: Symbols) -> Verdicts:
        """Name what is wrong with each answer; the last kind in `verdict_kinds` that applies.

        Judges each equation: it is right if it holds and takes what is there, given the equations before it.
        Sliced by how many numbers there are.
        """
        given = cast(CountdownProblems, problems)
        sizes, rows = (given.numbers >= 0).sum(axis=1), np.arange(len(answers))
        pool = np.concatenate([given.numbers, np.full((len(given), self.most), END)], axis=1).astype(np.int64)
        formed, holds, there = (np.ones(len(answers), dtype=np.bool_) for _ in range(3))
        parts: dict[str, Int[np.ndarray, " count"]] = {}
        left = np.full(len(answers), END)
        for step in range(self.most - 1):
            going = step < sizes - 1
            five = answers[:, _STRIDE * step : _STRIDE * step + 5]
            well, true = self._check(five)
            present = _take(pool, five[:, 0]) & _take(pool, five[:, 2])
            pool[rows, self.most + step] = five[:, 4]
            left = np.where(going, five[:, 4], left)
            parts[f"equation_{step + 1}"] = np.where(going, well & true & present, -1).astype(np.int64)
            formed, holds, there = (
                before & (now | ~going) for before, now in ((formed, well), (holds, true), (there, present))
            )
        formed &= self._separated(answers, sizes)
        kinds = tuple(KINDS)
        wrong = {"malformed": ~formed, "wrong_arithmetic": ~holds, "wrong_numbers": ~there}
        wrong["wrong_target"] = left != given.target
        kind = np.select(list(wrong.values()), [kinds.index(name) for name in wrong], default=0)
        return Verdicts(kinds, kind, {"numbers": sizes}, parts)

    def _check(
        self, five: Int[np.ndarray, "count 5"]
    ) -> tuple[Bool[np.ndarray, " count"], Bool[np.ndarray, " count"]]:
        """Say of five symbols whether they are an equation, and whether it holds."""
        (a, sign, b, equals, result), values = five.T, self.max_value + 1
        well = (equals == values + _SIGNS.index("=")) & (sign >= values) & (sign < values + 4)
        for number in (a, b, result):
            well &= (number >= 0) & (number < values)
        true = np.select(
            [sign == values + i for i in range(4)],
            [a + b == result, a - b == result, a * b == result, (b > 0) & (b * result == a)],
            default=False,
        )
        return well, true

    def _separated(self, answers: Symbols, sizes: Numbers) -> Bool[np.ndarray, " count"]:
        """Say whether commas stand between the equations, and nothing behind the last one."""
        place = np.arange(self.answer_length)
        length = (_STRIDE * (sizes - 1) - 1)[:, None]
        comma = (place % _STRIDE == _STRIDE - 1) & (place < length)
        right = ~comma | (answers == self.max_value + 1 + _SIGNS.index(","))
        separated: Bool[np.ndarray, " count"] = np.all(
            right & ((answers == END) == (place >= length)), axis=1
        )
        return separated

    @property
    def text(self) -> TextFormat:
        """Symbols with spaces between them."""
        reader = PromptReader(self.read_prompts, "verdict")
        return self.text_format(" ", self.spaced, _explain, prompt_reader=reader)

    def read_prompts(self, prompts: Sequence[str]) -> CountdownProblems:
        """Read `8 6 9 > 5 :`; the solutions are left empty. Raises UserError."""
        rows = read_prompts(prompts, "a countdown prompt", self._parse)
        numbers = np.full((len(rows), self.most), END, dtype=np.int32)
        for row, (values, _) in zip(numbers, rows, strict=True):
            row[: len(values)] = values
        solution = np.full((len(rows), self.answer_length), END, dtype=np.int32)
        return CountdownProblems(numbers, np.array([target for _, target in rows]), solution)

    def _parse(self, prompt: str) -> tuple[list[int], int]:
        match = re.fullmatch(r"([0-9 ]+) > ([0-9]{1,9}) :", " ".join(prompt.split()))
        if not match:
            raise ValueError("expected numbers, the sign >, the target and a colon, as in 8 6 9 > 5 :")
        values, target = [*map(int, match[1].split())], int(match[2])
        if not self.fewest <= len(values) <= self.most:
            raise ValueError(f"it has {len(values)} numbers, and the task has {self.fewest} to {self.most}")
        if max(*values, target) > self.max_value:
            raise ValueError(f"{max(*values, target)} is above max_value {self.max_value}")
        return values, target


def _take(pool: Int[np.ndarray, "count numbers"], number: Numbers) -> Bool[np.ndarray, " count"]:
    """Take a number out of each pool; say where it was there."""
    there = (pool == number[:, None]) & (number[:, None] >= 0)
    found: Bool[np.ndarray, " count"] = there.any(axis=1)
    pool[np.flatnonzero(found), there.argmax(axis=1)[found]] = END
    return found


def _explain(order: Order) -> str:
    backwards = (
        "" if order == "forward" else " Write numbers and signs of the answer backwards, the last first."
    )
    return (
        "Each line gives a few numbers, then the sign > and a target, then the sign : and behind it the "
        "answer. Reach the target from the numbers: each equation of the answer takes two numbers that are "
        "there, joins them by one of the sign +, the sign -, the sign * and the sign /, and after the sign = "
        "stands its result, which takes their place; the last result is the target. Every number is used "
        "once. There is a space between any two numbers or signs, and a comma between equations."
        f"{backwards} Write the answer and nothing else."
    )
