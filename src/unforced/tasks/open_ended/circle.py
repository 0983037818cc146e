"""Circles: the edges of one cycle of nodes, in any order; nothing has to be known in weights.

    prompt  k3x9pq02zz:     answer  n4 n1 , n2 n4 , n1 n2      any other cycle of three edges is right, too

        n4 - n1 - n2 - (n4)      9 edges, labels from 10; 10,000 items train.

Each edge looks well by itself; whether all of them close one cycle shows at the last one.
Source: arXiv 2504.15266, Sec. 2 (circle construction), and the code of its authors, whose verifier accepts
cycles of any number of edges.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from unforced.tasks.open_ended.edge_lists import FAULTS, EdgeListTask
from unforced.tasks.open_ended.seed_strings import ROLL_THE_DICE
from unforced.tasks.published import Source

KINDS = {"correct": "", **FAULTS, "open": "its edges are a line that does not close"}


class Circle(EdgeListTask):
    """List the edges of a cycle, in any order."""

    verdict_kinds: ClassVar[Mapping[str, str]] = KINDS

    sources: ClassVar[tuple[Source, ...]] = (ROLL_THE_DICE,)
    shown: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"num_edges": 5, "num_labels": 6})

    name: Literal["circle"] = "circle"

    @property
    def num_nodes(self) -> int:
        """As many as edges."""
        return self.num_edges

    @property
    def other_shape(self) -> str:
        """A line."""
        return "open"

    @property
    def answer_words(self) -> str:
        """The edges of a cycle."""
        return (
            f"It lists the {self.num_edges} edges of one closed circle of nodes, in any order, with a comma "
            f"between them; an edge is two nodes, n and a number below {self.num_labels} each."
        )
