"""What can be wrong with a path in a graph whose leaves are known."""

import numpy as np
from jaxtyping import Int

from unforced.tasks.base import Symbols, Verdicts


def path_verdicts(
    answers: Symbols,
    truth: Symbols,
    others: Int[np.ndarray, "count leaves length"],
    num_nodes: int,
    astray: str,
) -> Verdicts:
    """Name what is wrong with each answer; the first kind that applies, in this order.

    malformed: a symbol that is no node. wrong_start: it begins elsewhere. `astray`: one of the `others`, true
    paths to other leaves. `astray`_to_goal: one of the `others` up to its last node but one, and then the
    goal. wrong_end: some step is no edge, and it ends elsewhere than at the goal. broken_edge: it goes from
    the start to the goal in any other way, and some step is no edge.
    """
    to_goal = answers[:, -1] == truth[:, -1]
    conditions = {
        "correct": (answers == truth).all(axis=1),
        "malformed": ((answers < 0) | (answers >= num_nodes)).any(axis=1),
        "wrong_start": answers[:, 0] != truth[:, 0],
        astray: (answers[:, None, :] == others).all(axis=2).any(axis=1),
        f"{astray}_to_goal": to_goal & (answers[:, None, :-1] == others[:, :, :-1]).all(axis=2).any(axis=1),
        "wrong_end": ~to_goal,
    }
    kinds = tuple(path_kinds(astray))
    numbers = [kinds.index(kind) for kind in conditions]
    return Verdicts(kinds, np.select(list(conditions.values()), numbers, default=kinds.index("broken_edge")))


def path_kinds(astray: str) -> dict[str, str]:
    """Return the kinds of answers that `path_verdicts` names, in the order in which they are told."""
    return {
        "correct": "",
        astray: "followed to its end",
        f"{astray}_to_goal": "followed to its last node but one, then a jump to the goal",
        "broken_edge": "another step is not an edge",
        "wrong_start": "it does not begin at the start",
        "wrong_end": "a step is not an edge, and it ends elsewhere",
        "malformed": "it is not a list of nodes",
    }
