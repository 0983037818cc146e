"""Crossing lines: several lines of nodes share one node, at which the way to the goal takes a plan.

    prompt  4,7|1,7|7,5|7,9|9,2|5,8|3,4/1,2=     answer  1 7 9 2

        1 ┐    ┌ 9 → 2 (goal)      d = 2 lines of different lengths cross at the node 7. Up to there each node
          ├─ 7 ┤                   has one child; at the crossing, which line leads to the goal can be told
    3→4 ┘    └ 5 → 8               only by looking ahead; behind it each node has one child again.

Answers, and prompts, vary in length, and the decision stands in the middle of the answer, at a place that
varies. These are the medium and hard star graphs of the insertion language model, *not* G(d, l).
Source: arXiv 2505.05755, and the code of its authors (xlm-core, `asymmetric_variable_armlength_star_graph`).
Their prompts list edges as pairs without separators, and their answers are the edges of the path; ours are
path-star's prompts and nodes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, cast

import numpy as np
from jaxtyping import Bool, Int, UInt64
from pydantic import Field, model_validator

from unforced.tasks import graph_text
from unforced.tasks.base import Marks, Problems, Symbols, Verdicts
from unforced.tasks.capabilities import Lookahead, PromptReader
from unforced.tasks.graph_size import MOST_LABELS, MOST_NODES, check_size
from unforced.tasks.graphs import GraphTask, hash_edges, shuffled_edges
from unforced.tasks.lines import read_prompts
from unforced.tasks.path_errors import path_kinds, path_verdicts, with_goal
from unforced.tasks.problems import END, answer_lengths
from unforced.tasks.published import Published, Source
from unforced.tasks.sampling import draw_distinct, hash_rows
from unforced.tasks.star_results import CROSSING, ILM

KINDS = path_kinds("wrong_line")
HARD: Mapping[str, Any] = MappingProxyType(
    {"degree": 5, "shortest": 6, "longest": 12, "min_after": 5, "num_nodes": 56}
)


@dataclass(frozen=True)
class CrossingProblems(Problems):
    """Lines of nodes, the goal's first; where on each the crossing is; edges as they are listed.

    -1 stands behind the end of a line and behind the last edge.
    """

    lines: Int[np.ndarray, "count degree length"]
    crossings: Int[np.ndarray, "count degree"]
    edges: Int[np.ndarray, "count edges 2"]


class CrossingLines(GraphTask):
    """Find the way along one of several lines that cross, from its first node to its last.

    Each line has a length drawn uniformly from shortest..longest, and crosses the others at an index drawn
    uniformly among those with `min_after` nodes or more behind them. Symbols are path-star's. The defaults
    are the medium set of arXiv 2505.05755; the hard one has degree 5, shortest 6, longest 12, min_after 5 and
    num_nodes 56.
    """

    verdict_kinds: ClassVar[Mapping[str, str]] = KINDS
    sources: ClassVar[tuple[Source, ...]] = (ILM,)
    published: ClassVar[tuple[Published, ...]] = CROSSING
    shown: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, HARD)

    name: Literal["crossing_lines"] = "crossing_lines"
    degree: int = Field(3, ge=2, le=MOST_NODES, description="lines that cross, d")
    shortest: int = Field(3, ge=3, le=MOST_NODES, description="nodes of the shortest line")
    longest: int = Field(6, ge=3, le=MOST_NODES, description="nodes of the longest line")
    min_after: int = Field(
        2, ge=2, description="nodes behind the crossing on each line, at the least (one would be the goal)"
    )
    num_nodes: int = Field(20, ge=2, le=MOST_LABELS, description="labels that nodes are drawn from, N")

    @model_validator(mode="after")
    def _lengths_fit(self) -> "CrossingLines":
        if not self.min_after < self.shortest <= self.longest:
            raise ValueError(
                f"shortest: give more than min_after {self.min_after} and at most longest {self.longest}, "
                f"not {self.shortest}"
            )
        graph = f"a graph of degree {self.degree} and longest {self.longest}"
        check_size(graph, self._most_nodes, self.num_nodes, "longest")
        return self

    def __str__(self) -> str:
        return f"crossing lines {self.topology} with {self.num_nodes} labels"

    @property
    def topology(self) -> str:
        """X(d, lengths, nodes behind the crossing)."""
        return f"X({self.degree},{self.shortest}-{self.longest},{self.min_after})"

    @property
    def graph_words(self) -> str:
        """Say what the graph is."""
        return "a directed graph of lines that all cross at one node"

    @property
    def num_labels(self) -> int:
        """N."""
        return self.num_nodes

    @property
    def num_edges(self) -> int:
        """Edges where all lines have the greatest length."""
        return self.degree * (self.longest - 1)

    @property
    def _most_nodes(self) -> int:
        return self.degree * (self.longest - 1) + 1

    @property
    def chance(self) -> float:
        """One line in d."""
        return 1 / self.degree

    @property
    def varied(self) -> bool:
        """Lines vary in length."""
        return True

    @property
    def last_decision(self) -> int:
        """The last position at which the step from the crossing may stand."""
        return self.longest - self.min_after

    @property
    def answer_length(self) -> int:
        """The longest way along one line up to the crossing and along another behind it."""
        return self.last_decision + self.longest - 1

    def sample(self, rng: np.random.Generator, count: int) -> CrossingProblems:
        """Draw lengths, crossings, uniform distinct labels and uniformly shuffled edges."""
        shape = (count, self.degree)
        lengths = rng.integers(self.shortest, self.longest + 1, size=shape)
        crossings = (rng.random(shape) * (lengths - self.min_after)).astype(np.int64)
        labels = draw_distinct(rng, self.num_nodes, (count, self._most_nodes))
        place = np.arange(self.answer_length)
        own = np.arange(self.degree)[:, None] * (self.longest - 1) + place
        index = np.where(place < crossings[:, :, None], own + 1, own)  # label 0 is the crossing's
        index = np.where(place == crossings[:, :, None], 0, index)
        real = place < lengths[:, :, None]
        flat = np.where(real, index, 0).reshape(count, -1)
        lines = np.take_along_axis(labels, flat, axis=1).reshape(real.shape)
        lines = np.where(real, lines, END).astype(np.int32)
        return CrossingProblems(
            lines, crossings.astype(np.int32), shuffled_edges(rng, lines[:, :, : self.longest])
        )

    def edges(self, problems: Problems) -> Int[np.ndarray, "count edges 2"]:
        """Return the edges as they are listed."""
        return cast(CrossingProblems, problems).edges

    def keys(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash the edge set, the start and the goal; the order of edges does not matter."""
        ends = self.ends(problems).astype(np.uint64)
        return hash_rows(np.concatenate([self.families(problems)[:, None], ends], axis=1))

    def families(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash the graph: its edge set."""
        return hash_edges(self.edges(problems))

    def answers(self, problems: Problems) -> Symbols:
        """Write the goal's line."""
        return cast(CrossingProblems, problems).lines[:, 0].astype(np.int64)

    def score(self, problems: Problems, answers: Symbols) -> Verdicts:
        """Name what is wrong with each answer; wrong_line: from the crossing along another line to its end.

        Sliced by the length of the true answer and by where the crossing is in it.
        """
        truth, wrong = self.answers(problems), self.lookahead.decoys(problems)
        verdicts = path_verdicts(answers, truth, wrong, self.num_nodes, "wrong_line", varied=True)
        crossing = cast(CrossingProblems, problems).crossings[:, 0].astype(np.int64)
        slices = {"length": answer_lengths(truth), "crossing": crossing}
        return Verdicts(verdicts.kinds, verdicts.kind, slices)

    @property
    def prompt_reader(self) -> PromptReader:
        """What finds the line that a prompt asks for."""
        return PromptReader(self.read_prompts)

    def read_prompts(self, prompts: Sequence[str]) -> CrossingProblems:
        """Read prompts of such graphs. Raises UserError."""
        rows = read_prompts(prompts, f"a prompt of {self}", self._parse)
        lines = np.full((len(rows), self.degree, self.answer_length), END, dtype=np.int32)
        edges = np.full((len(rows), self.num_edges, 2), END, dtype=np.int32)
        for i, (found, _, written) in enumerate(rows):
            edges[i, : len(written)] = written
            for line, nodes in zip(lines[i], found, strict=True):
                line[: len(nodes)] = nodes
        return CrossingProblems(lines, np.array([crossings for _, crossings, _ in rows], np.int32), edges)

    def _parse(self, prompt: str) -> tuple[list[list[int]], list[int], list[graph_text.Edge]]:
        """Return the lines, the goal's first, where each crosses the others, and the edges.

        Which of the other beginnings goes with which of the other ends is not in a prompt, nor asked.
        """
        edges, start, goal = graph_text.split_prompt(prompt, self.query)
        graph_text.check_label(max(map(max, edges)), self.num_nodes)
        after: dict[int, list[int]] = {}
        before: dict[int, list[int]] = {}
        for parent, child in edges:
            after.setdefault(parent, []).append(child)
            before.setdefault(child, []).append(parent)
        crossing = next((node for node, children in after.items() if len(children) == self.degree), None)
        if crossing is None:
            raise ValueError(f"at no node do {self.degree} lines cross")
        ends = [graph_text.line_from(after, child) for child in after[crossing]]
        beginnings = [graph_text.line_from(before, parent)[::-1] for parent in before.get(crossing, [])]
        beginnings += [[] for _ in range(self.degree - len(beginnings))]
        begun = [line for line in beginnings if [*line, crossing][0] == start]
        ended = [line for line in ends if line[-1] == goal]
        others = {node for line in ends + beginnings for node in line} - {crossing}
        if not begun or not ended or not len(others) == sum(map(len, ends + beginnings)) == len(edges):
            raise ValueError(f"it is not made of {self.degree} lines, one from {start}, one to {goal}")
        beginnings.remove(begun[0])
        ends.remove(ended[0])
        beginnings, ends = [begun[0], *beginnings], [ended[0], *ends]
        lines = [[*first, crossing, *last] for first, last in zip(beginnings, ends, strict=True)]
        most, limit = max(map(len, lines)), self.answer_length
        if most > limit or len(edges) > self.num_edges:
            raise ValueError(
                f"it has a line of {most} nodes and {len(edges)} edges; the task has at most "
                f"{limit} and {self.num_edges}"
            )
        return lines, list(map(len, beginnings)), edges

    @property
    def lookahead(self) -> "CrossingLookahead":
        """The step from the crossing."""
        return CrossingLookahead(self)

    def rows(self, problems: Problems, index: int) -> list[str]:
        """Draw the lines, one a row, the goal's first, with the crossing in brackets and above itself."""
        one = cast(CrossingProblems, problems)
        before, behind = [], []
        for line, crossing in zip(one.lines[index].tolist(), one.crossings[index].tolist(), strict=True):
            nodes = [str(node) for node in line if node >= 0]
            before.append("".join(f"{node} → " for node in nodes[:crossing]))
            behind.append(" → ".join([f"[{nodes[crossing]}]", *nodes[crossing + 1 :]]))
        width = max(map(len, before))
        rows = [f"{left:>{width}}{right}" for left, right in zip(before, behind, strict=True)]
        return [rows[0] + "  (goal)", *rows[1:]]


@dataclass(frozen=True)
class CrossingLookahead(Lookahead):
    """The step from the crossing needs a plan; every other node is the one child of the node before it."""

    backwards: ClassVar[str] = (
        "with the answer reversed, the last node before the crossing is decided ahead, among as many as "
        "lines lead there: this is not measured"
    )
    task: CrossingLines

    @property
    def decisive_positions(self) -> tuple[int, ...]:
        """Everywhere that the crossing may lead to."""
        return tuple(range(1, self.task.last_decision + 1))

    def position_chances(self, given_answer: bool = True) -> tuple[float, ...]:
        """One line in d where it is a decision, given the answer before it or not: the prompt tells it."""
        decisions = self.decisive_positions
        return tuple(self.task.chance if i in decisions else 1.0 for i in range(self.task.answer_length))

    def decisive(self, problems: Problems) -> Marks:
        """Mark the step from the crossing."""
        return self._places() == self._decision(problems)

    def given_away(self, problems: Problems) -> Marks:
        """Mark all other steps: each is to the one child of the node before it."""
        exists = self.task.exists(self.task.answers(problems))
        return exists & ~self.decisive(problems) & (self._places() > 0)

    def with_stated_end(self, problems: Problems, answers: Symbols) -> Symbols:
        """End with the goal instead of the end of another line."""
        return with_goal(answers, self.task.ends(problems)[:, 1], varied=True)

    def choices(self, problems: Problems, position: int) -> Int[np.ndarray, "count choices"]:
        """Return the children of the crossing, the goal's line first."""
        crossing = cast(CrossingProblems, problems)
        behind = crossing.crossings[:, :, None] + 1
        return np.take_along_axis(crossing.lines, behind, axis=2)[:, :, 0].astype(np.int64)

    def decoys(self, problems: Problems) -> Int[np.ndarray, "count decoys length"]:
        """Return the paths that continue along each other line after the crossing."""
        others = [self._turned(problems, line).lines[:, 0] for line in range(1, self.task.degree)]
        return np.stack(others, axis=1).astype(np.int64)

    def counterfactual_prompts(self, problems: Problems) -> list[Problems]:
        """Ask for the end of each other line instead."""
        return [self._turned(problems, line) for line in range(1, self.task.degree)]

    def _places(self) -> Int[np.ndarray, "1 length"]:
        return np.arange(self.task.answer_length)[None]

    def _decision(self, problems: Problems) -> Int[np.ndarray, "count 1"]:
        return cast(CrossingProblems, problems).crossings[:, :1].astype(np.int64) + 1

    def _turned(self, problems: Problems, line: int) -> CrossingProblems:
        """Let the first line and another exchange what is behind the crossing; the edges stay as listed."""
        crossing = cast(CrossingProblems, problems)
        lines = crossing.lines.copy()
        for left, right in ((0, line), (line, 0)):
            before, other = crossing.crossings[:, left, None], crossing.crossings[:, right, None]
            source = self._places() - before + other
            inside: Bool[np.ndarray, "count length"] = source < lines.shape[2]
            taken = np.take_along_axis(crossing.lines[:, right], np.where(inside, source, 0), axis=1)
            behind = np.where(inside, taken, END)
            lines[:, left] = np.where(self._places() > before, behind, crossing.lines[:, left])
        return CrossingProblems(lines, crossing.crossings, crossing.edges)
