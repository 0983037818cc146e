"""What training shows of an answer, how a decoder writes it, and which measures follow from the two."""

from collections.abc import Sequence
from typing import Literal

Shows = Literal["prefix", "parts", "nothing"]
"""What training shows of the true answer: all before each token, random parts of it, or nothing."""
Writes = Literal["left_to_right", "one_pass", "any_order"]
"""How an answer comes about: each token after those before it, all at once, or in an order of its own."""
Mode = Literal["forced", "free", "one_pass"]
"""How an answer is asked for: given the true one so far, by the decoder, or in one pass over the prompt."""


MOST_STEP_COUNTS = 8
"""How many numbers of decoding steps a diagnosis tries, at the most."""
MOST_ASKED = 2000
"""How many problems are asked about with the true answer so far hidden, at the most."""
MOST_REPEATED = 2000
"""How many problems it answers again with each of them, at the most."""


def trained_mode(shows: Shows, writes: Writes) -> Mode:
    """Return the mode that gives the model the inputs of training."""
    if shows != "nothing":
        return "forced"
    return "free" if writes == "one_pass" else "one_pass"


def forced_note(objective: str, shows: Shows) -> str:
    """Return a caveat about teacher-forced accuracies; empty if training gives the same inputs."""
    return {
        "prefix": "",
        "parts": (
            f"{objective} trains on random parts of the true answer; teacher forcing gives all that is "
            "before a token, and nothing behind it"
        ),
        "nothing": (
            f"{objective} training never gives the true answer as input, so teacher forcing asks what was "
            "not trained"
        ),
    }[shows]


def exact_measures(mode: Mode, positions: Sequence[int] | None) -> tuple[str, ...]:
    """Name the accuracies that are all near one if everything trained is right.

    mode: gives the inputs of training. positions: those that the loss counts (None: all).
    """
    return ("free.exact",) if positions is None else tuple(f"{mode}.token_{each}" for each in positions)
