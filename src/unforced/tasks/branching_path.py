"""The branching path: a tree in which several steps of the way to the goal take a plan.

    prompt  5,3|1,5|3,9|5,8|1,7|7,6|8,4|7,2|6,0|2,10/1,9=     answer  1 5 3 9

        1 ┬─ 5 ┬─ 3 → 9 (goal)   a tree that forks d = 2 ways at depths 0 and 1; paths of l = 4 nodes.
          │    └─ 8 → 4          Path-star forks at the start alone. Here a plan is needed at each fork:
          └─ 7 ┬─ 6 → 0          which child comes next can be told only by looking ahead to the leaves.
               └─ 2 → 10         After other nodes, the next is the one child of the node before it.

Source: ours; it generalises arXiv 2403.06963, Sec. 4, in the same format.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal, cast

import numpy as np
from jaxtyping import Int, UInt64
from pydantic import Field, model_validator

from unforced.tasks import graph_text
from unforced.tasks.base import Marks, Problems, Symbols, Verdicts
from unforced.tasks.capabilities import Lookahead, PromptReader
from unforced.tasks.graph_size import MOST_FORKS, MOST_LABELS, MOST_NODES, check_size
from unforced.tasks.graphs import GraphTask
from unforced.tasks.lines import read_prompts
from unforced.tasks.path_errors import path_kinds, path_verdicts, with_goal
from unforced.tasks.published import Source
from unforced.tasks.sampling import draw_distinct, hash_rows
from unforced.tasks.tree import Tree, tree_of

KINDS = path_kinds("wrong_branch")


@dataclass(frozen=True)
class BranchingPathProblems(Problems):
    """Labels of the tree's nodes, whose first leaf is the goal; `edge_order` is how edges are written."""

    labels: Int[np.ndarray, "count nodes"]
    edge_order: Int[np.ndarray, "count edges"]


class BranchingPath(GraphTask):
    """Find the path from the root of a tree to one of its leaves.

    Symbols are path-star's: nodes are 0..N-1, then `|` = N, `=` = N+1, `/` = N+2. A prompt has
    3 * edges + 3 symbols, an answer l. With forks = (0,) this is path-star.
    """

    verdict_kinds: ClassVar[Mapping[str, str]] = KINDS
    sources: ClassVar[tuple[Source, ...]] = (
        Source("ours; it generalises path-star", "2403.06963", "Sec. 4"),
    )
    shown: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"path_length": 8, "forks": (0, 2, 4)})

    name: Literal["branching_path"] = "branching_path"
    degree: int = Field(2, ge=2, le=MOST_NODES - 1, description="children of a node that forks, d")
    path_length: int = Field(
        5, ge=3, le=MOST_NODES, description="nodes on a path, start and goal included, l"
    )
    forks: tuple[int, ...] = Field(
        (0, 2), max_length=MOST_FORKS, description="depths at which every node forks, from 0 (the start)"
    )
    num_nodes: int = Field(50, ge=2, le=MOST_LABELS, description="labels that nodes are drawn from, N")

    @model_validator(mode="after")
    def _forks_are_depths(self) -> "BranchingPath":
        forks, deepest = self.forks, self.path_length - 3
        ascending = all(depth < later for depth, later in pairwise(forks))
        if not forks or not ascending or forks[0] < 0 or forks[-1] > deepest:
            raise ValueError(
                f"forks: give different depths from 0 to path_length - 3 = {deepest}, in ascending order "
                f"(the node after a fork must not be the goal, which the prompt names), not {list(forks)}"
            )
        return self

    @model_validator(mode="after")
    def _labels_suffice(self) -> "BranchingPath":
        check_size(f"the tree {self.tree}", self.tree.num_edges + 1, self.num_nodes)
        return self

    def __str__(self) -> str:
        return f"branching path {self.topology} with {self.num_nodes} labels"

    @property
    def topology(self) -> str:
        """T(d,l), and where it forks."""
        return str(self.tree)

    @property
    def tree(self) -> Tree:
        """The shape that all problems share."""
        return tree_of(self.degree, self.path_length, self.forks)

    @property
    def graph_words(self) -> str:
        """Say what the graph is."""
        return "a directed tree that grows from one start node"

    @property
    def num_labels(self) -> int:
        """N."""
        return self.num_nodes

    @property
    def num_edges(self) -> int:
        """One to each node but the root."""
        return self.tree.num_edges

    @property
    def chance(self) -> float:
        """One branch in d at every fork."""
        return self.degree ** -len(self.forks)

    @property
    def answer_length(self) -> int:
        """A path of l nodes."""
        return self.path_length

    def sample(self, rng: np.random.Generator, count: int) -> BranchingPathProblems:
        """Draw trees with uniform distinct labels and uniformly shuffled edges."""
        edges = self.tree.num_edges
        labels = draw_distinct(rng, self.num_nodes, (count, edges + 1))
        return BranchingPathProblems(labels, draw_distinct(rng, edges, (count, edges)))

    def keys(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash the edge set, the start and the goal; the order of edges does not matter."""
        goals = self.answers(problems)[:, -1]
        return hash_rows(np.stack([self.families(problems), goals.astype(np.uint64)], axis=1))

    def families(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash the tree: its edge set, which has one root."""
        edges = self._edges(problems)
        hashes = hash_rows(edges.reshape(-1, 2)).reshape(len(edges), -1).sum(axis=1)
        starts = self.answers(problems)[:, 0]
        return hash_rows(np.stack([hashes, starts.astype(np.uint64)], axis=1))

    def answers(self, problems: Problems) -> Symbols:
        """Write the path from the start to the goal."""
        return cast(BranchingPathProblems, problems).labels[:, self.tree.leaf_paths[0]].astype(np.int64)

    def score(self, problems: Problems, answers: Symbols) -> Verdicts:
        """Name what is wrong with each answer; wrong_branch: the path to another leaf."""
        return path_verdicts(
            answers, self.answers(problems), self.lookahead.decoys(problems), self.num_nodes, "wrong_branch"
        )

    def _edges(self, problems: Problems) -> Int[np.ndarray, "count edges 2"]:
        """Directed edges in the tree's order."""
        labels = cast(BranchingPathProblems, problems).labels
        return np.stack([labels[:, self.tree.parents], labels[:, 1:]], axis=2)

    def edges(self, problems: Problems) -> Int[np.ndarray, "count edges 2"]:
        """Directed edges in the order in which the prompt lists them."""
        edge_order = cast(BranchingPathProblems, problems).edge_order
        return np.take_along_axis(self._edges(problems), edge_order[:, :, None], axis=1)

    @property
    def prompt_reader(self) -> PromptReader:
        """What finds the way to the leaf that a prompt asks for."""
        return PromptReader(self.read_prompts)

    def read_prompts(self, prompts: Sequence[str]) -> BranchingPathProblems:
        """Read prompts of this tree. Raises UserError."""
        rows = read_prompts(prompts, f"a prompt of {self}", self._parse)
        labels, edge_order = (np.array(each, np.int32) for each in zip(*rows, strict=True))
        return BranchingPathProblems(labels, edge_order)

    def _parse(self, prompt: str) -> tuple[list[int], list[int]]:
        """Return the labels in the tree's order, the goal's way first, and how edges are written."""
        edges, start, goal = graph_text.split_prompt(prompt, self.query)
        graph_text.check_label(max(map(max, edges)), self.num_nodes)
        parents = {child: parent for parent, child in edges}
        way = [goal]
        while way[-1] in parents and len(way) <= len(edges):
            way.append(parents[way[-1]])
        labels, numbers = [start], {start: 0}
        for number, parent in enumerate(self.tree.parents.tolist(), start=1):
            open_edges = [child for above, child in edges if above == labels[parent] and child not in numbers]
            if not open_edges:
                raise ValueError(f"from the start {start}, its edges make another tree")
            child = next((child for child in open_edges if child in way), open_edges[0])
            numbers[child] = number
            labels.append(child)
        if labels[self.tree.leaf_paths[0, -1]] != goal:
            raise ValueError(f"the goal {goal} is not a leaf of its tree")
        if sorted(numbers[child] for _, child in edges if child in numbers) != [*range(1, len(labels))]:
            raise ValueError("its edges make another tree")
        return labels, [numbers[child] - 1 for _, child in edges]

    @property
    def lookahead(self) -> "TreeLookahead":
        """The steps after forks."""
        return TreeLookahead(self)

    def rows(self, problems: Problems, index: int) -> list[str]:
        """Draw the tree, a leaf per row, the goal's first."""
        names = [str(label) for label in cast(BranchingPathProblems, problems).labels[index]]
        names[self.tree.leaf_paths[0, -1]] += " (goal)"
        return self.tree.draw(names)


@dataclass(frozen=True)
class TreeLookahead(Lookahead):
    """The step after each fork needs a plan; every other one is to the one child of the node before it."""

    task: BranchingPath

    @property
    def decisive_positions(self) -> tuple[int, ...]:
        """The step after each fork."""
        return tuple(depth + 1 for depth in self.task.forks)

    def position_chances(self, given_answer: bool = True) -> tuple[float, ...]:
        """One branch in d after each fork; without the answer so far, at every fork up to there."""
        chances = [1.0] * self.task.path_length
        for forks_before, position in enumerate(self.decisive_positions):
            guessed = 1 if given_answer else forks_before + 1
            chances[position] = self.task.degree**-guessed
        return tuple(chances)

    def decisive(self, problems: Problems) -> Marks:
        """Mark the step after each fork."""
        marks = np.isin(np.arange(self.task.path_length), self.decisive_positions)
        return np.tile(marks, (len(problems), 1))

    def given_away(self, problems: Problems) -> Marks:
        """Mark all other steps: each is to the one child of the node before it."""
        return ~self.decisive(problems) & (np.arange(self.task.path_length) > 0)

    def with_stated_end(self, problems: Problems, answers: Symbols) -> Symbols:
        """End with the goal instead of the leaf."""
        return with_goal(answers, self.task.ends(problems)[:, 1])

    def choices(self, problems: Problems, position: int) -> Symbols:
        """Return the children of the fork on the way to the goal, the one on that way first."""
        first = self.task.tree.leaf_paths[0, position]
        labels = cast(BranchingPathProblems, problems).labels
        return labels[:, first : first + self.task.degree].astype(np.int64)

    def decoys(self, problems: Problems) -> Int[np.ndarray, "count decoys length"]:
        """Return the paths to the other leaves: wrong at one fork, and faithful to their leaf after it."""
        return cast(BranchingPathProblems, problems).labels[:, self.task.tree.leaf_paths[1:]].astype(np.int64)

    def counterfactual_prompts(self, problems: Problems) -> list[Problems]:
        """Ask for each other leaf instead."""
        trees = cast(BranchingPathProblems, problems)
        return [self._ask_for(trees, leaf) for leaf in range(1, self.task.tree.num_leaves)]

    def _ask_for(self, trees: BranchingPathProblems, leaf: int) -> BranchingPathProblems:
        """Let `leaf` and the goal change places, as the tree allows; the edges stay written as they are."""
        swap = self.task.tree.swap(leaf)
        order = (swap[1:] - 1).astype(trees.edge_order.dtype)
        return BranchingPathProblems(trees.labels[:, swap], order[trees.edge_order])
