"""Lines: the edges of one path of nodes, in any order; nothing has to be known in weights.

    prompt  k3x9pq02zz:     answer  n4 n1 , n2 n3 , n1 n2      any other path of three edges is right, too

        n4 - n1 - n2 - n3      9 edges, labels from 10; 10,000 items train.

Source: arXiv 2504.15266, Sec. 2 (line construction), and the code of its authors, whose notebook has 12
labels and whose published data have 10.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from unforced.tasks.open_ended.edge_lists import FAULTS, EdgeListTask
from unforced.tasks.open_ended.seed_strings import ROLL_THE_DICE
from unforced.tasks.published import Source

KINDS = {"correct": "", **FAULTS, "closed": "its edges close a circle"}


class Line(EdgeListTask):
    """List the edges of a path, in any order."""

    verdict_kinds: ClassVar[Mapping[str, str]] = KINDS

    sources: ClassVar[tuple[Source, ...]] = (ROLL_THE_DICE,)
    shown: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"num_edges": 5, "num_labels": 6})

    name: Literal["line"] = "line"

    @property
    def num_nodes(self) -> int:
        """One more than edges."""
        return self.num_edges + 1

    @property
    def other_shape(self) -> str:
        """A circle."""
        return "closed"

    @property
    def answer_words(self) -> str:
        """The edges of a path."""
        return (
            f"It lists the {self.num_edges} edges of one line of nodes, in any order, with a comma between "
            f"them; an edge is two nodes, n and a number below {self.num_labels} each."
        )
