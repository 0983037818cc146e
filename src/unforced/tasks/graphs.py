"""What tasks share that ask for a path in a directed graph: the paper's prompt, its line of text, a drawing.

    prompt  1,7|1,4|7,9|4,2/1,9=     edges in the order in which they are listed, then the start and the goal
            1,9/1,7|1,4|7,9|4,2=     query=first: the start and the goal before the edges

Source: arXiv 2403.06963, App. (token format).
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from jaxtyping import Int, UInt64
from pydantic import Field

from unforced.tasks import graph_text
from unforced.tasks.base import Order, Problems, Symbols, Task
from unforced.tasks.capabilities import Pictures, PromptReader, Reader, TextFormat
from unforced.tasks.problems import END, numerals
from unforced.tasks.sampling import hash_rows


def shuffled_edges(
    rng: np.random.Generator, lines: Int[np.ndarray, "count lines length"]
) -> Int[np.ndarray, "count edges 2"]:
    """Return the edges along lines of nodes in random order; -1 stands behind lines, and behind edges."""
    edges = np.stack([lines[:, :, :-1], lines[:, :, 1:]], axis=-1).reshape(len(lines), -1, 2)
    missing = edges[:, :, 1] < 0
    order = np.argsort(rng.random(missing.shape) + missing, axis=1)  # those that are missing come last
    edges[missing] = END
    return np.take_along_axis(edges, order[:, :, None], axis=1)


def hash_edges(edges: Int[np.ndarray, "count edges 2"]) -> UInt64[np.ndarray, " count"]:
    """Hash sets of edges: neither their order matters nor what stands behind the last."""
    hashes = hash_rows(edges.reshape(-1, 2)).reshape(edges.shape[:2])
    return hash_rows(np.where(edges[:, :, 0] >= 0, hashes, 0).sum(axis=1, dtype=np.uint64)[:, None])


class GraphTask(Task, ABC):
    """Find the path from a start to a goal.

    Symbols: nodes are 0..N-1, then `|` = N, `=` = N+1, `/` = N+2 (the codec adds `$` = N+3).
    """

    query: graph_text.Query = Field("last", description="whether a prompt names start and goal last or first")

    @property
    @abstractmethod
    def graph_words(self) -> str:
        """What the graph is, in plain English, for the instruction."""

    @property
    @abstractmethod
    def num_labels(self) -> int:
        """Labels that nodes are drawn from, N."""

    @property
    @abstractmethod
    def num_edges(self) -> int:
        """Edges of a graph, at the most."""

    @abstractmethod
    def edges(self, problems: Problems) -> Int[np.ndarray, "count edges 2"]:
        """Return directed edges in the order in which the prompt lists them; -1 behind the last."""

    def written_edges(self, problems: Problems) -> Int[np.ndarray, "count edges 2"]:
        """Return the edges as the prompt writes them: by default, from their first node to their second."""
        return self.edges(problems)

    @property
    def edge_words(self) -> tuple[str, str]:
        """Say how the edges are ordered and what an edge says of its nodes, for the instruction."""
        return "in no particular order", "leads from the first node to the second"

    @abstractmethod
    def rows(self, problems: Problems, index: int) -> list[str]:
        """Draw one graph for a terminal, a line of text per row."""

    @property
    def alphabet(self) -> tuple[str, ...]:
        """Node labels, then the separators."""
        return (*numerals(self.num_labels), "|", "=", "/")

    @property
    def answer_symbols(self) -> int:
        """Nodes."""
        return self.num_labels

    @property
    def prompt_length(self) -> int:
        """Three symbols an edge, and three more."""
        return 3 * self.num_edges + 3

    def ends(self, problems: Problems) -> Int[np.ndarray, "count 2"]:
        """Return the start and the goal."""
        answers = self.answers(problems)
        last = self.exists(answers).sum(axis=1) - 1
        return np.stack([answers[:, 0], answers[np.arange(len(answers)), last]], axis=1)

    def prompts(self, problems: Problems) -> Symbols:
        """Write `a b | c d ... / start goal =`, or `start goal / a b | c d ... =`."""
        bar, equals, slash = range(self.num_labels, self.num_labels + 3)
        edges = self.written_edges(problems)
        prompts = np.full((len(edges), self.prompt_length), bar, dtype=np.int64)
        missing = (edges[:, :, 0] < 0).sum(axis=1)
        if missing.any():  # the prompt stands at the right
            place = (np.arange(edges.shape[1]) - missing[:, None])[:, :, None]
            edges = np.take_along_axis(edges, np.maximum(place, 0), axis=1)
        if self.query == "last":
            graph, asked = prompts[:, :-3], np.broadcast_to([-4, -3, -2], (len(edges), 3))
        else:
            graph, asked = prompts[:, 3:], 3 * missing[:, None] + [2, 0, 1]
        graph[:, 0::3] = edges[:, :, 0]
        graph[:, 1::3] = edges[:, :, 1]
        prompts[np.arange(self.prompt_length) < 3 * missing[:, None]] = END
        prompts[np.arange(len(edges))[:, None], asked] = np.pad(
            self.ends(problems), [(0, 0), (1, 0)], constant_values=slash
        )
        prompts[:, -1] = equals
        return prompts

    @property
    def text(self) -> TextFormat:
        """The paper's line."""
        written = graph_text.SEPARATOR, self._lines, self._words
        return self.text_format(*written, self.reader, self.prompt_reader)

    @property
    def reader(self) -> Reader | None:
        """What reads others' lines of such problems; None: nothing does."""
        return None

    @property
    def prompt_reader(self) -> PromptReader | None:
        """What reads prompts alone; None: nothing does."""
        return None

    @property
    def pictures(self) -> Pictures:
        """The graph, its start and its goal."""
        return Pictures(self._drawing, self.rows)

    def _lines(self, problems: Problems) -> list[str]:
        return graph_text.write(self.written_edges(problems), self.ends(problems), self.query)

    def _words(self, order: Order) -> str:
        return graph_text.instruction(self.graph_words, order, self.query, *self.edge_words)

    def _drawing(self, problems: Problems, index: int) -> dict[str, Any]:
        one = problems.take(slice(index, index + 1))
        return graph_text.drawing(self.edges(one)[0], self.ends(one)[0])
