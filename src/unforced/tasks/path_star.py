"""The path-star task G(d, l): the minimal problem whose first step takes a plan.

    prompt  1,7|1,4|7,9|4,2/1,9=     answer  1 7 9

          4 - 2
         /                 a star of d = 2 arms; a path of l = 3 nodes from the start 1 to the goal 9.
        1                  Which neighbour comes first can be told only by looking ahead, to the arms' ends;
         \\                 every later node is the one child of the node before it.
          7 - 9 (goal)

    1,9/1,7|1,4|7,9|4,2=     query=first
    1,4|4,2|1,7|7,9/1,9=     shuffle=arms: the edges of an arm stay together, from the start outward
    7,1|1,4|7,9|2,4/1,9=     edge_direction=random: each edge is written from either of its nodes
    1,7|1,4|7,9|9,3|4,2/1,3= shortest=3: paths have 3 to path_length nodes, by graph or by arm

Source: arXiv 2403.06963, Sec. 4 (task) and App. (token format). Where the query stands and what is shuffled
were found to change what is learned (arXiv 2410.13779), as were batches with several goals of a graph (the
run's goals_per_graph).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
from jaxtyping import Int, UInt64
from pydantic import Field, model_validator

from unforced.tasks import path_star_text
from unforced.tasks.base import EMPTY, Marks, Order, Problems, Symbols, Verdicts
from unforced.tasks.capabilities import Lookahead, PromptReader, Reader
from unforced.tasks.graph_size import MOST_LABELS, MOST_NODES, check_size
from unforced.tasks.graph_text import query_of
from unforced.tasks.graphs import GraphTask
from unforced.tasks.path_errors import path_kinds, path_verdicts, with_goal
from unforced.tasks.path_star_problems import PathStarProblems, draw_edge_order, shortened
from unforced.tasks.problems import answer_lengths
from unforced.tasks.published import Published, Source
from unforced.tasks.sampling import draw_distinct, hash_rows
from unforced.tasks.star_results import MYSTERY, PITFALLS, STARS

KINDS = path_kinds("wrong_arm")
_NOT_SEEN = ("query", "shuffle", "edge_direction", "shortest", "lengths_vary")  # in a file of lines


class PathStar(GraphTask):
    """Find the path from the centre of a star to the end of one of its arms.

    Symbols: nodes are 0..N-1, then `|` = N, `=` = N+1, `/` = N+2 (the codec adds `$` = N+3). A prompt
    has 3 d (l-1) + 3 symbols, an answer l; these are the most where `shortest` is given. With d = 1 or l = 2
    (start and goal, which the prompt names) nothing needs lookahead. Source: arXiv 2403.06963, Sec. 4.
    """

    verdict_kinds: ClassVar[Mapping[str, str]] = KINDS
    sources: ClassVar[tuple[Source, ...]] = (PITFALLS, MYSTERY)
    published: ClassVar[tuple[Published, ...]] = STARS
    shown: ClassVar[tuple[Mapping[str, Any], ...]] = tuple(
        {"degree": degree, "path_length": length} for degree, length in ((2, 5), (2, 10), (5, 5), (7, 7))
    )

    name: Literal["path_star"] = "path_star"
    degree: int = Field(2, ge=1, le=MOST_NODES - 1, description="arms of the star, d")
    path_length: int = Field(
        5, ge=2, le=MOST_NODES, description="nodes on a path, start and goal included, l"
    )
    num_nodes: int = Field(50, ge=2, le=MOST_LABELS, description="labels that nodes are drawn from, N")
    shuffle: Literal["edges", "arms"] = Field(
        "edges",
        description="what stands in random order: edges, or whole arms, the edges of each in order",
    )
    edge_direction: Literal["outward", "random"] = Field(
        "outward",
        description="whether edges are written from the start outward, or each of them either way",
    )

    shortest: int | None = Field(
        None, ge=3, description="nodes on the shortest path; null: every path has path_length"
    )
    lengths_vary: Literal["by_graph", "by_arm"] = Field(
        "by_graph",
        description="with shortest: whether the arms of a graph have one length, or each its own",
    )

    @model_validator(mode="after")
    def _lengths_fit(self) -> "PathStar":
        if self.shortest is None and self.lengths_vary == "by_arm":
            raise ValueError("lengths_vary: by_arm needs shortest, the nodes on the shortest path")
        if self.shortest is not None and self.shortest > self.path_length:
            raise ValueError(f"shortest: give at most path_length {self.path_length}, not {self.shortest}")
        return self

    @model_validator(mode="after")
    def _labels_suffice(self) -> "PathStar":
        graph = f"a graph of degree {self.degree} and path_length {self.path_length}"
        check_size(graph, self.graph_nodes, self.num_nodes)
        return self

    def __str__(self) -> str:
        arms, ways = self.shuffle == "arms", self.edge_direction == "random"
        kinds = f"{', arm by arm' * arms}{', undirected' * ways}{', query first' * (self.query == 'first')}"
        return f"path-star {self.topology} with {self.num_nodes} labels{kinds}"

    @property
    def graph_words(self) -> str:
        """Say what the graph is."""
        kind = "a directed" if self.edge_direction == "outward" else "an undirected"
        return f"{kind} graph whose arms leave one start node and never meet again"

    @property
    def edge_words(self) -> tuple[str, str]:
        """Say how the edges are ordered, and what an edge says of its nodes."""
        listed = "in no particular order" if self.shuffle == "edges" else "arm by arm, from the start outward"
        if self.edge_direction == "outward":
            return listed, "leads from the first node to the second"
        return listed, "connects the two, whichever is written first"

    @property
    def topology(self) -> str:
        """G(d,l), or G(d,shortest-longest), with a star where each arm has its own length."""
        if self.shortest is None:
            return f"G({self.degree},{self.path_length})"
        own = "*" if self.lengths_vary == "by_arm" else ""
        return f"G({self.degree},{self.shortest}-{self.path_length}{own})"

    @property
    def graph_nodes(self) -> int:
        """Nodes in one graph, at the most: d (l-1) + 1."""
        return self.num_edges + 1

    @property
    def num_edges(self) -> int:
        """Edges in one graph, at the most: d (l-1)."""
        return self.degree * (self.path_length - 1)

    @property
    def num_labels(self) -> int:
        """N."""
        return self.num_nodes

    @property
    def chance(self) -> float:
        """One arm in d, unless nothing is decisive."""
        return 1 / self.degree if self.decisive_positions else 1.0

    @property
    def answer_length(self) -> int:
        """A path of l nodes."""
        return self.path_length

    @property
    def varied(self) -> bool:
        """Whether paths vary in length."""
        return self.shortest is not None

    def sample(self, rng: np.random.Generator, count: int) -> PathStarProblems:
        """Draw graphs with uniform distinct labels and uniformly shuffled edges, or arms."""
        nodes, hops = draw_distinct(rng, self.num_nodes, (count, self.graph_nodes)), self.path_length - 1
        arms = nodes[:, 1:].reshape(count, self.degree, hops)
        edge_order = draw_edge_order(rng, count, (self.degree, hops), self.shuffle == "arms")
        flipped = np.zeros(edge_order.shape, dtype=np.bool_)
        if self.edge_direction == "random":
            flipped = rng.random(edge_order.shape) < 0.5
        stars = PathStarProblems(nodes[:, 0], arms, edge_order, flipped)
        if self.shortest is None:
            return stars
        several = self.degree if self.lengths_vary == "by_arm" else 1
        drawn = rng.integers(self.shortest - 1, self.path_length, size=(count, several))
        return shortened(stars, np.broadcast_to(drawn, (count, self.degree)))

    def keys(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash the edge set, the start and the goal; neither edge order nor arm order matters."""
        goals = cast(PathStarProblems, problems).goals
        return hash_rows(np.stack([self.families(problems), goals.astype(np.uint64)], axis=1))

    def families(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash the graph: its edge set, which has one start."""
        stars = cast(PathStarProblems, problems)
        arms = hash_rows(stars.arms.reshape(-1, self.path_length - 1)).reshape(len(stars), self.degree)
        return hash_rows(np.stack([arms.sum(axis=1), stars.start.astype(np.uint64)], axis=1))

    def edges(self, problems: Problems) -> Int[np.ndarray, "count edges 2"]:
        """Return the edges as they are listed."""
        return cast(PathStarProblems, problems).edges

    def written_edges(self, problems: Problems) -> Int[np.ndarray, "count edges 2"]:
        """Return the edges as the prompt writes them."""
        stars = cast(PathStarProblems, problems)
        edges = stars.edges
        return np.where(stars.flipped[:, :, None], edges[:, :, ::-1], edges)

    def answers(self, problems: Problems) -> Symbols:
        """Write the path from the start to the goal."""
        stars = cast(PathStarProblems, problems)
        return np.concatenate([stars.start[:, None], stars.arms[:, 0]], axis=1).astype(np.int64)

    def score(self, problems: Problems, answers: Symbols) -> Verdicts:
        """Name what is wrong with each answer; wrong_arm: the path to another leaf.

        Sliced by the length of the true answer, where lengths vary.
        """
        stars = cast(PathStarProblems, problems)
        truth, others = self.answers(stars), stars.paths[:, 1:]
        verdicts = path_verdicts(answers, truth, others, self.num_nodes, "wrong_arm", self.varied)
        if not self.varied:
            return verdicts
        return Verdicts(verdicts.kinds, verdicts.kind, {"length": answer_lengths(truth)})

    @property
    def lookahead(self) -> "StarLookahead":
        """The first hop."""
        return StarLookahead(self)

    @property
    def reader(self) -> Reader:
        """What reads the paper's files."""
        return type(self).read_lines

    @property
    def prompt_reader(self) -> PromptReader:
        """What finds the arm that a prompt asks for."""
        return PromptReader(self.read_prompts)

    def read_prompts(self, prompts: Sequence[str]) -> PathStarProblems:
        """Read prompts of this G(d, l). Raises UserError."""
        known = {"shortest": self.path_length, **self.model_dump(exclude_none=True)}
        shape, wording = (self.degree, self.num_nodes), path_star_text.wording_of(known)
        return PathStarProblems(*path_star_text.read_alone(prompts, shape, wording))

    @classmethod
    def read_lines(
        cls, lines: Iterable[str], source: str, order: Order = "forward", known: Mapping[str, Any] = EMPTY
    ) -> tuple["PathStar", PathStarProblems]:
        """Read the paper's lines; d and l come from the first, N from `known` or the labels seen.

        Where the query stands is seen, too; in what order edges are listed and written, and whether paths
        vary in length, is `known`, or as in the paper.
        """
        lines = list(lines)
        words = {key: known[key] for key in _NOT_SEEN if key in known}
        words.setdefault("query", query_of(next(filter(str.strip, lines), "")))
        wording = path_star_text.wording_of({**known, **words})
        num_nodes = known.get("num_nodes")
        stars = PathStarProblems(
            *path_star_text.read(lines, source, order == "reversed", num_nodes or MOST_LABELS, wording)
        )
        degree, hops = stars.arms.shape[1:]
        largest = int(max(stars.start.max(), stars.arms.max()))
        task = cls(degree=degree, path_length=hops + 1, num_nodes=num_nodes or largest + 1, **words)
        return task, stars

    def rows(self, problems: Problems, index: int) -> list[str]:
        """Draw the arms, one a row, the goal's arm first."""
        paths = cast(PathStarProblems, problems).paths[index]
        rows = [" → ".join(str(node) for node in path if node >= 0) for path in paths]
        rows[0] += "  (goal)"
        return rows


@dataclass(frozen=True)
class StarLookahead(Lookahead):
    """The first hop needs a plan; every later node is the one child of the node before it.

    Where edges are undirected, it is the one neighbour of that node which is not on the path yet.
    """

    task: PathStar

    @property
    def decisive_positions(self) -> tuple[int, ...]:
        """The first hop, if it may take one of several arms and does not reach the goal at once."""
        return (1,) if self.task.degree > 1 and self.task.path_length > 2 else ()

    def position_chances(self, given_answer: bool = True) -> tuple[float, ...]:
        """One arm in d at the first hop, given the start before it or not: the prompt names it."""
        return tuple(
            self.task.chance if i in self.decisive_positions else 1.0 for i in range(self.task.path_length)
        )

    def decisive(self, problems: Problems) -> Marks:
        """Mark the first hop, where it is decisive."""
        marks = np.isin(np.arange(self.task.path_length), self.decisive_positions)
        return np.tile(marks, (len(problems), 1))

    def given_away(self, problems: Problems) -> Marks:
        """Mark all nodes that are the one way on from the node before them: all after the arms part."""
        first = 2 if self.task.degree > 1 else 1
        return self.task.exists(self.task.answers(problems)) & (np.arange(self.task.path_length) >= first)

    def with_stated_end(self, problems: Problems, answers: Symbols) -> Symbols:
        """End with the goal instead of the leaf."""
        return with_goal(answers, self.task.ends(problems)[:, 1], self.task.varied)

    def choices(self, problems: Problems, position: int) -> Symbols:
        """Return the first nodes of the arms, the goal's first."""
        return cast(PathStarProblems, problems).arms[:, :, 0].astype(np.int64)

    def decoys(self, problems: Problems) -> Int[np.ndarray, "count decoys length"]:
        """Return the paths to the other leaves, where the first hop is decisive."""
        paths = cast(PathStarProblems, problems).paths
        wrong = paths[:, 1:] if self.decisive_positions else paths[:, :0]
        return wrong.astype(np.int64)

    def counterfactual_prompts(self, problems: Problems) -> list[Problems]:
        """Ask for each other leaf instead."""
        return [cast(PathStarProblems, problems).asking_for(arm) for arm in range(1, self.task.degree)]
