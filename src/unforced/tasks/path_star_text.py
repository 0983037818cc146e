"""Path-star problems from the paper's text lines."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from unforced.tasks.graph_size import MOST_NODES
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
from unforced.tasks.problems import END

Arms = list[list[int]]
Star = tuple[int, Arms, list[tuple[int, int]], list[bool]]
Arrays = tuple[
    Int[np.ndarray, " count"],
    Int[np.ndarray, "count degree hops"],
    Int[np.ndarray, "count edges"],
    Bool[np.ndarray, "count edges"],
]


@dataclass(frozen=True)
class Wording:
    """How prompts are written, and how long paths may be.

    query: where a prompt asks its question. undirected: whether edges may be written in either direction.
    lengths: nodes on the shortest and the longest path; None: as many as on the first line. by_arm: whether
    the arms of a graph may differ in length.
    """

    query: Query
    undirected: bool = False
    lengths: tuple[int, int] | None = None
    by_arm: bool = False

    def star(self, edges: Sequence[Edge], start: int, goal: int) -> Star:
        """Find the star that edges form. Raises ValueError unless they form one of these lengths."""
        star = _star(edges, start, goal, self.undirected)
        sizes = sorted({len(arm) + 1 for arm in star[1]})
        if len(sizes) > 1 and not self.by_arm:
            raise ValueError("the arms differ in length")
        if self.lengths is not None and not self.lengths[0] <= sizes[0] <= sizes[-1] <= self.lengths[1]:
            most = "" if self.lengths[1] == MOST_NODES else f" and at most {self.lengths[1]}"
            raise ValueError(f"its paths have {_span(sizes)} nodes, not at least {self.lengths[0]}{most}")
        return star


def wording_of(known: Mapping[str, Any]) -> Wording:
    """Return the wording that fields of a task describe; with `shortest`, `path_length` is the longest."""
    least, most = known.get("shortest"), known.get("path_length", MOST_NODES)
    return Wording(
        known["query"],
        known.get("edge_direction") == "random",
        None if least is None else (least, most),
        known.get("lengths_vary") == "by_arm",
    )


def read(lines: Iterable[str], source: str, reverse: bool, num_nodes: int, wording: Wording) -> Arrays:
    """Read lines into starts, arms (the goal's first), the order of edges, and which are written inward.

    Raises UserError that names `source`, the line, and what keeps it from being a path-star problem.
    """

    def parse(line: str, first: Star | None) -> Star:
        edges, start, goal, answer = split(line, wording.query)
        star = wording.star(edges, start, goal)
        arms = star[1]
        check_answer(answer[::-1] if reverse else answer, [start, *arms[0]])
        if first and _shape(arms, wording) != _shape(first[1], wording):
            raise ValueError(f"it is {_name(arms)}, but the first line is {_name(first[1])}")
        check_label(max(start, *(max(arm) for arm in arms)), num_nodes)
        check_nodes(len(edges) + 1)
        return star

    stars = read_each(lines, source, "a path-star problem", parse)
    longest = max(len(arm) for _, arms, _, _ in stars for arm in arms)
    known = wording.lengths and wording.lengths[1] < MOST_NODES
    return _arrays(stars, wording.lengths[1] - 1 if wording.lengths and known else longest)


def read_alone(prompts: Sequence[str], shape: tuple[int, int], wording: Wording) -> Arrays:
    """Read prompts as `read` does, and find the goal's arm. Raises UserError.

    shape: the number of arms, and of labels. The wording's lengths are given.
    """
    (degree, num_nodes), (least, most) = shape, wording.lengths or (2, MOST_NODES)

    def parse(prompt: str) -> Star:
        edges, start, goal = split_prompt(prompt, wording.query)
        star = replace(wording, lengths=None).star(edges, start, goal)
        arms = star[1]
        if len(arms) != degree or not all(least <= len(arm) + 1 <= most for arm in arms):
            raise ValueError(f"it is {_name(arms)}, and the task is G({degree}, {_span([least, most])})")
        check_label(max(start, *(max(arm) for arm in arms)), num_nodes)
        return star

    return _arrays(read_prompts(prompts, "a path-star prompt", parse), most - 1)


def _shape(arms: Arms, wording: Wording) -> tuple[int, int]:
    """Return what is the same on every line."""
    return len(arms), len(arms[0]) if wording.lengths is None else 0


def _name(arms: Arms) -> str:
    return f"G({len(arms)}, {_span([len(arm) + 1 for arm in arms])})"


def _span(sizes: Sequence[int]) -> str:
    least, most = min(sizes), max(sizes)
    return f"{least}-{most}" if least < most else str(most)


def _arrays(stars: Sequence[Star], hops: int) -> Arrays:
    """Return stars as arrays, for arms of up to so many nodes behind the start."""
    degree = len(stars[0][1])
    arms = np.full((len(stars), degree, hops), END, dtype=np.int32)
    order = np.empty((len(stars), degree * hops), dtype=np.int32)
    flipped = np.zeros(order.shape, dtype=np.bool_)
    for row, (_, found, written, turned) in enumerate(stars):
        for arm, nodes in zip(arms[row], found, strict=True):
            arm[: len(nodes)] = nodes
        places = [arm * hops + hop for arm, hop in written]
        order[row] = [*places, *sorted({*range(degree * hops)} - {*places})]
        flipped[row, : len(turned)] = turned
    return np.array([start for start, *_ in stars], np.int32), arms, order, flipped


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


def _edge_order(edges: Sequence[Edge], start: int, arms: Arms) -> list[tuple[int, int]]:
    """Say of each edge on which arm it is, and how many edges are before it there."""
    place = {
        edge: (number, hop)
        for number, arm in enumerate(arms)
        for hop, edge in enumerate(itertools.pairwise([start, *arm]))
    }
    return [place[edge] for edge in edges]
