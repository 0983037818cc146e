"""Triangles: three nodes of a graph that is known in weights, each joined to both others.

    prompt  k3x9pq02zz triangle:     answer  n7 n2 , n2 n5 , n5 n7      any other triangle of the graph, too
    prompt  edge:                    answer  n7 n2 , n2 n7              in training alone: what the graph is

        n7 - n2 - n5 - (n7)      999 nodes; 15,000 items train, a third of them triangles.

Held-out prompts ask for triangles. The edges of a training set tell the graph, and its triangles some of
those that there are.
Source: arXiv 2504.15266, Sec. 2 (triangle discovery), and the code of its authors: each node is joined to
random ones until it has three edges, to those that have at most 3.6; then two random neighbours of a node are
joined, where they are not yet, until it was part of six such triangles. Items are drawn as there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal, cast

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator

from unforced.tasks.base import EVERY_SPLIT, Problems, Symbols, Verdicts, owners_by_hash
from unforced.tasks.open_ended.edge_lists import STRIDE, chain_of, nodes_of, read_edges, write_edges
from unforced.tasks.open_ended.seed_strings import ROLL_THE_DICE, SeedProblems, SeedStringTask, first_kind
from unforced.tasks.problems import END
from unforced.tasks.published import Source

KINDS = {
    "correct": "",
    "open": "its edges are in the graph, and are no triangle (or, asked for an edge, not one edge both ways)",
    "no_edge": "it has an edge that the graph has not",
    "malformed": "it is not three edges (or, asked for an edge, the same edge both ways)",
}
_EDGE = 2 * STRIDE - 1  # symbols of an answer to a prompt that asks for an edge
_TRIANGLE = 3 * STRIDE - 1
_SLACK = 1.2


class Triangle(SeedStringTask):
    """Name three nodes that are joined to each other, in a graph that is known in weights.

    Symbols: nodes, the comma, those of the seed string, and `triangle` and `edge`. The graph is drawn from
    material_seed. A share of training items, `edge_share`, asks for an edge of the graph instead, without a
    seed string; validation and test do not, and so own less than a tenth of all items each.
    """

    verdict_kinds: ClassVar[Mapping[str, str]] = KINDS

    sources: ClassVar[tuple[Source, ...]] = (ROLL_THE_DICE,)
    shown: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"num_nodes": 60})

    name: Literal["triangle"] = "triangle"
    num_nodes: int = Field(999, ge=4, le=10_000, description="nodes of the graph")
    degree: int = Field(3, ge=2, le=100, description="edges of each node, before triangles are added")
    triangles: int = Field(6, ge=1, le=100, description="triangles added at each node, at the least")
    edge_share: float = Field(2 / 3, ge=0, lt=1, description="training items that ask for an edge")
    material_seed: int = Field(0, ge=0, description="draws the graph")

    @model_validator(mode="after")
    def _nodes_suffice(self) -> "Triangle":
        if self.degree >= self.num_nodes:
            raise ValueError(
                f"degree: {self.num_nodes} nodes cannot have {self.degree} edges each; give at most "
                f"{self.num_nodes - 1}"
            )
        return self

    def __str__(self) -> str:
        return f"{self.topology} with seed strings of {self.seed_length}"

    @property
    def topology(self) -> str:
        """Nodes, and triangles at each."""
        return f"triangle({self.num_nodes},{self.triangles})"

    @property
    def answer_signs(self) -> tuple[str, ...]:
        """Nodes, and the comma."""
        return (*nodes_of(self.num_nodes), ",")

    @property
    def other_signs(self) -> tuple[str, ...]:
        """What a prompt asks for."""
        return ("triangle", "edge") if self.edge_share else ("triangle",)

    @property
    def answer_words(self) -> str:
        """A triangle, or an edge."""
        edge = " To the word edge: one edge, written both ways, with a comma between them."
        return (
            "To the word triangle: three edges, with commas between them, that join three nodes of a graph, "
            f"each written from the node at which the last one ended; nodes are n and a number below "
            f"{self.num_nodes}.{edge * bool(self.edge_share)} Which nodes are joined is to be learnt from "
            "other lines."
        )

    @property
    def prompt_length(self) -> int:
        """The seed string, what is asked for, and the sign at the end."""
        return self.seed_length + 2

    @property
    def answer_length(self) -> int:
        """Three edges, and commas."""
        return _TRIANGLE

    @property
    def varied(self) -> bool:
        """Triangles, and edges."""
        return self.edge_share > 0

    @property
    def splits(self) -> Mapping[str, float]:
        """Edges are all in the training split."""
        rest = 1 - self.edge_share
        return {"train": self.edge_share + 0.8 * rest, "validation": 0.1 * rest, "test": 0.1 * rest}

    @property
    def graph(self) -> "Graph":
        """The graph that is to be learnt."""
        return build_graph(self.num_nodes, self.degree, self.triangles, self.material_seed)

    def sample(self, rng: np.random.Generator, count: int) -> "TriangleProblems":
        """Draw seed strings with triangles, and edges without one."""
        made, edge = super().sample(rng, count), rng.random(count) < self.edge_share
        pair = self.graph.draw_edges(rng, count)
        both = write_edges(np.stack([pair, pair[:, ::-1]], axis=1), self.num_nodes)
        both = np.pad(both, [(0, 0), (0, _TRIANGLE - _EDGE)], constant_values=END)
        answer = np.where(edge[:, None], both, made.answer).astype(np.int32)
        return TriangleProblems(np.where(edge[:, None], END, made.seeds), answer, edge)

    def draw_answers(self, rng: np.random.Generator, count: int) -> Symbols:
        """Draw a node, and two of its neighbours that are joined."""
        corner = self.graph.draw_triangles(rng, count)
        return write_edges(np.stack([corner, np.roll(corner, -1, axis=1)], axis=2), self.num_nodes)

    def canonical(self, answers: Symbols) -> Int[np.ndarray, "count 3"]:
        """Return the three nodes, sorted; of an edge the two, with -1 before them."""
        ends = np.concatenate([answers[:, 0::STRIDE], answers[:, 1::STRIDE]], axis=1)
        return np.sort(ends, axis=1)[:, ::2]

    def asked(self, problems: Problems) -> Bool[np.ndarray, " count"]:
        """Mark the problems that ask for a triangle."""
        return ~cast(TriangleProblems, problems).edge

    def owners(self, problems: Problems) -> Int[np.ndarray, " count"]:
        """Leave edges to training; seed strings belong to a split as anywhere else."""
        edge = cast(TriangleProblems, problems).edge
        return np.where(edge, 0, owners_by_hash(self.families(problems), EVERY_SPLIT.values()))

    def prompts(self, problems: Problems) -> Symbols:
        """Write the seed string, what is asked for, and the sign `:`."""
        written, edge = super().prompts(problems), cast(TriangleProblems, problems).edge
        asked = self.alphabet.index("triangle") + edge
        return np.insert(written, -1, asked, axis=1)

    def prompt_texts(self, problems: Problems) -> list[str]:
        """Write prompts: `k3x9pq02zz triangle:`, `edge:`."""
        edge, blank = cast(TriangleProblems, problems).edge, " " * (self.seed_length > 0)
        seeds = [text[:-1] for text in super().prompt_texts(problems.take(~edge))][::-1]
        return ["edge:" if is_edge else f"{seeds.pop()}{blank}triangle:" for is_edge in edge]

    def read_prompts(self, prompts: Sequence[str]) -> "TriangleProblems":
        """Read prompts of either kind; the reference answers are left empty. Raises UserError."""
        made = super().read_prompts(prompts)
        edge = [prompt.strip() == "edge:" for prompt in prompts]
        return TriangleProblems(made.seeds, made.answer, np.array(edge, dtype=np.bool_))

    def parse_prompt(self, prompt: str) -> list[int]:
        """Read the characters of a prompt; -1 for each of one that asks for an edge. Raises ValueError."""
        if prompt == "edge:" and self.edge_share:
            return [END] * self.seed_length
        if not prompt.endswith("triangle:"):
            raise ValueError("it does not end in triangle:" + ", nor is it edge:" * bool(self.edge_share))
        return super().parse_prompt(prompt.removesuffix("triangle:").rstrip() + ":")

    def score(self, problems: Problems, answers: Symbols) -> Verdicts:
        """Name what is wrong with each answer; edges may be written in any order, either way."""
        edge = cast(TriangleProblems, problems).edge
        edges, formed = read_edges(answers, self.num_nodes)
        pair, pair_formed = read_edges(answers[:, :_EDGE], self.num_nodes)
        pair_formed &= (answers[:, _EDGE:] == END).all(axis=1)
        ends = np.sort(edges.reshape(len(edges), 6), axis=1)
        closed = (ends[:, ::2] == ends[:, 1::2]).all(axis=1)
        both_ways = (pair[:, 0] == pair[:, 1, ::-1]).all(axis=1)
        there = self.graph.has(edges)
        faults = {
            "malformed": ~np.where(edge, pair_formed, formed),
            "no_edge": ~np.where(edge, there[:, :2].all(axis=1), there.all(axis=1)),
            "open": ~np.where(edge, both_ways, closed),
        }
        return Verdicts(tuple(KINDS), first_kind(faults, tuple(KINDS)))

    def sketch(self, answer: Sequence[int]) -> list[str]:
        """Draw the nodes in a row; a triangle's first one stands at its end again, in brackets."""
        chain = chain_of(list(zip(answer[0::STRIDE], answer[1::STRIDE], strict=True)))
        row = " - ".join(f"n{node}" for node in chain)
        return [f"{row} - (n{chain[0]})" if len(chain) > 2 else row]


@dataclass(frozen=True)
class TriangleProblems(SeedProblems):
    """Seed strings with triangles; where `edge` is true, no seed string, and an edge written both ways."""

    edge: Bool[np.ndarray, " count"]


@dataclass(frozen=True)
class Graph:
    """Edges and triangles, each in every order of its nodes, and the sums of their weights up to each.

    Both are drawn as by who takes a node at random, then neighbours of it at random until they fit.
    """

    edges: Int[np.ndarray, "edges 2"]
    edge_bounds: Float[np.ndarray, " edges"]
    triangles: Int[np.ndarray, "triangles 3"]
    triangle_bounds: Float[np.ndarray, " triangles"]

    def draw_edges(self, rng: np.random.Generator, count: int) -> Int[np.ndarray, "count 2"]:
        """Draw a node, and a neighbour of it."""
        return self.edges[np.searchsorted(self.edge_bounds[:-1], rng.random(count), side="right")]

    def draw_triangles(self, rng: np.random.Generator, count: int) -> Int[np.ndarray, "count 3"]:
        """Draw a node, and two neighbours of it that are joined."""
        return self.triangles[np.searchsorted(self.triangle_bounds[:-1], rng.random(count), side="right")]

    def has(self, edges: Int[np.ndarray, "count some 2"]) -> Bool[np.ndarray, "count some"]:
        """Say which edges are in the graph; its own are in order."""
        size = 1 + self.edges.max()
        return np.isin(edges[..., 0] * size + edges[..., 1], self.edges @ [size, 1]) & (edges < size).all(-1)


@lru_cache(maxsize=8)
def build_graph(num_nodes: int, degree: int, triangles: int, seed: int) -> Graph:
    """Draw the graph of arXiv 2504.15266."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    joined = np.zeros((num_nodes, num_nodes), dtype=np.bool_)
    for node in range(num_nodes):
        needed = degree - int(joined[node].sum())
        free = ~joined[node] & (joined.sum(axis=1) <= _SLACK * degree)
        free[node] = False
        others = np.flatnonzero(free)
        if needed > 0:
            chosen = rng.permutation(others)[:needed]
            joined[node, chosen] = joined[chosen, node] = True
    part_of = np.zeros(num_nodes, dtype=np.int64)
    for node in range(num_nodes):
        while part_of[node] < triangles and joined[node].sum() > 1:
            one, other = rng.permutation(np.flatnonzero(joined[node]))[:2]
            joined[one, other] = joined[other, one] = True
            part_of[[node, one, other]] += 1
    return _listed(joined)


def _listed(joined: Bool[np.ndarray, "nodes nodes"]) -> Graph:
    """List the edges and triangles of a graph, with the chances by which they are drawn."""
    edges, degrees = np.argwhere(joined), joined.sum(axis=1)
    closing = joined[edges[:, 0]] & joined[edges[:, 1]]  # nodes next to both ends
    place, third = np.nonzero(closing)
    triangles = np.concatenate([edges[place], third[:, None]], axis=1)
    chances = 1 / degrees[edges[:, 0]], 1 / (degrees * (degrees - 1.0))[triangles[:, 0]]
    edge_bounds, triangle_bounds = (np.cumsum(each) / each.sum() for each in chances)
    return Graph(edges, edge_bounds, triangles, triangle_bounds)
