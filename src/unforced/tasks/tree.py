"""The shape of a rooted tree in which all nodes at some depths fork, and all leaves lie equally deep."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class Tree:
    """Numbers the nodes depth by depth, from 0: the children of a fork are neighbours, as are the leaves.

    Hence the first nodes of all depths are the path to the first leaf. Edge i leads to node i + 1.
    """

    degree: int
    path_length: int
    forks: tuple[int, ...]

    def __str__(self) -> str:
        return f"T({self.degree},{self.path_length}) forking at {','.join(map(str, self.forks))}"

    @property
    def num_leaves(self) -> int:
        """One leaf for each way through the forks."""
        return self.degree ** len(self.forks)

    @property
    def num_edges(self) -> int:
        """Edges: `forks[0]` before the first fork, then degree**i a step from fork i to the next."""
        ends = pairwise([0, *self.forks, self.path_length - 1])
        return sum((end - start) * self.degree**i for i, (start, end) in enumerate(ends))

    @cached_property
    def leaf_paths(self) -> Int[np.ndarray, "leaves nodes"]:
        """The path from the root to each leaf."""
        forks_above = np.searchsorted(self.forks, np.arange(self.path_length))
        widths = self.degree**forks_above
        return np.cumsum(widths) - widths + np.arange(self.num_leaves)[:, None] // (self.num_leaves // widths)

    @cached_property
    def parents(self) -> Int[np.ndarray, " edges"]:
        """The node that each edge leaves."""
        parents = np.empty(self.num_edges, dtype=np.int64)
        parents[self.leaf_paths[:, 1:] - 1] = self.leaf_paths[:, :-1]
        return parents

    def swap(self, leaf: int) -> Int[np.ndarray, " nodes"]:
        """Return the automorphism (its own inverse) under which `leaf` and the first leaf change places.

        At every fork it exchanges the first branch with the one that leads to `leaf`.
        """
        leaves = np.arange(self.num_leaves).reshape([self.degree] * len(self.forks))
        for axis in reversed(range(leaves.ndim)):
            leaf, branch = divmod(leaf, self.degree)
            order = np.arange(self.degree)
            order[[0, branch]] = [branch, 0]
            leaves = leaves.take(order, axis)
        nodes = np.empty(self.num_edges + 1, dtype=np.int64)
        nodes[self.leaf_paths] = self.leaf_paths[leaves.ravel()]
        return nodes

    def draw(self, names: Sequence[str], node: int = 0) -> list[str]:
        """Draw the part below a node for a terminal, a leaf per row."""
        trunk, branches = names[node], self._children(node)
        while len(branches) == 1:
            trunk, branches = f"{trunk} → {names[branches[0]]}", self._children(branches[0])
        if not branches:
            return [trunk]
        joints = [" ┬─ ", *[" ├─ "] * (self.degree - 2), " └─ "]
        rails = [*[" │  "] * (self.degree - 1), "    "]
        rows = []
        for branch, joint, rail in zip(branches, joints, rails, strict=True):
            first, *rest = self.draw(names, branch)
            rows += [joint + first, *(rail + row for row in rest)]
        return [trunk + rows[0], *(" " * len(trunk) + row for row in rows[1:])]

    def _children(self, node: int) -> list[int]:
        return [edge + 1 for edge in np.flatnonzero(self.parents == node).tolist()]


tree_of = lru_cache(maxsize=64)(Tree)
"""Build a tree, or return the one built before, with all that it has computed."""
