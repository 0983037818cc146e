"""Path-star problems from the paper's text lines."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Int

from unforced.tasks.graph_text import (
    Edge,
    Query,
    check_answer,
    check_label,
    check_nodes,
    split,
    split_prompt,
)
from unforced.tasks.lines import read_each, read_prompts

Arms = list[list[int]]
Star = tuple[int, Arms, list[int], list[bool]]
Arrays = tuple[
    Int[np.ndarray, " count"],
    Int[np.ndarray, "count degree hops"],
    Int[np.ndarray, "count edges"],
    Bool[np.ndarray, "count edges"],
]
Words = tuple[Query, bool]
"""Where a prompt asks its question, and whether its edges may be written in either direction."""


def read(lines: Iterable[str], source: str, reverse: bool, num_nodes: int, words: Words) -> Arrays:
    """Read lines into starts, arms (the goal's first), the order of edges, and which are written inward.

    Raises UserError that names `source`, the line, and what keeps it from being a path-star problem.
    """
    query, undirected = words

    def parse(line: str, first: Star | None) -> Star:
        edges, start, goal, answer = split(line, query)
        star = _star(edges, start, goal, undirected)
        arms = star[1]
        _check(arms, start, answer[::-1] if reverse else answer, first[1] if first else arms, num_nodes)
        check_nodes(len(edges) + 1)
        return star

    return _arrays(read_each(lines, source, "a path-star problem", parse))


def read_alone(prompts: Sequence[str], expected: tuple[int, int], num_nodes: int, words: Words) -> Arrays:
    """Read prompts of G(degree, path_length), as `read` does, and find the goal's arm. Raises UserError.

    expected: degree and path length.
    """
    query, undirected = words

    def parse(prompt: str) -> Star:
        edges, start, goal = split_prompt(prompt, query)
        star = _star(edges, start, goal, undirected)
        arms = star[1]
        shape = len(arms), len(arms[0]) + 1
        if shape != expected:
            raise ValueError(f"it is G{shape}, and the task is G{expected}")
        check_label(max(start, *(max(arm) for arm in arms)), num_nodes)
        return star

    return _arrays(read_prompts(prompts, "a path-star prompt", parse))


def _arrays(stars: Sequence[Star]) -> Arrays:
    starts, arms, orders, flipped = zip(*stars, strict=True)
    numbers = (np.array(each, np.int32) for each in (starts, arms, orders))
    return *numbers, np.array(flipped, np.bool_)  # type: ignore[return-value]


def _star(edges: Sequence[Edge], start: int, goal: int, undirected: bool) -> Star:
    outward = _outward(edges, start) if undirected else edges
    try:
        arms = _arms(outward, start, goal)
    except ValueError as error:
        if undirected or not _is_star(_outward(edges, start), start, goal):
            raise
        raise ValueError(f"{error}; for edges written either way, give edge_direction=random") from None
    flipped = [edge != way for edge, way in zip(edges, outward, strict=True)]
    return start, arms, _edge_order(outward, start, arms), flipped


def _outward(edges: Sequence[Edge], start: int) -> list[Edge]:
    """Turn edges so that they lead away from the start, as far as they are connected to it."""
    neighbours: dict[int, list[int]] = {}
    for one, other in edges:
        neighbours.setdefault(one, []).append(other)
        neighbours.setdefault(other, []).append(one)
    depths, reached = {start: 0}, [start]
    for node in reached:
        new = [other for other in neighbours.get(node, []) if other not in depths]
        depths |= dict.fromkeys(new, depths[node] + 1)
        reached += dict.fromkeys(new)
    return [(b, a) if depths.get(a, 0) > depths.get(b, 0) else (a, b) for a, b in edges]


def _is_star(edges: Sequence[Edge], start: int, goal: int) -> bool:
    try:
        return bool(_arms(edges, start, goal))
    except ValueError:
        return False


def _arms(edges: Sequence[Edge], start: int, goal: int) -> Arms:
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


def _check(arms: Arms, start: int, answer: list[int], first: Arms, num_nodes: int) -> None:
    path = [start, *arms[0]]
    check_answer(answer, path)
    shape, expected = (len(arms), len(path)), (len(first), len(first[0]) + 1)
    if shape != expected:
        raise ValueError(f"it is G{shape}, but the first line is G{expected}")
    check_label(max(start, *(max(arm) for arm in arms)), num_nodes)


def _edge_order(edges: Sequence[Edge], start: int, arms: Arms) -> list[int]:
    paths = [[start, *arm] for arm in arms]
    rank = {edge: i for i, edge in enumerate(e for path in paths for e in itertools.pairwise(path))}
    return [rank[edge] for edge in edges]
