"""Accuracy by degree over all graphs of a study of `dag_paths`, beside walkers that know edges and no more.

    python papers/alpine_small/degrees.py runs/alpine_small

Pairs of all graphs are counted together: few of one graph have a high degree. A walker takes, at each node,
one of these edges at random, and fails where there is none:

    edges               any
    observed            to the goal, or to a node that is observed to reach it
    observed or edges   the same; any where there is none of these
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unforced.evaluation.statistics import percent, proportion
from unforced.reporting.load import collect_runs
from unforced.runs.groups import Group, group_runs
from unforced.tasks.dag_paths import HIGHEST_DEGREE, DagPaths

WALKERS = ("edges", "observed", "observed or edges")
Row = dict[int, list[float]]


def main(folders: Sequence[Path]) -> None:
    """Print a row per configuration and walker: correct answers in percent, by degree."""
    groups = group_runs(collect_runs(folders).runs)
    tasks = {run.tree["task"]["graph_seed"]: run.tree["task"] for group in groups for run in group.runs}
    rows = {group.configuration: of_group(group) for group in groups}
    rows |= {f"walker: {name}": of_walker(name, tasks.values()) for name in WALKERS}
    print(" | ".join(["configuration", *(f"degree {degree}" for degree in range(HIGHEST_DEGREE + 1))]))
    for name, row in rows.items():
        shares = [percent(proportion(round(right), int(asked))) for right, asked in row.values()]
        print(" | ".join([name, *shares]))
    asked = [f"{int(asked):,}" for _, asked in next(iter(rows.values())).values()]
    print(" | ".join(["pairs of a configuration", *asked]))


def of_group(group: Group) -> Row:
    """Add up the correct answers and all answers of a group's runs, by degree."""
    row: Row = {degree: [0, 0] for degree in range(HIGHEST_DEGREE + 1)}
    for run in group.runs:
        for degree, counts in row.items():
            measured = run.result.get(f"test.slice.degree_{degree}.free.exact", {"correct": 0, "total": 0})
            counts[0] += measured["correct"]
            counts[1] += measured["total"]
    return row


def of_walker(name: str, tasks: Iterable[dict[str, Any]], walks: int = 50) -> Row:
    """Add up how often a walker arrives, as a mean over `walks` walks for each held-out pair."""
    row: defaultdict[int, list[float]] = defaultdict(lambda: [0, 0])
    for fields in tasks:
        task = DagPaths(**fields)
        pairs = task.listed("test").ends
        degrees = np.minimum(task.dag.degrees[pairs[:, 0], pairs[:, 1]], HIGHEST_DEGREE)
        rng = np.random.default_rng(0)
        arrived = np.mean([arrives(task, pairs, name, rng) for _ in range(walks)], axis=0)
        for degree in range(HIGHEST_DEGREE + 1):
            row[degree][0] += arrived[degrees == degree].sum()
            row[degree][1] += (degrees == degree).sum()
    return dict(row)


def arrives(task: DagPaths, pairs: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    """Walk from each start; say where the goal was reached."""
    dag, goals = task.dag, pairs[:, 1]
    known = dag.observed | np.eye(task.num_nodes, dtype=bool)
    nodes, walking = pairs[:, 0].copy(), np.ones(len(pairs), dtype=bool)
    while walking.any():
        edges = dag.edges[nodes]
        chosen = edges if name == "edges" else edges & known[:, goals].T
        if name == "observed or edges":
            chosen = np.where(chosen.any(axis=1, keepdims=True), chosen, edges)
        walking &= chosen.any(axis=1)
        onward = np.where(chosen, rng.random(chosen.shape), -1).argmax(axis=1)
        nodes = np.where(walking, onward, nodes)
        walking &= nodes != goals
    return nodes == goals


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])
