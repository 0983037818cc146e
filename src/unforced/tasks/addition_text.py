"""Addition problems as text lines: `123+456=0579`, all numbers padded with zeros."""

import re
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int8

from unforced.tasks.base import Order
from unforced.tasks.lines import read_each

FEWEST_DIGITS, MOST_DIGITS = 2, 1000
Digits = Int8[np.ndarray, "count digits"]
_LINE = re.compile(r"([0-9]+)\+([0-9]+)=([0-9]+)")


def write(a: Digits, b: Digits) -> list[str]:
    """Write prompts, from the digits of both numbers as they stand."""
    return [f"{a}+{b}=" for a, b in zip(_texts(a), _texts(b), strict=True)]


def instruction(num_digits: int, base: int, order: Order) -> str:
    """Explain the line of numbers of so many digits, and the answer in an order."""
    first = "highest" if order == "forward" else "lowest"
    return (
        f"Each line asks for the sum of two numbers in base {base}. Both have {num_digits} digits, "
        "leading zeros included, written from the highest digit on, with the sign + between them; then "
        f"comes the sign =. After the sign = comes the answer: the {num_digits + 1} digits of the sum, "
        f"leading zeros included, written from the {first} digit on, with nothing between them. "
        "Write the answer and nothing else."
    )


def read(lines: Iterable[str], source: str, reverse: bool, base: int) -> tuple[Digits, Digits]:
    """Read the digits of both numbers, highest first.

    Raises UserError that names `source`, the line, and what keeps it from being an addition problem.
    """

    def parse(line: str, first: tuple[str, str] | None) -> tuple[str, str]:
        found = _LINE.fullmatch(line)
        if not found:
            raise ValueError("expected digits+digits=digits")
        a, b, answer = found.groups()
        _check_digits(a, b, answer, base)
        if first and len(a) != len(first[0]):
            raise ValueError(f"its numbers have {len(a)} digits, but the first line has {len(first[0])}")
        _check_sum(a, b, answer[::-1] if reverse else answer, base)
        return a, b

    pairs = read_each(lines, source, "an addition problem", parse)
    digits = np.array([[list(map(int, number)) for number in pair] for pair in pairs], np.int8)
    return digits[:, 0], digits[:, 1]


def _check_digits(a: str, b: str, answer: str, base: int) -> None:
    if len(a) != len(b):
        raise ValueError(f"its numbers have {len(a)} and {len(b)} digits; pad the shorter one with zeros")
    if not FEWEST_DIGITS <= len(a) <= MOST_DIGITS:
        raise ValueError(f"its numbers have {len(a)} digits, not {FEWEST_DIGITS} to {MOST_DIGITS}")
    largest = max(map(int, a + b + answer))
    if largest >= base:
        raise ValueError(f"digit {largest} does not fit base {base}")


def _check_sum(a: str, b: str, answer: str, base: int) -> None:
    total = np.base_repr(int(a, base) + int(b, base), base).zfill(len(a) + 1)
    if answer != total:
        raise ValueError(f"the answer {answer} is not the sum {total}")


def _texts(digits: Digits) -> list[str]:
    return [bytes(row).decode() for row in (digits + ord("0")).astype(np.uint8)]
