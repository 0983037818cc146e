"""Paths in one directed acyclic graph, known from training alone: which paths follow from those seen?

    training  12,30=12,30    30,57=30,57    12,88=12,41,57,88   ...     the graph is in no prompt
    prompt    12,57=         answer  12 30 57                           also right: 12 41 57

All problems ask for paths in the same graph, so it has to be kept in the weights. Training strings are all
edges, and random paths between their nodes and between a share of the other pairs. The pairs that are left
are held out, and sorted by their degree: how many concatenations of observed reachability they need (0: the
start was seen on a path to this goal). So the splits are finite, and listed. What needs lookahead is unknown:
a node has many edges, and any number of them may lead on to the goal.

Source: arXiv 2405.09220 (ALPINE) and the code of its authors, with train_share=0.5; arXiv 2509.23186 (NTI:
degrees, and 10% of the pairs). Their strings are `s t s ... t`, and the loss counts all of it; ours have `=`
before the path, and the loss counts the path alone. That the first node of a string counts as observed, too,
is our reading.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
from jaxtyping import Int, UInt64
from pydantic import Field, model_validator

from unforced.tasks import graph_text
from unforced.tasks.base import Order, Problems, Symbols, Task, Verdicts
from unforced.tasks.capabilities import Pictures, PromptReader, TextFormat
from unforced.tasks.dag import Dag, dag_of
from unforced.tasks.lines import read_prompts
from unforced.tasks.path_errors import WALK_KINDS, walk_verdicts
from unforced.tasks.problems import END, numerals
from unforced.tasks.published import Published, Source, table
from unforced.tasks.sampling import hash_rows

HIGHEST_DEGREE = 3
"""Pairs of this degree and of higher ones are one slice."""
_SPLITS = ("train", "validation", "test")
_MOST_SYMBOLS = 50_000_000  # of all training strings, in memory
ALPINE = Source("ALPINE", "2405.09220", "task; the code of its authors (data)")
NTI = Source("NTI", "2509.23186", "one layer, one head, width 120")


@dataclass(frozen=True)
class DagPathProblems(Problems):
    """Start and goal, and a path between them (-1 behind its end; nothing else, where none is known)."""

    ends: Int[np.ndarray, "count 2"]
    path: Int[np.ndarray, "count longest"]


class DagPaths(Task):
    """Find a path between two nodes of one directed acyclic graph, which no prompt shows.

    Symbols: nodes are 0..N-1, then `=` = N. The graph, the training strings and which pairs are held out
    follow from the fields; of a run's data, its seed decides the order alone. Any path counts.
    """

    verdict_kinds: ClassVar[Mapping[str, str]] = WALK_KINDS
    sources: ClassVar[tuple[Source, ...]] = (ALPINE, NTI)
    published: ClassVar[tuple[Published, ...]] = table(
        NTI,
        "any valid path, held out",
        [f"degree {degree}" for degree in range(HIGHEST_DEGREE + 1)],
        {
            "next_token": (0.926, 0.866, 0.638, 0.308),
            "multi_token, 2 parallel heads": (0.920, 0.855, 0.664, 0.361),
            "multi_token, 2 sequential heads": (0.937, 0.888, 0.678, 0.319),
            "multi_token, 2 transfer heads of 1 layer": (0.964, 0.889, 0.713, 0.435),
        },
    )

    name: Literal["dag_paths"] = "dag_paths"
    num_nodes: int = Field(100, ge=3, le=500, description="nodes of the graph, N")
    edge_probability: float = Field(
        0.1, gt=0, le=1, description="of each edge, which leads from a lower node to a higher one"
    )
    train_share: float = Field(
        0.1, gt=0, lt=1, description="share of the reachable pairs without an edge that are in training"
    )
    pair_paths: int = Field(20, ge=1, le=1000, description="random paths in training for each of these pairs")
    edge_paths: int = Field(
        20, ge=0, le=1000, description="random paths in training for the pair of each edge, besides the edge"
    )
    graph_seed: int = Field(0, ge=0, lt=2**63, description="decides the graph and what of it is in training")

    @model_validator(mode="after")
    def _splits_hold_something(self) -> "DagPaths":
        strings, longest = self.dag.num_train, self.dag.longest
        if strings * longest > _MOST_SYMBOLS:
            raise ValueError(
                f"num_nodes: the graph has {strings:,} training strings of up to {longest} nodes, more than "
                f"{_MOST_SYMBOLS:,} symbols; lower num_nodes, edge_probability, pair_paths or edge_paths"
            )
        counts = [len(self._rows(split)) for split in _SPLITS]
        if min(counts) == 0:
            raise ValueError(
                f"edge_probability: the graph has {counts[0]} training strings, {counts[1]} pairs to "
                f"validate and {counts[2]} to test on; give more, a larger num_nodes, or another train_share"
            )
        return self

    def __str__(self) -> str:
        return f"paths in {self.topology}{f', graph {self.graph_seed}' * (self.graph_seed > 0)}"

    @property
    def topology(self) -> str:
        """Nodes and the probability of an edge."""
        return f"DAG({self.num_nodes},{self.edge_probability:g})"

    @property
    def dag(self) -> Dag:
        """The graph, and what of it is in training."""
        return dag_of(
            self.num_nodes,
            self.edge_probability,
            self.train_share,
            self.pair_paths,
            self.edge_paths,
            self.graph_seed,
        )

    @property
    def alphabet(self) -> tuple[str, ...]:
        """Nodes, then the end of a prompt."""
        return (*numerals(self.num_nodes), "=")

    @property
    def answer_symbols(self) -> int:
        """Nodes."""
        return self.num_nodes

    @property
    def prompt_length(self) -> int:
        """Start, goal and the sign =."""
        return 3

    @property
    def answer_length(self) -> int:
        """Nodes of the longest path in the graph."""
        return self.dag.longest

    @property
    def varied(self) -> bool:
        """Paths vary in length."""
        return True

    @property
    def unique_answer(self) -> bool:
        """There may be many paths."""
        return False

    @property
    def splits(self) -> Mapping[str, float]:
        """The shares of training strings and of held-out pairs, among all of them."""
        counts = [len(self._rows(split)) for split in _SPLITS]
        return {split: count / sum(counts) for split, count in zip(_SPLITS, counts, strict=True)}

    def listed(self, split: str) -> DagPathProblems:
        """Return the training strings, or the pairs of another split with one path each."""
        paths = self._rows(split)
        return DagPathProblems(np.stack([paths[:, 0], paths.max(axis=1)], axis=1), paths)

    def _rows(self, split: str) -> Symbols:
        return self.dag.strings[_SPLITS.index(split)]

    def sample(self, rng: np.random.Generator, count: int) -> DagPathProblems:
        """Draw from all training strings and held-out pairs."""
        everything = DagPathProblems.concatenate([self.listed(split) for split in _SPLITS])
        return everything.take(rng.integers(len(everything), size=count))

    def owners(self, problems: Problems) -> Int[np.ndarray, " count"]:
        """Look up the split of each pair."""
        start, goal = cast(DagPathProblems, problems).ends.T
        return self.dag.owners[start, goal]

    def keys(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash start and goal."""
        return hash_rows(cast(DagPathProblems, problems).ends)

    def prompts(self, problems: Problems) -> Symbols:
        """Write the start, the goal and =."""
        ends = cast(DagPathProblems, problems).ends.astype(np.int64)
        return np.pad(ends, [(0, 0), (0, 1)], constant_values=self.num_nodes)

    def answers(self, problems: Problems) -> Symbols:
        """Write the training string's path, or the held-out pair's."""
        return cast(DagPathProblems, problems).path.astype(np.int64)

    def score(self, problems: Problems, answers: Symbols) -> Verdicts:
        """Walk each answer, and name what is wrong with it. Sliced by degree, the highest ones together."""
        ends = cast(DagPathProblems, problems).ends
        verdicts = walk_verdicts(answers, ends, self.dag.edges, self.dag.reaches)
        degrees = self.dag.degrees[ends[:, 0], ends[:, 1]]
        return Verdicts(verdicts.kinds, verdicts.kind, {"degree": np.minimum(degrees, HIGHEST_DEGREE)})

    @property
    def text(self) -> TextFormat:
        """`start,goal=start,n1,...,goal`: path-star's line, without a graph."""
        reader = PromptReader(self.read_prompts, "verdict")
        return self.text_format(graph_text.SEPARATOR, self._lines, self._words, prompt_reader=reader)

    def _lines(self, problems: Problems) -> list[str]:
        return [f"{start},{goal}=" for start, goal in cast(DagPathProblems, problems).ends.tolist()]

    def _words(self, order: Order) -> str:
        ends = "from the start to the goal" if order == "forward" else "backwards, from the goal to the start"
        return (
            f"Each line asks for a path in a directed graph of the nodes 0 to {self.num_nodes - 1}, whose "
            "edges are always the same and are not written out. Before the sign = stand the start and the "
            "goal, with a comma between them. After the sign = comes the answer: all nodes of a path "
            f"{ends}, both included, with commas between them. Write the answer and nothing else."
        )

    def read_prompts(self, prompts: Sequence[str]) -> DagPathProblems:
        """Read `12,57=`; the paths are left empty. Raises UserError."""
        ends = np.array(read_prompts(prompts, f"a prompt of {self}", self._parse), dtype=np.int64)
        return DagPathProblems(ends, np.full((len(ends), self.answer_length), END))

    def _parse(self, prompt: str) -> tuple[int, int]:
        match = re.fullmatch(r"([0-9]{1,9}),([0-9]{1,9})=", prompt)
        if not match:
            raise ValueError("expected start,goal=")
        start, goal = int(match[1]), int(match[2])
        graph_text.check_label(max(start, goal), self.num_nodes)
        if not self.dag.reaches[start, goal]:
            raise ValueError(f"in its graph, no path leads from {start} to {goal}")
        return start, goal

    @property
    def pictures(self) -> Pictures:
        """The path, and the edges that leave it."""
        return Pictures(self._drawing, self._drawn)

    def _leaving(self, problems: Problems, index: int) -> list[tuple[int, list[int]]]:
        """Return the nodes of a path but the last, each with the nodes that its edges lead to."""
        path = [node for node in cast(DagPathProblems, problems).path[index].tolist() if node != END]
        return [(node, np.flatnonzero(self.dag.edges[node]).tolist()) for node in path[:-1]]

    def _drawing(self, problems: Problems, index: int) -> dict[str, Any]:
        start, goal = map(str, cast(DagPathProblems, problems).ends[index].tolist())
        edges = [
            [str(node), str(child)] for node, onward in self._leaving(problems, index) for child in onward
        ]
        return {"edges": edges, "start": start, "goal": goal}

    def _drawn(self, problems: Problems, index: int) -> list[str]:
        """Draw the path, then where else its nodes lead; nodes without a way to the goal in brackets."""
        start, goal = cast(DagPathProblems, problems).ends[index].tolist()
        nodes = self._leaving(problems, index)
        rows = [" → ".join([*(str(node) for node, _ in nodes or [(start, [])]), f"{goal}  (goal)"])]
        for node, onward in nodes:
            ways = [str(n) if n == goal or self.dag.reaches[n, goal] else f"({n})" for n in onward]
            rows.append(f"{node} → {' '.join(ways)}")
        return rows
