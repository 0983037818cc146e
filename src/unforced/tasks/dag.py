"""A random directed acyclic graph, and which of its pairs and paths are training data.

    pairs (s, t)      edges            others that t can be reached from s
                      all train        a share trains          the rest is held out
    training strings  s t              random paths s ... t    one random path each, as reference

Observed reachability: node u stands before t in a training string that ends in t. It is a part of true
reachability; a pair that is not observed follows from several that are.

Source: arXiv 2405.09220 (ALPINE) and its code; the degree of a pair: arXiv 2509.23186.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Bool, Int

from unforced.tasks.problems import END

Relation = Bool[np.ndarray, "nodes nodes"]
Pairs = Int[np.ndarray, "count 2"]
Paths = Int[np.ndarray, "_ longest"]
TRAIN, VALIDATION, TEST = range(3)
_VALIDATION = 0.1  # of the held-out pairs
_DRAWN = 1 << 22  # random numbers drawn at once; bounds the memory of walks


@dataclass(frozen=True)
class Dag:
    """Edges lead from lower to higher nodes. Built once for equal fields by `dag_of`.

    edge_probability: of each edge i -> j with i < j. train_share: of the reachable pairs that are not edges.
    pair_paths: random paths in training for each of these. edge_paths: for the pair of each edge, besides
    the edge.
    """

    num_nodes: int
    edge_probability: float
    train_share: float
    pair_paths: int
    edge_paths: int
    seed: int

    @cached_property
    def edges(self) -> Relation:
        """Whether an edge leads from node i to node j."""
        chosen = self._generator(0).random((self.num_nodes, self.num_nodes)) < self.edge_probability
        return np.triu(chosen, 1)

    @cached_property
    def reaches(self) -> Relation:
        """Whether a path of one edge or more leads from node i to node j."""
        reaches = self.edges.copy()
        for node in range(self.num_nodes):  # after it, paths lead through nodes up to this one
            reaches |= reaches[:, node, None] & reaches[node]
        return reaches

    @cached_property
    def longest(self) -> int:
        """Nodes of the longest path, two at the least."""
        lengths = np.ones(self.num_nodes, dtype=np.int64)
        for node in range(1, self.num_nodes):
            lengths[node] += (lengths[:node] * self.edges[:node, node]).max()
        return max(2, int(lengths.max()))

    @cached_property
    def owners(self) -> Int[np.ndarray, "nodes nodes"]:
        """The split of each pair: TRAIN, VALIDATION or TEST; -1 where there is no path."""
        owners = np.where(self.reaches, TEST, -1)
        others = np.argwhere(self.reaches & ~self.edges)
        others = others[self._generator(1).permutation(len(others))]
        trained = round(self.train_share * len(others))
        held_out = trained + round(_VALIDATION * (len(others) - trained))
        owners[self.edges] = TRAIN
        owners[tuple(others[:trained].T)] = TRAIN
        owners[tuple(others[trained:held_out].T)] = VALIDATION
        return owners

    @cached_property
    def num_train(self) -> int:
        """How many training strings there are."""
        edges = int(self.edges.sum())
        others = int((self.owners == TRAIN).sum()) - edges
        return edges * (1 + self.edge_paths) + others * self.pair_paths

    @cached_property
    def strings(self) -> tuple[Paths, Paths, Paths]:
        """The paths of each split.

        Of training every edge, then random paths between the pairs that train; of another split one random
        path for each of its pairs.
        """
        edges, others = np.argwhere(self.edges), np.argwhere((self.owners == TRAIN) & ~self.edges)
        direct = np.full((len(edges), self.longest), END, dtype=np.int32)
        direct[:, :2] = edges
        asked = [np.repeat(edges, self.edge_paths, axis=0), np.repeat(others, self.pair_paths, axis=0)]
        train = np.concatenate([direct, self._walks(np.concatenate(asked), 2)])
        validation, test = (
            self._walks(np.argwhere(self.owners == split), 2 + split) for split in (VALIDATION, TEST)
        )
        return train, validation, test

    @cached_property
    def observed(self) -> Relation:
        """Whether node u stands before t in a training string that ends in t."""
        observed = np.zeros_like(self.edges)
        goals = self.strings[TRAIN].max(axis=1)
        for nodes in self.strings[TRAIN].T[:-1]:
            before = (nodes >= 0) & (nodes != goals)
            observed[nodes[before], goals[before]] = True
        return observed

    @cached_property
    def degrees(self) -> Int[np.ndarray, "nodes nodes"]:
        """How many concatenations of observed reachability a pair needs, at the least; -1 without a path.

        0 where it is observed; 1 where a node is that is observed from s, and from which t is; and so on.
        """
        known, degrees = self.observed, np.where(self.observed, 0, -1)
        link = self.observed.astype(np.float32)
        while True:
            new = (known.astype(np.float32) @ link > 0) & (degrees < 0)
            if not new.any():
                return degrees
            degrees[new] = degrees.max() + 1
            known = known | new

    def _walks(self, pairs: Pairs, stream: int) -> Paths:
        """Draw a random path for each pair: at each node, uniformly one of the edges that lead on to t."""
        rng = self._generator(stream)
        paths = np.full((len(pairs), self.longest), END, dtype=np.int32)
        at_once = max(1, _DRAWN // self.num_nodes)
        for first in range(0, len(pairs), at_once):
            rows = np.arange(first, min(first + at_once, len(pairs)))
            paths[rows, 0] = pairs[rows, 0]
            for step in range(1, self.longest):
                rows = rows[paths[rows, step - 1] != pairs[rows, 1]]
                paths[rows, step] = self._step(rng, paths[rows, step - 1], pairs[rows, 1])
        return paths

    def _step(
        self, rng: np.random.Generator, nodes: Int[np.ndarray, " count"], goals: Int[np.ndarray, " count"]
    ) -> Int[np.ndarray, " count"]:
        onward = self.edges[nodes] & (self.reaches | np.eye(self.num_nodes, dtype=np.bool_)).T[goals]
        chosen: Int[np.ndarray, " count"] = np.where(onward, rng.random(onward.shape), -1.0).argmax(axis=1)
        return chosen

    def _generator(self, stream: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(stream,)))


dag_of = lru_cache(maxsize=16)(Dag)
"""Build a graph, or return the one built before, with all that it has computed."""
