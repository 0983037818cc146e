"""What can be wrong with a path: in a graph of few leaves, and in any graph without cycles."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Int

from unforced.tasks.problems import END, Marks, Symbols, Verdicts, answer_lengths

WALK_KINDS: Mapping[str, str] = {
    "correct": "",
    "no_edge": "a step is not an edge",
    "wrong_turn": "edges only, to a node that has no way to the goal",
    "past_goal": "edges only, through the goal and on",
    "stops_early": "edges only, and it ends before the goal",
    "wrong_start": "it does not begin at the start",
    "malformed": "it is not a list of nodes",
}
"""The kinds of answers that `walk_verdicts` names."""


def path_verdicts(
    answers: Symbols,
    truth: Symbols,
    others: Int[np.ndarray, "count leaves length"],
    num_nodes: int,
    astray: str,
    varied: bool = False,
) -> Verdicts:
    """Name what is wrong with each answer; the first kind that applies, in this order.

    malformed: it holds what is not a node. wrong_start: it begins elsewhere. `astray`: one of the `others`,
    true paths to other leaves. `astray`_to_goal: one of the `others` up to its last node but one, and then
    the goal. wrong_end: it ends elsewhere than at the goal, and not by following another path. broken_edge:
    it goes from the start to the goal in any other way, so that some step is not an edge.

    varied: whether paths vary in length, with -1 behind their end.
    """
    rows = np.arange(len(truth))
    goals = truth[rows, _last(truth, varied)]
    to_goal = answers[rows, _last(answers, varied)] == goals
    jumps = [with_goal(other, goals, varied) for other in others.transpose(1, 0, 2)]
    conditions = {
        "correct": (answers == truth).all(axis=1),
        "malformed": _malformed(answers, num_nodes, varied),
        "wrong_start": answers[:, 0] != truth[:, 0],
        astray: (answers[:, None, :] == others).all(axis=2).any(axis=1),
        f"{astray}_to_goal": _any([(answers == jump).all(axis=1) for jump in jumps], len(truth)),
        "wrong_end": ~to_goal,
    }
    kinds = tuple(path_kinds(astray))
    numbers = [kinds.index(kind) for kind in conditions]
    return Verdicts(kinds, np.select(list(conditions.values()), numbers, default=kinds.index("broken_edge")))


def path_kinds(astray: str) -> dict[str, str]:
    """Return the kinds of answers that `path_verdicts` names, in the order in which they are shown."""
    return {
        "correct": "",
        astray: "followed to its end",
        f"{astray}_to_goal": "followed to its last node but one, then a jump to the goal",
        "broken_edge": "another step is not an edge",
        "wrong_start": "it does not begin at the start",
        "wrong_end": "it ends elsewhere than at the goal",
        "malformed": "it is not a list of nodes",
    }


def walk_verdicts(
    answers: Symbols,
    ends: Int[np.ndarray, "count 2"],
    edges: Bool[np.ndarray, "nodes nodes"],
    reaches: Bool[np.ndarray, "nodes nodes"],
) -> Verdicts:
    """Walk each answer along the edges, and name what is wrong with it; any path to the goal is right.

    ends: start and goal. reaches: from which node a path of an edge or more leads to which. Answers vary in
    length. The first kind applies of malformed, wrong_start, no_edge; then it depends on the last node.
    """
    rows, (start, goal) = np.arange(len(answers)), ends.T
    malformed = _malformed(answers, len(edges), varied=True)
    nodes = np.where(malformed[:, None], END, answers)
    last = nodes[rows, _last(nodes, varied=True)]
    steps = nodes[:, 1:] >= 0
    conditions = {
        "malformed": malformed,
        "wrong_start": nodes[:, 0] != start,
        "no_edge": np.any(steps & ~edges[nodes[:, :-1], nodes[:, 1:]], axis=1),
        "correct": last == goal,
        "past_goal": (nodes == goal[:, None]).any(axis=1),
        "stops_early": reaches[last, goal],
    }
    kinds = tuple(WALK_KINDS)
    numbers = [kinds.index(kind) for kind in conditions]
    return Verdicts(kinds, np.select(list(conditions.values()), numbers, default=kinds.index("wrong_turn")))


def with_goal(answers: Symbols, goals: Int[np.ndarray, " count"], varied: bool = False) -> Symbols:
    """Replace the last node of each path by a goal."""
    replaced = answers.copy()
    replaced[np.arange(len(answers)), _last(answers, varied)] = goals
    return replaced


def _last(answers: Symbols, varied: bool) -> Int[np.ndarray, " count"]:
    """Return the place of the last node of each path; 0 of an empty one."""
    if not varied:
        return np.full(len(answers), answers.shape[1] - 1)
    return np.maximum(answer_lengths(answers) - 1, 0)


def _malformed(answers: Symbols, num_nodes: int, varied: bool) -> Bool[np.ndarray, " count"]:
    nodes: Marks = (answers >= 0) & (answers < num_nodes)
    if not varied:
        return ~np.all(nodes, axis=1)
    behind = np.arange(answers.shape[1]) >= np.maximum(answer_lengths(answers), 1)[:, None]
    well_formed: Marks = np.where(behind, answers == END, nodes)
    return ~np.all(well_formed, axis=1)


def _any(conditions: list[Bool[np.ndarray, " count"]], count: int) -> Bool[np.ndarray, " count"]:
    found = np.zeros(count, dtype=np.bool_)
    for condition in conditions:
        found |= condition
    return found
