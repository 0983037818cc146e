"""Addition of two numbers: each digit of the sum awaits a carry from columns further on.

    prompt  4 7 2 + 3 2 8 =     answer  0 8 0 0

    carry ·11
           472        n = 3 digits in base 10. Who writes the sum from its highest digit meets each column
        +  328        before those that carry into it; only by looking ahead to them is the carry known.
        = 0800        Written from the lowest digit (`order=reversed`), no digit needs lookahead.

Without lookahead, a predictor at answer position j sees the columns written up to and including its own,
and the true answer before it, but no lower column. Count the columns from the lowest, k = 0. Position
j = n - k holds (a_k + b_k + c_k) mod base, c_k being the carry into column k; position 0 holds c_n.

- Column k >= 1, a_k + b_k = base - 1: c_k equals c_(k+1), which the answer before has shown.
- Column k >= 1, any other sum: c_(k+1) tells nothing of c_k. Lookahead is needed, as at position 0.
- Column 0: c_0 = 0. Nothing but its own column is needed.

Source: ours. On the order of the digits: arXiv 2307.03381.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
from jaxtyping import Int, Int8, UInt64
from pydantic import Field

from unforced.tasks import addition_text
from unforced.tasks.base import Marks, Order, Problems, Symbols, Task, Verdicts
from unforced.tasks.capabilities import Lookahead, Pictures, PromptReader, TextFormat
from unforced.tasks.published import Source
from unforced.tasks.sampling import hash_rows

KINDS = {
    "correct": "",
    "wrong_carry": "each digit is its column's sum with some carry",
    "wrong_digit": "no carry explains one of its digits",
    "malformed": "it is not a row of digits",
}


@dataclass(frozen=True)
class AdditionProblems(Problems):
    """Two numbers a and b: their digits, highest first."""

    a: Int8[np.ndarray, "count digits"]
    b: Int8[np.ndarray, "count digits"]


class Addition(Task):
    """Add two numbers of n digits; the answer has n + 1.

    Symbols: digits are 0..base-1, then `+` = base, `=` = base+1. A prompt has 2 n + 2 symbols.
    """

    verdict_kinds: ClassVar[Mapping[str, str]] = KINDS
    sources: ClassVar[tuple[Source, ...]] = (Source("ours; on the order of the digits", "2307.03381"),)
    shown: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"num_digits": 8}, {"num_digits": 8, "base": 2})

    name: Literal["addition"] = "addition"
    num_digits: int = Field(
        4,
        ge=addition_text.FEWEST_DIGITS,  # one-digit problems are all of one family, which no split can share
        le=addition_text.MOST_DIGITS,
        description="digits of each number, leading zeros included, n",
    )
    base: int = Field(10, ge=2, le=10, description="base of the numbers")

    def __str__(self) -> str:
        return self.topology

    @property
    def topology(self) -> str:
        """How long the numbers are, and in which base."""
        return f"addition of {self.num_digits} digits in base {self.base}"

    @property
    def alphabet(self) -> tuple[str, ...]:
        """Digits, then the signs."""
        return (*map(str, range(self.base)), "+", "=")

    @property
    def chance(self) -> float:
        """((base + 1) / (2 base))**n: guess that there is no carry unless it is given away.

        Let p_k(c) be the best chance that columns k-1..0 carry c and are written right, once c is assumed;
        p_0 = (1, 0). The sum of a column is base - 1 with probability r = 1 / base, and below or above it
        with q = (1 - r) / 2 each. Below, it carries 0, and above, 1, whatever comes into it, which is then
        a guess; at base - 1, c comes in: p_k+1(c) = q max(p_k) + r p_k(c). By induction p_k(0) >= p_k(1),
        hence p_k(0) = (q + r)**k, and q + r = (base + 1) / (2 base).
        """
        return ((self.base + 1) / (2 * self.base)) ** self.num_digits

    @property
    def answer_symbols(self) -> int:
        """Digits."""
        return self.base

    @property
    def prompt_length(self) -> int:
        """Two numbers and two signs."""
        return 2 * self.num_digits + 2

    @property
    def answer_length(self) -> int:
        """One digit more than the numbers have."""
        return self.num_digits + 1

    def sample(self, rng: np.random.Generator, count: int) -> AdditionProblems:
        """Draw uniform digits."""
        digits = rng.integers(self.base, size=(2, count, self.num_digits), dtype=np.int8)
        return AdditionProblems(*digits)

    def keys(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash the pair of numbers; a + b asks the same as b + a."""
        sums = cast(AdditionProblems, problems)
        return _hash_pairs(sums.a, sums.b)

    def families(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash the pair of numbers without their lowest digits, whichever comes first.

        Problems of one family differ in the carry into the columns that they share.
        """
        sums = cast(AdditionProblems, problems)
        return _hash_pairs(sums.a[:, :-1], sums.b[:, :-1])

    def prompts(self, problems: Problems) -> Symbols:
        """Write `a + b =`, the highest digits first."""
        sums = cast(AdditionProblems, problems)
        prompts = np.empty((len(sums), self.prompt_length), dtype=np.int64)
        prompts[:, : self.num_digits] = sums.a
        prompts[:, self.num_digits] = self.base
        prompts[:, self.num_digits + 1 : -1] = sums.b
        prompts[:, -1] = self.base + 1
        return prompts

    def answers(self, problems: Problems) -> Symbols:
        """Write the sum, the highest digit first."""
        columns = self.columns(problems)
        return ((columns + self.carries(columns)) % self.base).astype(np.int64)

    def score(self, problems: Problems, answers: Symbols) -> Verdicts:
        """Name what is wrong with each answer; the first kind that applies, in this order.

        malformed: a symbol that is not a digit. wrong_carry: each digit is the sum of its column with some
        carry into it, 0 or 1 (0 for the lowest). wrong_digit: some digit is not even that.
        """
        columns = self.columns(problems)
        possible = (answers == columns % self.base) | (answers == (columns + 1) % self.base)
        possible[:, -1] = answers[:, -1] == columns[:, -1] % self.base
        conditions = [
            (answers == self.answers(problems)).all(axis=1),
            ((answers < 0) | (answers >= self.base)).any(axis=1),
            possible.all(axis=1),
        ]
        kinds = tuple(KINDS)
        numbers = [kinds.index(kind) for kind in ("correct", "malformed", "wrong_carry")]
        return Verdicts(kinds, np.select(conditions, numbers, default=kinds.index("wrong_digit")))

    def columns(self, problems: Problems) -> Int8[np.ndarray, "count length"]:
        """Sum the digits in the column of each answer position; there are none in that of position 0."""
        sums = cast(AdditionProblems, problems)
        return np.pad(sums.a + sums.b, [(0, 0), (1, 0)])

    def carries(self, columns: Int8[np.ndarray, "count length"]) -> Int8[np.ndarray, "count length"]:
        """Work out the carry into the column of each answer position, from the lowest up."""
        carries = np.zeros_like(columns)
        for position in range(self.num_digits, 0, -1):
            carries[:, position - 1] = columns[:, position] + carries[:, position] >= self.base
        return carries

    @property
    def lookahead(self) -> "CarryLookahead":
        """The digits whose carry is not given away."""
        return CarryLookahead(self)

    @property
    def text(self) -> TextFormat:
        """Numbers without spaces."""
        return self.text_format("", self._lines, self._words, prompt_reader=PromptReader(self.read_prompts))

    def read_prompts(self, prompts: Sequence[str]) -> AdditionProblems:
        """Read `123+456=`. Raises UserError."""
        return AdditionProblems(*addition_text.read(prompts, self.num_digits, self.base))

    @property
    def pictures(self) -> Pictures:
        """The sum on paper; the page shows the line alone."""
        return Pictures(lambda problems, index: {}, self._on_paper)

    def _lines(self, problems: Problems) -> list[str]:
        """Write `123+456=`."""
        sums = cast(AdditionProblems, problems)
        return addition_text.write(sums.a, sums.b)

    def _words(self, order: Order) -> str:
        """Explain the line."""
        return addition_text.instruction(self.num_digits, self.base, order)

    def _on_paper(self, problems: Problems, index: int) -> list[str]:
        """Draw the sum as one writes it on paper, under the carries."""
        one = cast(AdditionProblems, problems.take(slice(index, index + 1)))
        carries = self.carries(self.columns(one))[0, :-1]
        a, b, answer = ("".join(map(str, row[0])) for row in (one.a, one.b, self.answers(one)))
        marks = "".join("1" if carry else "·" for carry in carries)
        return [f"carry {marks}", f"       {a}", f"    +  {b}", f"    = {answer}"]


@dataclass(frozen=True)
class CarryLookahead(Lookahead):
    """A digit awaits the carry of lower columns, unless its own column passes on what came before it."""

    task: Addition

    @property
    def decisive_positions(self) -> tuple[int, ...]:
        """All but the last digit."""
        return tuple(range(self.task.num_digits))

    def position_chances(self, given_answer: bool = True) -> tuple[float, ...]:
        """Guess no carry: k uniform columns carry with probability (1 - base**-k) / 2.

        Given the answer or not: where a position is decisive, the answer before it tells nothing of the
        carry, which is guessed from columns not looked at, at the same odds.
        """
        return (*((1 + self.task.base**-k) / 2 for k in range(self.task.num_digits, 0, -1)), 1.0)

    def decisive(self, problems: Problems) -> Marks:
        """Mark the highest digit, and those of columns whose carry out does not tell their carry in."""
        marks = self.task.columns(problems) != self.task.base - 1
        marks[:, -1] = False
        return marks

    def given_away(self, problems: Problems) -> Marks:
        """Mark the digits of columns that pass their carry on; the answer before has shown it."""
        marks = self.task.columns(problems) == self.task.base - 1
        marks[:, -1] = False
        return marks

    def with_stated_end(self, problems: Problems, answers: Symbols) -> Symbols:
        """Return them as they are: the prompt states no digit of the answer."""
        return answers

    def choices(self, problems: Problems, position: int) -> Symbols:
        """Return the digits with the true carry and with the other."""
        columns = self.task.columns(problems)
        carry = self.task.carries(columns)[:, position]
        digits = columns[:, position, None] + np.stack([carry, 1 - carry], axis=1)
        return (digits % self.task.base).astype(np.int64)

    def decoys(self, problems: Problems) -> Int[np.ndarray, "count decoys length"]:
        """Return none: a wrongly guessed carry does not tell what to guess for those further on."""
        return np.empty((len(problems), 0, self.task.answer_length), dtype=np.int64)

    def counterfactual_prompts(self, problems: Problems) -> list[Problems]:
        """Alter the lowest digit of b so far that the carry out of its column flips, where that can be.

        It cannot where the lowest digit of a is 0. The flip travels up through columns that pass their
        carry on, and ends at the first that does not, or at the top: the first digit to change, read
        from the highest, is decisive.
        """
        sums = cast(AdditionProblems, problems)
        a, b = sums.a[:, -1], sums.b[:, -1]
        smallest_that_carries = self.task.base - a
        flipped = np.where(a + b < self.task.base, smallest_that_carries, smallest_that_carries - 1)
        altered = sums.b.copy()
        altered[:, -1] = np.where(a == 0, b, flipped)
        return [AdditionProblems(sums.a, altered)]


def _hash_pairs(
    a: Int8[np.ndarray, "count digits"], b: Int8[np.ndarray, "count digits"]
) -> UInt64[np.ndarray, " count"]:
    """Hash unordered pairs of rows."""
    return hash_rows((hash_rows(a) + hash_rows(b))[:, None])
