"""Prompts and answers of own data that are far longer than most, to which all others are padded."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_FAR = 8  # times the median
_LONG = 256  # symbols, below which padding costs little


@dataclass(frozen=True)
class Lengths:
    """How many symbols the prompts have, the longest right answer to each, and the separator."""

    prompts: Sequence[int]
    answers: Sequence[int]
    separator: int

    @property
    def most(self) -> tuple[int, int]:
        """Of the longest prompt, with the separator, and of the longest answer."""
        return max(self.prompts) + self.separator, max(self.answers)

    def notice(self, places: Sequence[str], unit: str) -> str:
        """Name the longest prompt or answer, if it is far longer than most; places: of each row."""
        for kind, sizes in (("prompt", self.prompts), ("answer", self.answers)):
            longest, median = int(np.argmax(sizes)), int(np.median(sizes))
            if sizes[longest] > max(_LONG, _FAR * median):
                return (
                    f"{places[longest]}: the {kind} has {sizes[longest]:,} {unit}s, the median is "
                    f"{median:,}; every batch is as wide as the longest {kind}: shorten or drop it to train "
                    "faster"
                )
        return ""
