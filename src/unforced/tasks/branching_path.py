"""The branching path: a tree in which several steps of the way to the goal take a plan.

    prompt  5,3|1,5|3,9|5,8|1,7|7,6|8,4|7,2|6,0|2,10/1,9=     answer  1 5 3 9

        1 ┬─ 5 ┬─ 3 → 9 (goal)   a tree that forks d = 2 ways at depths 0 and 1; paths of l = 4 nodes.
          │    └─ 8 → 4          Path-star forks at the start alone. Here a plan is needed at each fork:
          └─ 7 ┬─ 6 → 0          which child comes next can be told only by looking ahead to the leaves.
               └─ 2 → 10         After other nodes, the next is the one child of the node before it.

Source: ours; it generalises arXiv 2403.06963, Sec. 4, in the same format.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal, cast

import numpy as np
from jaxtyping import Int, UInt64
from pydantic import Field, model_validator

from unforced.tasks import branching_path_text, graph_text
from unforced.tasks.base import EMPTY, Marks, Order, Problems, Symbols, Task, Verdicts
from unforced.tasks.graph_size import MOST_FORKS, MOST_LABELS, MOST_NODES, check_size
from unforced.tasks.path_errors import path_kinds, path_verdicts
from unforced.tasks.sampling import draw_distinct, hash_rows
from unforced.tasks.tree import Tree, tree_of

KINDS = path_kinds("wrong_branch")


@dataclass(frozen=True)
class BranchingPathProblems(Problems):
    """Labels of the tree's nodes, whose first leaf is the goal; `edge_order` is how edges are written."""

    labels: Int[np.ndarray, "count nodes"]
    edge_order: Int[np.ndarray, "count edges"]


class BranchingPath(Task):
    """Find the path from the root of a tree to one of its leaves.

    Symbols are path-star's: nodes are 0..N-1, then `|` = N, `=` = N+1, `/` = N+2. A prompt has
    3 * edges + 3 symbols, an answer l. With forks = (0,) this is path-star.
    """

    verdict_kinds: ClassVar[Mapping[str, str]] = KINDS
    separator: ClassVar[str] = graph_text.SEPARATOR

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
    def alphabet(self) -> tuple[str, ...]:
        """Node labels, then the separators."""
        return (*map(str, range(self.num_nodes)), "|", "=", "/")

    @property
    def chance(self) -> float:
        """One branch in d at every fork."""
        return self.degree ** -len(self.forks)

    @property
    def decisive_positions(self) -> tuple[int, ...]:
        """The step after each fork."""
        return tuple(depth + 1 for depth in self.forks)

    @property
    def answer_symbols(self) -> int:
        """Nodes."""
        return self.num_nodes

    @property
    def prompt_length(self) -> int:
        """Three symbols an edge, and three more."""
        return 3 * self.tree.num_edges + 3

    @property
    def answer_length(self) -> int:
        """A path of l nodes."""
        return self.path_length

    def position_chances(self, given_answer: bool = True) -> tuple[float, ...]:
        """One branch in d after each fork; without the answer so far, at every fork up to there."""
        chances = [1.0] * self.path_length
        for forks_before, position in enumerate(self.decisive_positions):
            guessed = 1 if given_answer else forks_before + 1
            chances[position] = self.degree**-guessed
        return tuple(chances)

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

    def prompts(self, problems: Problems) -> Symbols:
        """Write `a b | c d ... / start goal =`."""
        bar, equals, slash = range(self.num_nodes, self.num_nodes + 3)
        prompts = np.full((len(problems), self.prompt_length), bar, dtype=np.int64)
        edges = self._listed_edges(problems)
        prompts[:, 0:-3:3] = edges[:, :, 0]
        prompts[:, 1:-3:3] = edges[:, :, 1]
        prompts[:, -4] = slash
        prompts[:, [-3, -2]] = self.answers(problems)[:, [0, -1]]
        prompts[:, -1] = equals
        return prompts

    def answers(self, problems: Problems) -> Symbols:
        """Write the path from the start to the goal."""
        return cast(BranchingPathProblems, problems).labels[:, self.tree.leaf_paths[0]].astype(np.int64)

    def score(self, problems: Problems, answers: Symbols) -> Verdicts:
        """Name what is wrong with each answer; wrong_branch: the path to another leaf."""
        return path_verdicts(
            answers, self.answers(problems), self.decoys(problems), self.num_nodes, "wrong_branch"
        )

    def decisive(self, problems: Problems) -> Marks:
        """Mark the step after each fork."""
        marks = np.isin(np.arange(self.path_length), self.decisive_positions)
        return np.tile(marks, (len(problems), 1))

    def followers(self, problems: Problems) -> Marks:
        """Mark all other steps: each is to the one child of the node before it."""
        return ~self.decisive(problems) & (np.arange(self.path_length) > 0)

    def stated(self, problems: Problems) -> Marks:
        """Mark the start and the goal."""
        return np.tile(np.isin(np.arange(self.path_length), (0, self.path_length - 1)), (len(problems), 1))

    def options(self, problems: Problems, position: int) -> Symbols:
        """Return the children of the fork on the way to the goal, the one on that way first."""
        first = self.tree.leaf_paths[0, position]
        labels = cast(BranchingPathProblems, problems).labels
        return labels[:, first : first + self.degree].astype(np.int64)

    def decoys(self, problems: Problems) -> Int[np.ndarray, "count decoys length"]:
        """Return the paths to the other leaves: wrong at one fork, and faithful to their leaf after it."""
        return cast(BranchingPathProblems, problems).labels[:, self.tree.leaf_paths[1:]].astype(np.int64)

    def other_questions(self, problems: Problems) -> list[Problems]:
        """Ask for each other leaf instead."""
        trees = cast(BranchingPathProblems, problems)
        return [self._ask_for(trees, leaf) for leaf in range(1, self.tree.num_leaves)]

    def _ask_for(self, trees: BranchingPathProblems, leaf: int) -> BranchingPathProblems:
        """Let `leaf` and the goal change places, as the tree allows; the edges stay written as they are."""
        swap = self.tree.swap(leaf)
        order = (swap[1:] - 1).astype(trees.edge_order.dtype)
        return BranchingPathProblems(trees.labels[:, swap], order[trees.edge_order])

    def _edges(self, problems: Problems) -> Int[np.ndarray, "count edges 2"]:
        """Directed edges in the tree's order."""
        labels = cast(BranchingPathProblems, problems).labels
        return np.stack([labels[:, self.tree.parents], labels[:, 1:]], axis=2)

    def _listed_edges(self, problems: Problems) -> Int[np.ndarray, "count edges 2"]:
        """Directed edges in the order in which the prompt lists them."""
        edge_order = cast(BranchingPathProblems, problems).edge_order
        return np.take_along_axis(self._edges(problems), edge_order[:, :, None], axis=1)

    def prompt_lines(self, problems: Problems) -> list[str]:
        """Write `a,b|c,d/start,goal=`, as in the paper's line."""
        return graph_text.write(self._listed_edges(problems), self.answers(problems)[:, [0, -1]])

    def instruction(self, order: Order) -> str:
        """Explain the paper's line."""
        return graph_text.instruction("a directed tree that grows from one start node", order)

    @classmethod
    def read_lines(
        cls, lines: Iterable[str], source: str, order: Order = "forward", known: Mapping[str, Any] = EMPTY
    ) -> tuple["BranchingPath", BranchingPathProblems]:
        """Read the paper's lines; the tree comes from the first, N from `known` or the labels seen."""
        num_nodes = known.get("num_nodes")
        tree, labels, edge_order = branching_path_text.read(
            lines, source, order == "reversed", num_nodes or MOST_LABELS
        )
        task = cls(
            degree=tree.degree,
            path_length=tree.path_length,
            forks=tree.forks,
            num_nodes=num_nodes or int(labels.max()) + 1,
        )
        return task, BranchingPathProblems(labels, edge_order)

    def draw(self, problems: Problems, index: int) -> list[str]:
        """Draw the tree, a leaf per row, the goal's first."""
        names = [str(label) for label in cast(BranchingPathProblems, problems).labels[index]]
        names[self.tree.leaf_paths[0, -1]] += " (goal)"
        return self.tree.draw(names)

    def drawing(self, problems: Problems, index: int) -> dict[str, Any]:
        """Show the graph, its start and its goal."""
        one = problems.take(slice(index, index + 1))
        return graph_text.drawing(self._listed_edges(one)[0], self.answers(one)[0, [0, -1]])
