"""Positions of the answer that an objective's loss counts."""

from unforced.config.overrides import flatten
from unforced.objectives.base import Objective
from unforced.parts import tree


def check_positions(objective: Objective, answer: int, whose: str) -> None:
    """Refuse positions beyond answers of `answer` tokens, also those of an objective's parts.

    whose: the answers, in words. Raises ValueError.
    """
    for key, positions in flatten(tree(objective), "objective.").items():
        for position in (positions or ()) if key.endswith(".train_positions") else ():
            if not 0 <= position < answer:
                raise ValueError(
                    f"{key}: {position} is not an answer position of {whose}; they are 0 to {answer - 1}"
                )
