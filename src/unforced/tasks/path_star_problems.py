"""Path-star graphs as arrays, and how they are drawn at random."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from unforced.tasks.base import Problems
from unforced.tasks.problems import END
from unforced.tasks.sampling import draw_distinct


@dataclass(frozen=True)
class PathStarProblems(Problems):
    """Path-star graphs. Arm 0 leads to the goal; `edge_order` is the order in which edges are written.

    Where arms vary in length, -1 stands behind the end of an arm, and the edges that it lacks come last.
    flipped: whether each edge, in that order, is written from its outer node to its inner one.
    """

    start: Int[np.ndarray, " count"]
    arms: Int[np.ndarray, "count degree hops"]
    edge_order: Int[np.ndarray, "count edges"]
    flipped: Bool[np.ndarray, "count edges"]

    @property
    def paths(self) -> Int[np.ndarray, "count degree nodes"]:
        """Every arm as a path from the start to its leaf."""
        count, degree, _ = self.arms.shape
        start = np.broadcast_to(self.start[:, None, None], (count, degree, 1))
        return np.concatenate([start, self.arms], axis=2)

    @property
    def edges(self) -> Int[np.ndarray, "count edges 2"]:
        """Directed edges, from the start outward, in the order in which the prompt lists them."""
        paths = self.paths
        edges = np.stack([paths[:, :, :-1], paths[:, :, 1:]], axis=-1).reshape(len(paths), -1, 2)
        edges[edges[:, :, 1] < 0] = END
        return np.take_along_axis(edges, self.edge_order[:, :, None], axis=1)

    @property
    def goals(self) -> Int[np.ndarray, " count"]:
        """The ends of the goals' arms."""
        last = (self.arms[:, 0] >= 0).sum(axis=1) - 1
        return np.take_along_axis(self.arms[:, 0], last[:, None], axis=1)[:, 0]

    def asking_for(self, arm: int) -> "PathStarProblems":
        """Let `arm` and the goal's arm change places; the edges stay written as they are."""
        _, degree, hops = self.arms.shape
        order = np.arange(degree)
        order[[0, arm]] = [arm, 0]
        written = order[self.edge_order // hops] * hops + self.edge_order % hops
        edge_order = written.astype(self.edge_order.dtype)
        return PathStarProblems(self.start, self.arms[:, order], edge_order, self.flipped)


def draw_edge_order(
    rng: np.random.Generator, count: int, shape: tuple[int, int], arm_by_arm: bool
) -> Int[np.ndarray, "count edges"]:
    """Shuffle edges uniformly, or whole arms, the edges of each from the start outward.

    shape: arms, and edges of each.
    """
    degree, hops = shape
    edges = degree * hops
    if not arm_by_arm:
        return draw_distinct(rng, edges, (count, edges))
    first = draw_distinct(rng, degree, (count, degree))[:, :, None] * np.int32(hops)
    order: Int[np.ndarray, "count edges"] = (first + np.arange(hops, dtype=np.int32)).reshape(count, edges)
    return order


def shortened(stars: PathStarProblems, hops: Int[np.ndarray, "count degree"]) -> PathStarProblems:
    """Cut each arm after so many nodes, and let the edges that are left keep their order."""
    arms = np.where(np.arange(stars.arms.shape[2]) < hops[:, :, None], stars.arms, END)
    lacking = np.take_along_axis((arms < 0).reshape(len(arms), -1), stars.edge_order, axis=1)
    order = np.argsort(lacking, axis=1, kind="stable")
    edge_order, flipped = (np.take_along_axis(a, order, axis=1) for a in (stars.edge_order, stars.flipped))
    return PathStarProblems(stars.start, arms, edge_order, flipped)
