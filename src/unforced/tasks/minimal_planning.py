"""Minimal planning: a path that forks once, at a place that varies; how far ahead is the goal?

    prompt  5,3|1,5|3,9|5,8|8,4/1,9=     answer  1 5 3 9

    1 → 5 ┬ 3 → 9  (goal)      paths of l = 4 nodes; the first node of the path with two outgoing edges
          └ 8 → 4              stands at index 1: the planning distance. Which of its children leads to the
                               goal can be told only by looking ahead; every other node has one child.

Both branches have the same length, so that nothing but the goal at an end tells them apart. The smaller the
planning distance, the further ahead is the end.
Source: arXiv 2410.14157 (the task, and accuracy by planning distance). Sizes, labels and the prompt, which is
path-star's, are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import numpy as np
from jaxtyping import Int, UInt64
from pydantic import Field, model_validator

from unforced.tasks import graph_text
from unforced.tasks.base import Marks, Problems, Symbols, Verdicts
from unforced.tasks.capabilities import Lookahead, PromptReader
from unforced.tasks.graph_size import MOST_LABELS, MOST_NODES, check_size
from unforced.tasks.graphs import GraphTask, hash_edges, shuffled_edges
from unforced.tasks.lines import read_prompts
from unforced.tasks.path_errors import path_kinds, path_verdicts, with_goal
from unforced.tasks.problems import END
from unforced.tasks.published import Source
from unforced.tasks.sampling import draw_distinct, hash_rows

KINDS = path_kinds("wrong_branch")


@dataclass(frozen=True)
class MinimalPlanningProblems(Problems):
    """The path, and the other branch from the fork on; where the fork is; edges as they are listed.

    -1 stands behind the end of a branch and behind the last edge.
    """

    lines: Int[np.ndarray, "count 2 length"]
    distance: Int[np.ndarray, " count"]
    edges: Int[np.ndarray, "count edges 2"]


class MinimalPlanning(GraphTask):
    """Find the path from a start to a goal where one node on the way has a second branch, equally long.

    Symbols are path-star's. The planning distance is drawn uniformly from nearest..farthest.
    """

    verdict_kinds: ClassVar[Mapping[str, str]] = KINDS
    sources: ClassVar[tuple[Source, ...]] = (Source("MGDM", "2410.14157", "its minimal planning task"),)

    name: Literal["minimal_planning"] = "minimal_planning"
    path_length: int = Field(
        8, ge=3, le=MOST_NODES // 2, description="nodes on a path, start and goal included, l"
    )
    nearest: int = Field(0, ge=0, description="smallest index of the fork in the path, from 0 (the start)")
    farthest: int | None = Field(None, ge=0, description="largest index of the fork (null: path_length - 3)")
    num_nodes: int = Field(20, ge=2, le=MOST_LABELS, description="labels that nodes are drawn from, N")

    @model_validator(mode="after")
    def _distances_fit(self) -> "MinimalPlanning":
        most = self.path_length - 3
        if not self.nearest <= self.last <= most:
            raise ValueError(
                f"farthest: give nearest {self.nearest} to path_length - 3 = {most} (the node after the fork "
                f"must not be the goal, which the prompt names), not {self.last}"
            )
        nodes = self.num_edges + 1
        check_size(f"a graph of path_length {self.path_length}", nodes, self.num_nodes)
        return self

    def __str__(self) -> str:
        return f"minimal planning {self.topology} with {self.num_nodes} labels"

    @property
    def topology(self) -> str:
        """P(l, planning distances)."""
        return f"P({self.path_length},{self.nearest}-{self.last})"

    @property
    def last(self) -> int:
        """The largest planning distance."""
        return self.path_length - 3 if self.farthest is None else self.farthest

    @property
    def graph_words(self) -> str:
        """Say what the graph is."""
        return "a directed graph of one path from a start node, which forks once into two branches"

    @property
    def num_labels(self) -> int:
        """N."""
        return self.num_nodes

    @property
    def num_edges(self) -> int:
        """Edges where the fork is nearest to the start."""
        return 2 * (self.path_length - 1) - self.nearest

    @property
    def chance(self) -> float:
        """One of two branches."""
        return 0.5

    @property
    def answer_length(self) -> int:
        """A path of l nodes."""
        return self.path_length

    def sample(self, rng: np.random.Generator, count: int) -> MinimalPlanningProblems:
        """Draw planning distances, uniform distinct labels and uniformly shuffled edges."""
        distance = rng.integers(self.nearest, self.last + 1, size=count)
        labels = draw_distinct(rng, self.num_nodes, (count, self.num_edges + 1))
        path, place = labels[:, : self.path_length], np.arange(self.path_length)
        others = np.concatenate(
            [path[np.arange(count), distance, None], labels[:, self.path_length :]], axis=1
        )
        branch = np.full_like(path, END)
        branch[:, : others.shape[1]] = others
        branch[place >= self.path_length - distance[:, None]] = END
        lines = np.stack([path, branch], axis=1)
        edges = shuffled_edges(rng, lines)[:, : self.num_edges]
        return MinimalPlanningProblems(lines, distance.astype(np.int32), edges)

    def edges(self, problems: Problems) -> Int[np.ndarray, "count edges 2"]:
        """Return the edges as they are listed."""
        return cast(MinimalPlanningProblems, problems).edges

    def keys(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash the edge set and the goal; the order of edges does not matter."""
        goals = self.answers(problems)[:, -1].astype(np.uint64)
        return hash_rows(np.stack([self.families(problems), goals], axis=1))

    def families(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash the graph: its edge set, which has one start."""
        return hash_edges(self.edges(problems))

    def answers(self, problems: Problems) -> Symbols:
        """Write the path from the start to the goal."""
        return cast(MinimalPlanningProblems, problems).lines[:, 0].astype(np.int64)

    def score(self, problems: Problems, answers: Symbols) -> Verdicts:
        """Name what is wrong with each answer; wrong_branch: the path to the other end.

        Sliced by planning distance.
        """
        others = self.lookahead.decoys(problems)
        found = path_verdicts(answers, self.answers(problems), others, self.num_nodes, "wrong_branch")
        distance = cast(MinimalPlanningProblems, problems).distance.astype(np.int64)
        return Verdicts(found.kinds, found.kind, {"distance": distance})

    @property
    def prompt_reader(self) -> PromptReader:
        """What finds the branch that a prompt asks for."""
        return PromptReader(self.read_prompts)

    def read_prompts(self, prompts: Sequence[str]) -> MinimalPlanningProblems:
        """Read prompts of such graphs. Raises UserError."""
        rows = read_prompts(prompts, f"a prompt of {self}", self._parse)
        lines = np.full((len(rows), 2, self.path_length), END, dtype=np.int32)
        edges = np.full((len(rows), self.num_edges, 2), END, dtype=np.int32)
        for i, (path, branch, written) in enumerate(rows):
            lines[i, 0], lines[i, 1, : len(branch)] = path, branch
            edges[i, : len(written)] = written
        distance = [self.path_length - len(branch) for _, branch, _ in rows]
        return MinimalPlanningProblems(lines, np.array(distance, dtype=np.int32), edges)

    def _parse(self, prompt: str) -> tuple[list[int], list[int], list[graph_text.Edge]]:
        """Return the path, the other branch from the fork on, and the edges."""
        edges, start, goal = graph_text.split_prompt(prompt, self.query)
        graph_text.check_label(max(map(max, edges)), self.num_nodes)
        children: dict[int, list[int]] = {}
        for parent, child in edges:
            children.setdefault(parent, []).append(child)
        trunk = graph_text.line_from(children, start)
        fork = children.get(trunk[-1], [])
        branches = [graph_text.line_from(children, child) for child in fork]
        nodes = [*trunk, *(node for branch in branches for node in branch)]
        if len(branches) != 2 or len(set(nodes)) != len(nodes) or len(nodes) != len(edges) + 1:
            raise ValueError(f"its edges are not a path from {start} that forks once into two branches")
        branches.sort(key=lambda branch: branch[-1] != goal)
        if branches[0][-1] != goal:
            raise ValueError(f"the goal {goal} is not the end of a branch")
        lengths = [len(trunk) + len(branch) for branch in branches]
        if lengths != [self.path_length] * 2 or not self.nearest <= len(trunk) - 1 <= self.last:
            raise ValueError(
                f"its paths have {lengths[0]} and {lengths[1]} nodes and fork at index {len(trunk) - 1}; the "
                f"task's have {self.path_length} and fork at {self.nearest} to {self.last}"
            )
        return [*trunk, *branches[0]], [trunk[-1], *branches[1]], edges

    @property
    def lookahead(self) -> "ForkLookahead":
        """The step from the fork."""
        return ForkLookahead(self)

    def rows(self, problems: Problems, index: int) -> list[str]:
        """Draw the path, the goal's branch above the other."""
        one = cast(MinimalPlanningProblems, problems)
        path, (_, *branch) = ([str(node) for node in line if node >= 0] for line in one.lines[index].tolist())
        behind = int(one.distance[index]) + 1
        trunk = f"{' → '.join(path[:behind])} "
        first, other = " → ".join(path[behind:]), " → ".join(branch)
        return [f"{trunk}┬ {first}  (goal)", f"{' ' * len(trunk)}└ {other}"]


@dataclass(frozen=True)
class ForkLookahead(Lookahead):
    """The step from the fork needs a plan; every other node is the one child of the node before it."""

    task: MinimalPlanning

    @property
    def decisive_positions(self) -> tuple[int, ...]:
        """Everywhere that the fork may lead to."""
        return tuple(range(self.task.nearest + 1, self.task.last + 2))

    def position_chances(self, given_answer: bool = True) -> tuple[float, ...]:
        """One branch of two where it is a decision, with or without the true answer before it."""
        decisions = self.decisive_positions
        return tuple(self.task.chance if i in decisions else 1.0 for i in range(self.task.path_length))

    def decisive(self, problems: Problems) -> Marks:
        """Mark the step from the fork."""
        return self._places() == self._fork(problems) + 1

    def given_away(self, problems: Problems) -> Marks:
        """Mark all other steps: each is to the one child of the node before it."""
        return ~self.decisive(problems) & (self._places() > 0)

    def with_stated_end(self, problems: Problems, answers: Symbols) -> Symbols:
        """End with the goal instead of the other end."""
        return with_goal(answers, self.task.answers(problems)[:, -1])

    def choices(self, problems: Problems, position: int) -> Int[np.ndarray, "count choices"]:
        """Return the children of the fork, the one on the path first."""
        lines = cast(MinimalPlanningProblems, problems).lines
        onward = np.take_along_axis(lines[:, 0], self._fork(problems) + 1, axis=1)
        return np.concatenate([onward, lines[:, 1, 1:2]], axis=1).astype(np.int64)

    def decoys(self, problems: Problems) -> Int[np.ndarray, "count decoys length"]:
        """Return the path that takes the other branch."""
        return self._turned(problems).lines[:, :1].astype(np.int64)

    def counterfactual_prompts(self, problems: Problems) -> list[Problems]:
        """Ask for the other end instead."""
        return [self._turned(problems)]

    def _places(self) -> Int[np.ndarray, "1 length"]:
        return np.arange(self.task.path_length)[None]

    def _fork(self, problems: Problems) -> Int[np.ndarray, "count 1"]:
        return cast(MinimalPlanningProblems, problems).distance.astype(np.int64)[:, None]

    def _turned(self, problems: Problems) -> MinimalPlanningProblems:
        """Let the branches change places; the edges stay as listed."""
        given, fork, place = cast(MinimalPlanningProblems, problems), self._fork(problems), self._places()
        path, branch = given.lines[:, 0], given.lines[:, 1]
        other = np.take_along_axis(branch, np.maximum(place - fork, 0), axis=1)
        rest = np.take_along_axis(path, np.minimum(place + fork, self.task.path_length - 1), axis=1)
        lines = [np.where(place <= fork, path, other), np.where(branch == END, END, rest)]
        return MinimalPlanningProblems(np.stack(lines, axis=1), given.distance, given.edges)
