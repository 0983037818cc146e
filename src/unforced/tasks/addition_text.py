"""Addition problems as text lines: `123+456=0579`, all numbers padded with zeros."""

import numpy as np
from jaxtyping import Int8

from unforced.tasks.base import Order

FEWEST_DIGITS, MOST_DIGITS = 2, 1000
Digits = Int8[np.ndarray, "count digits"]


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


def _texts(digits: Digits) -> list[str]:
    return [bytes(row).decode() for row in (digits + ord("0")).astype(np.uint8)]
