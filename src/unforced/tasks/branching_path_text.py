"""Branching-path problems from text lines in the paper's format."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int

from unforced.tasks.graph_text import Edge, check_answer, check_label, check_nodes, split
from unforced.tasks.lines import read_each
from unforced.tasks.tree import Tree

Levels = list[list[int]]
Parsed = tuple[Tree, list[int], list[int]]


def read(
    lines: Iterable[str], source: str, reverse: bool, num_nodes: int
) -> tuple[Tree, Int[np.ndarray, "count nodes"], Int[np.ndarray, "count edges"]]:
    """Read lines into their tree, labels in its order of nodes, and the order in which edges are written.

    Raises UserError that names `source`, the line, and what keeps it from being a branching-path problem.
    """

    def parse(line: str, first: Parsed | None) -> Parsed:
        edges, start, goal, answer = split(line)
        levels = _levels(edges, start, goal)
        check_answer(answer[::-1] if reverse else answer, [level[0] for level in levels])
        tree = _tree(edges, levels)
        if first and tree != first[0]:
            raise ValueError(f"it is {tree}, but the first line is {first[0]}")
        labels = [node for level in levels for node in level]
        check_label(max(labels), num_nodes)
        check_nodes(len(labels))
        place = {node: i for i, node in enumerate(labels)}
        return tree, labels, [place[child] - 1 for _, child in edges]

    trees, labels, orders = zip(*read_each(lines, source, "a branching-path problem", parse), strict=True)
    return trees[0], np.array(labels, np.int32), np.array(orders, np.int32)


def _levels(edges: Sequence[Edge], start: int, goal: int) -> Levels:
    """Sort the nodes by depth, siblings together, the path to the goal first."""
    parents = _parents(edges, start)
    to_goal = [goal]
    while to_goal[-1] in parents and len(to_goal) <= len(edges):
        to_goal.append(parents[to_goal[-1]])
    children: dict[int, list[int]] = {}
    for parent, child in sorted(edges, key=lambda edge: edge[1] not in to_goal):
        children.setdefault(parent, []).append(child)
    levels = [[start]]
    while levels[-1]:
        levels.append([child for node in levels[-1] for child in children.get(node, [])])
    levels.pop()
    if sum(map(len, levels)) != len(edges) + 1:
        raise ValueError(f"some edges are on no path that leaves the start {start}")
    if goal not in levels[-1]:
        raise ValueError(f"the goal {goal} is not one of the deepest nodes")
    return levels


def _parents(edges: Sequence[Edge], start: int) -> dict[int, int]:
    parents: dict[int, int] = {}
    for parent, child in edges:
        if child == start:
            raise ValueError(f"the edge {parent},{child} leads to the start")
        if child in parents:
            raise ValueError(f"two edges lead to node {child}")
        parents[child] = parent
    return parents


def _tree(edges: Sequence[Edge], levels: Levels) -> Tree:
    """Tell the tree's shape. Raises ValueError if no branching path has it."""
    children = dict.fromkeys((node for level in levels for node in level), 0)
    for parent, _ in edges:
        children[parent] += 1
    degrees = []
    for depth, level in enumerate(levels[:-1]):
        numbers = {children[node] for node in level}
        if len(numbers) > 1:
            raise ValueError(f"nodes at depth {depth} differ in how many children they have")
        degrees.append(numbers.pop())
    forks = tuple(depth for depth, degree in enumerate(degrees) if degree > 1)
    if not forks:
        raise ValueError("no node has more than one child")
    if len({degrees[depth] for depth in forks}) > 1:
        raise ValueError(f"the forks differ: {', '.join(str(degrees[depth]) for depth in forks)} children")
    if forks[-1] == len(degrees) - 1:
        raise ValueError("the node after the last fork is the goal, which the prompt names")
    return Tree(degrees[forks[0]], len(levels), forks)
