"""The paper's text line for a path-star problem: `a,b|c,d|.../start,goal=start,n1,...,goal`.

Source: arXiv 2403.06963, App. (data format of its public code).
"""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int

from unforced.errors import UserError

Edge = tuple[int, int]
Arms = list[list[int]]
_MOST_DIGITS = 9  # fits the 32 bits that labels are stored in


def write(
    edges: Int[np.ndarray, "count edges 2"],
    queries: Int[np.ndarray, "count 2"],
    answers: Int[np.ndarray, "count nodes"],
) -> list[str]:
    """Write problems as lines, from their edges as listed, (start, goal) queries and answers."""
    rows = zip(edges.tolist(), queries.tolist(), answers.tolist(), strict=True)
    return [f"{'|'.join(map(_text, graph))}/{_text(query)}={_text(answer)}" for graph, query, answer in rows]


def read(
    lines: Iterable[str], source: str, reverse: bool, num_nodes: int, most_nodes: int
) -> tuple[Int[np.ndarray, " count"], Int[np.ndarray, "count degree hops"], Int[np.ndarray, "count edges"]]:
    """Read lines into starts, arms (the goal's first) and the order in which edges are written.

    Raises UserError that names `source`, the line, and what keeps it from being a path-star problem.
    """
    starts: list[int] = []
    arms: list[Arms] = []
    orders: list[list[int]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            edges, start, goal, answer = _split(line.strip())
            star = _star(edges, start, goal)
            _check(star, start, answer[::-1] if reverse else answer, arms[0] if arms else star, num_nodes)
            if len(edges) >= most_nodes:
                raise ValueError(f"a graph of {len(edges) + 1} nodes, more than {most_nodes}")
        except ValueError as error:
            raise UserError(f"{source}:{number}: not a path-star problem: {error}") from None
        paths = [[start, *arm] for arm in star]
        rank = {edge: i for i, edge in enumerate(e for p in paths for e in itertools.pairwise(p))}
        starts.append(start)
        arms.append(star)
        orders.append([rank[edge] for edge in edges])
    if not starts:
        raise UserError(f"{source}: no problems in it")
    return np.array(starts, np.int32), np.array(arms, np.int32), np.array(orders, np.int32)


def _split(line: str) -> tuple[list[Edge], int, int, list[int]]:
    graph, slash, rest = line.partition("/")
    query, equals, answer = rest.partition("=")
    if not slash or not equals:
        raise ValueError("expected a,b|c,d/start,goal=path")
    edges = [_pair(edge) for edge in graph.split("|")]
    start, goal = _pair(query)
    return edges, start, goal, _integers(answer)


def _integers(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"{text!r} is not a comma-separated list of node labels")
    if max(map(len, parts)) > _MOST_DIGITS:
        raise ValueError(f"a label of more than {_MOST_DIGITS} digits")
    return [int(part) for part in parts]


def _pair(text: str) -> Edge:
    numbers = _integers(text)
    if len(numbers) != 2:
        raise ValueError(f"{text!r} is not a pair a,b")
    return numbers[0], numbers[1]


def _star(edges: Sequence[Edge], start: int, goal: int) -> Arms:
    children: dict[int, list[int]] = {}
    for parent, child in edges:
        children.setdefault(parent, []).append(child)
    arms = [_walk(children, start, first) for first in children.get(start, [])]
    if sum(map(len, arms)) != len(edges):
        raise ValueError(f"some edges are on no arm that leaves the start {start}")
    nodes = [start, *(node for arm in arms for node in arm)]
    if len(set(nodes)) != len(nodes):
        raise ValueError("a node occurs on two arms")
    if goal not in [arm[-1] for arm in arms]:
        raise ValueError(f"the goal {goal} is not the end of an arm")
    if len({len(arm) for arm in arms}) != 1:
        raise ValueError("the arms differ in length")
    return sorted(arms, key=lambda arm: arm[-1] != goal)


def _walk(children: dict[int, list[int]], start: int, first: int) -> list[int]:
    arm = [first]
    while arm[-1] in children:
        following = children[arm[-1]]
        if len(following) > 1:
            raise ValueError(f"node {arm[-1]} has {len(following)} children; only the start may branch")
        if following[0] in arm or following[0] == start:
            raise ValueError(f"the edge {arm[-1]},{following[0]} closes a cycle")
        arm.append(following[0])
    return arm


def _check(star: Arms, start: int, answer: list[int], first: Arms, num_nodes: int) -> None:
    path = [start, *star[0]]
    if answer != path:
        raise ValueError(f"the answer {_text(answer)} is not the path {_text(path)}")
    shape, expected = (len(star), len(path)), (len(first), len(first[0]) + 1)
    if shape != expected:
        raise ValueError(f"it is G{shape}, but the first line is G{expected}")
    largest = max(start, *(max(arm) for arm in star))
    if largest >= num_nodes:
        raise ValueError(f"label {largest} does not fit num_nodes {num_nodes}")


def _text(nodes: list[int]) -> str:
    return ",".join(map(str, nodes))
