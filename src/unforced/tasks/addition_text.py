"""Addition problems as text lines: `123+456=0579`, all numbers padded with zeros."""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int8

from unforced.tasks.base import Order
from unforced.tasks.lines import read_prompts

FEWEST_DIGITS, MOST_DIGITS = 2, 1000
Digits = Int8[np.ndarray, "count digits"]


def write(a: Digits, b: Digits) -> list[str]:
    """Write prompts, from the digits of both numbers as they stand."""
    return [f"{a}+{b}=" for a, b in zip(_texts(a), _texts(b), strict=True)]


def read(prompts: Sequence[str], num_digits: int, base: int) -> tuple[Digits, Digits]:
    """Read what `write` wrote. Raises UserError."""
    number = rf"([0-{base - 1}]{{{num_digits}}})"

    def parse(prompt: str) -> tuple[str, str]:
        match = re.fullmatch(rf"{number}\+{number}=", prompt)
        if not match:
            raise ValueError(
                f"expected two numbers of {num_digits} digits 0 to {base - 1}, leading zeros included, as in "
                f"{'0' * (num_digits - 1)}1+{'0' * (num_digits - 1)}1="
            )
        return match[1], match[2]

    pairs = read_prompts(prompts, "an addition", parse)
    a, b = (np.array([[*map(int, text)] for text in texts], np.int8) for texts in zip(*pairs, strict=True))
    return a, b


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


def _texts(digits: Digits) -> list[str]:
    return [bytes(row).decode() for row in (digits + ord("0")).astype(np.uint8)]
