"""How large graphs may be: bounds on the memory that drawing a block of problems takes."""

MOST_LABELS = 10_000_000
MOST_NODES = 10_000  # of one graph
MOST_FORKS = MOST_NODES.bit_length() - 1  # on one path through a tree: each at least doubles its leaves


def check_size(graph: str, nodes: int, num_nodes: int, field: str = "path_length") -> None:
    """Raise ValueError, naming the `graph`, if it has too many nodes, or too few labels for them.

    field: what to lower.
    """
    if nodes > MOST_NODES:
        raise ValueError(
            f"{field}: {graph} has {nodes} nodes, more than {MOST_NODES}; lower {field} or degree"
        )
    if nodes > num_nodes:
        raise ValueError(
            f"num_nodes: {graph} has {nodes} nodes, more than num_nodes {num_nodes}; "
            f"use num_nodes={nodes} or more"
        )
