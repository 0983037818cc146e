"""Answers that list edges: `n4 n1 , n0 n2 , n1 n0`; what they are as graphs, and their canonical forms.

A canonical form is labels by their first appearance, in the order in which edges are written: `n4 n1 , n1 n0`
and `n0 n3 , n3 n2` are both `0 1 , 1 2`. Edges have no direction for the verifier, and yet canonical forms
keep the one in which they are written, as the code of arXiv 2504.15266 does: `n1 n4 , n1 n0` is another form,
which no training item has. With directions=ignored it is the same one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int
from pydantic import Field, model_validator

from unforced.tasks.base import Problems, Symbols, Verdicts
from unforced.tasks.open_ended.seed_strings import SeedStringTask, first_kind
from unforced.tasks.sampling import draw_distinct

Edges = Int[np.ndarray, "count edges 2"]
MOST_NODES = 64  # of one answer: verifying takes its square
STRIDE = 3  # symbols from one edge to the next

FAULTS: Mapping[str, str] = {
    "malformed": "it is not as many edges, each of two nodes, with commas between them",
    "repeated_edge": "an edge is there twice, or joins a node to itself",
    "branching": "a node has more than two edges",
    "in_pieces": "its edges are not all connected",
}


def nodes_of(count: int) -> tuple[str, ...]:
    """Return the text of each node: n0, n1, ..."""
    return tuple(f"n{number}" for number in range(count))


def write_edges(edges: Edges, comma: int) -> Symbols:
    """Write edges as symbols, with commas between them."""
    written = np.full((len(edges), STRIDE * edges.shape[1] - 1), comma, dtype=np.int64)
    written[:, 0::STRIDE], written[:, 1::STRIDE] = edges[:, :, 0], edges[:, :, 1]
    return written


def read_edges(answers: Symbols, num_nodes: int) -> tuple[Edges, Bool[np.ndarray, " count"]]:
    """Read as many edges as answers have room for, and say of which answers that can be done.

    Edges of the other answers mean nothing.
    """
    edges = np.stack([answers[:, 0::STRIDE], answers[:, 1::STRIDE]], axis=2)
    commas = answers[:, 2::STRIDE] == num_nodes
    formed = ((edges >= 0) & (edges < num_nodes)).all(axis=(1, 2)) & commas.all(axis=1)
    return np.clip(edges, 0, num_nodes - 1), formed


def by_appearance(edges: Edges, num_nodes: int) -> Int[np.ndarray, "count ends"]:
    """Number the nodes of each answer by their first appearance; return a row of numbers for each."""
    ends = edges.reshape(len(edges), 2 * edges.shape[1])
    first = np.full((len(ends), num_nodes), ends.shape[1])
    rows = np.arange(len(ends))
    for place in reversed(range(ends.shape[1])):
        first[rows, ends[:, place]] = place
    number = first.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    return np.take_along_axis(number, ends, axis=1)


def along(edges: Edges) -> Edges:
    """Turn the edges of chains so that all lead along the chain, the first as it is written."""
    rows = np.arange(len(edges))
    turned, done = edges.copy(), np.zeros(edges.shape[:2], dtype=np.bool_)
    done[:, 0] = True
    for end in (1, 0):  # walk on from the second node of the first edge, then back from the first one
        here = edges[:, 0, end]
        for _ in range(edges.shape[1] - 1):
            near = (edges == here[:, None, None]) & ~done[:, :, None]
            place, going = near.any(axis=2).argmax(axis=1), near.any(axis=(1, 2))
            one = edges[rows, place]
            other = np.where(one[:, 0] == here, one[:, 1], one[:, 0])
            step = np.stack([here, other] if end else [other, here], axis=1)
            turned[rows[going], place[going]] = step[going]
            done[rows[going], place[going]] = True
            here = np.where(going, other, -1)
    return turned


@dataclass(frozen=True)
class Shape:
    """What graphs of edges are like: how often each node is an end; whether all edges are connected."""

    degrees: Int[np.ndarray, "count nodes"]
    repeated: Bool[np.ndarray, " count"]
    connected: Bool[np.ndarray, " count"]

    @classmethod
    def of(cls, edges: Edges, num_nodes: int) -> "Shape":
        """Look at the graph of each answer."""
        count, number = edges.shape[:2]
        joined = np.zeros((count, num_nodes, num_nodes), dtype=np.int64)
        rows = np.arange(count)[:, None]
        np.add.at(joined, (rows, edges[:, :, 0], edges[:, :, 1]), 1)
        joined += joined.transpose(0, 2, 1)
        repeated = np.any(joined > 1, axis=(1, 2))  # a loop is counted twice
        near = (joined > 0) | np.eye(num_nodes, dtype=np.bool_)
        for _ in range(number.bit_length()):
            near = (near.astype(np.float32) @ near.astype(np.float32)) > 0
        degrees = joined.sum(axis=2)
        reached = near[np.arange(count), edges[:, 0, 0]]
        return cls(degrees, repeated, (reached | (degrees == 0)).all(axis=1))


class EdgeListTask(SeedStringTask, ABC):
    """List the edges of one chain of nodes, open or closed, in any order.

    Symbols: nodes, the comma, then those of the seed string.
    """

    num_edges: int = Field(9, ge=2, le=MOST_NODES, description="edges of an answer")
    num_labels: int = Field(10, ge=3, le=MOST_NODES, description="labels that nodes are drawn from")

    directions: Literal["kept", "ignored"] = Field(
        "kept", description="whether answers are new that differ in the direction of edges alone"
    )

    @property
    @abstractmethod
    def num_nodes(self) -> int:
        """Nodes of an answer."""

    @property
    @abstractmethod
    def other_shape(self) -> str:
        """The kind of answers that are one chain, open instead of closed, or closed instead of open."""

    @model_validator(mode="after")
    def _labels_suffice(self) -> "EdgeListTask":
        if self.num_nodes > self.num_labels:
            raise ValueError(
                f"num_labels: a {self.name} of {self.num_edges} edges has {self.num_nodes} nodes, more than "
                f"num_labels {self.num_labels}; use num_labels={self.num_nodes} or more"
            )
        return self

    def __str__(self) -> str:
        return f"{self.topology} with seed strings of {self.seed_length}"

    @property
    def topology(self) -> str:
        """Edges, and labels."""
        return f"{self.name}({self.num_edges},{self.num_labels})"

    @property
    def answer_signs(self) -> tuple[str, ...]:
        """Nodes, and the comma."""
        return (*nodes_of(self.num_labels), ",")

    @property
    def answer_length(self) -> int:
        """Two nodes an edge, and commas."""
        return STRIDE * self.num_edges - 1

    def draw_answers(self, rng: np.random.Generator, count: int) -> Symbols:
        """Draw distinct nodes in a row, and the order of the edges; each is written as it is passed."""
        nodes = draw_distinct(rng, self.num_labels, (count, self.num_nodes)).astype(np.int64)
        index = np.arange(self.num_edges)
        edges = np.stack([nodes[:, index], nodes[:, (index + 1) % self.num_nodes]], axis=2)
        order = rng.random((count, self.num_edges)).argsort(axis=1)
        return write_edges(np.take_along_axis(edges, order[:, :, None], axis=1), self.num_labels)

    def canonical(self, answers: Symbols) -> Int[np.ndarray, "count ends"]:
        """Number nodes by their first appearance; of either direction along the chain, the lesser form."""
        edges, _ = read_edges(answers, self.num_labels)
        if self.directions == "kept":
            return by_appearance(edges, self.num_labels)
        edges = along(edges)
        one, other = (by_appearance(each, self.num_labels) for each in (edges, edges[:, :, ::-1]))
        differs = one != other
        first = differs.argmax(axis=1)[:, None]
        lesser = np.take_along_axis(one, first, axis=1) <= np.take_along_axis(other, first, axis=1)
        return np.where(lesser, one, other)

    def score(self, problems: Problems, answers: Symbols) -> Verdicts:
        """Name what is wrong with each answer."""
        edges, formed = read_edges(answers, self.num_labels)
        shape = Shape.of(edges, self.num_labels)
        faults = {
            "malformed": ~formed,
            "repeated_edge": shape.repeated,
            "branching": (shape.degrees > 2).any(axis=1),
            "in_pieces": ~shape.connected,
            self.other_shape: (shape.degrees > 0).sum(axis=1) != self.num_nodes,
        }
        kinds = tuple(self.verdict_kinds)
        return Verdicts(kinds, first_kind(faults, kinds))

    def sketch(self, answer: Sequence[int]) -> list[str]:
        """Draw the nodes in a row; the first one of a closed row stands at its end again, in brackets."""
        signs = self.answer_signs
        chain = chain_of(list(zip(answer[0::STRIDE], answer[1::STRIDE], strict=True)))
        row = " - ".join(signs[node] for node in chain)
        return [f"{row} - ({signs[chain[0]]})" if len(chain) == self.num_edges else row]


def chain_of(edges: Sequence[tuple[int, int]]) -> list[int]:
    """Return the nodes of a path from one of its ends, or of a cycle from a node of its first edge."""
    near: dict[int, list[int]] = {}
    for one, other in edges:
        near.setdefault(one, []).append(other)
        near.setdefault(other, []).append(one)
    chain = [next((node for node, others in near.items() if len(others) == 1), edges[0][0])]
    while following := [node for node in near[chain[-1]] if node not in chain]:
        chain.append(following[0])
    return chain
