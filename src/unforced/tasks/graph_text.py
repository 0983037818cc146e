"""The paper's text line for a path in a graph: `a,b|c,d|.../start,goal=start,n1,...,goal`.

With the query first it is `start,goal/a,b|c,d|...=start,n1,...,goal`.

Source: arXiv 2403.06963, App. (data format of its public code).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from unforced.tasks.base import Order
from unforced.tasks.graph_size import MOST_NODES

Edge = tuple[int, int]
Query = Literal["last", "first"]
"""Where a prompt asks its question: behind the graph, or before it."""
SEPARATOR = ","
_FORMS = {"last": "a,b|c,d/start,goal=", "first": "start,goal/a,b|c,d="}
_MOST_DIGITS = 9  # labels are stored in 32 bits


def write(
    edges: Int[np.ndarray, "count edges 2"], ends: Int[np.ndarray, "count 2"], query: Query
) -> list[str]:
    """Write prompts, from edges as listed (-1 behind the last) and (start, goal)."""
    rows = zip(edges.tolist(), ends.tolist(), strict=True)
    parts = [("|".join(_text(edge) for edge in graph if edge[0] >= 0), _text(asked)) for graph, asked in rows]
    return [f"{graph}/{asked}=" if query == "last" else f"{asked}/{graph}=" for graph, asked in parts]


def drawing(edges: Int[np.ndarray, "edges 2"], query: Int[np.ndarray, " 2"]) -> dict[str, Any]:
    """Say what a picture of one graph shows; see `Pictures`."""
    start, goal = map(str, query.tolist())
    return {
        "edges": [list(map(str, edge)) for edge in edges.tolist() if edge[0] >= 0],
        "start": start,
        "goal": goal,
    }


def instruction(graph: str, order: Order, query: Query, listed: str, edge: str) -> str:
    """Explain the line of a kind of graph, and the answer in an order.

    listed: how the edges are ordered. edge: what an edge says of its two nodes.
    """
    ends = "from the start to the goal" if order == "forward" else "backwards, from the goal to the start"
    edges = (
        f"its edges are listed {listed}, with the sign | between them; each edge is two node numbers with a "
        f"comma between them, and {edge}"
    )
    asked = "stand the start and the goal, with a comma between them"
    parts = (
        f"Before the sign / {edges}. After the sign / {asked}, and then the sign =."
        if query == "last"
        else f"Before the sign / {asked}. After it {edges}. Then comes the sign =."
    )
    return (
        f"Each line describes {graph} and asks for a path in it. {parts} After the sign = comes the answer: "
        f"all nodes of the path {ends}, both included, with commas between them. "
        "Write the answer and nothing else."
    )


def split(line: str, query: Query) -> tuple[list[Edge], int, int, list[int]]:
    """Split a line into edges, start, goal and answer. Raises ValueError."""
    prompt, equals, answer = line.partition("=")
    if "/" not in prompt or not equals:
        raise ValueError(f"expected {_FORMS[query]}path")
    return *split_prompt(f"{prompt}=", query), _integers(answer)


def split_prompt(prompt: str, query: Query) -> tuple[list[Edge], int, int]:
    """Split a prompt into edges, start and goal. Raises ValueError."""
    parts = prompt.removesuffix("=").split("/")
    if len(parts) != 2 or not prompt.endswith("=") or "|" in parts[query == "last"]:
        raise ValueError(f"expected {_FORMS[query]}")
    graph, asked = parts if query == "last" else parts[::-1]
    edges = [_pair(edge) for edge in graph.split("|")]
    if twice := [edge for edge, count in Counter(edges).items() if count > 1]:
        raise ValueError(f"the edge {_text(twice[0])} is written twice")
    return edges, *_pair(asked)


def query_of(line: str) -> Query:
    """Say where a line asks its question; a graph has the sign `|`, unless it is a single edge."""
    before, _, behind = line.partition("/")
    return "first" if "|" in behind and "|" not in before else "last"


def line_from(following: Mapping[int, Sequence[int]], node: int) -> list[int]:
    """Follow nodes that have one neighbour each, up to an end or a fork. Raises ValueError for a cycle."""
    line = [node]
    while len(neighbours := following.get(line[-1], [])) == 1:
        if neighbours[0] in line:
            raise ValueError(f"the edge {line[-1]},{neighbours[0]} closes a cycle")
        line.append(neighbours[0])
    return line


def check_answer(answer: Sequence[int], path: Sequence[int]) -> None:
    """Raise ValueError unless the answer is the path to the goal."""
    if answer != path:
        raise ValueError(f"the answer {_text(answer)} is not the path {_text(path)}")


def check_label(largest: int, num_nodes: int) -> None:
    """Raise ValueError if the largest label of a line is not below `num_nodes`."""
    if largest >= num_nodes:
        raise ValueError(f"label {largest} does not fit num_nodes {num_nodes}")


def check_nodes(count: int) -> None:
    """Raise ValueError if the graph of a line has more nodes than one may have."""
    if count > MOST_NODES:
        raise ValueError(f"a graph of {count} nodes, more than {MOST_NODES}")


def _integers(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"{text!r} is not a comma-separated list of node labels")
    if max(map(len, parts)) > _MOST_DIGITS:
        raise ValueError(f"a label of more than {_MOST_DIGITS} digits")
    return [int(part) for part in parts]


def _pair(text: str) -> Edge:
    numbers = _integers(text)
    if len(numbers) != 2:
        raise ValueError(f"{text!r} is not a pair a,b")
    return numbers[0], numbers[1]


def _text(nodes: Sequence[int]) -> str:
    return ",".join(map(str, nodes))
