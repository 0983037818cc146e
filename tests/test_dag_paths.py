"""Paths in one graph: its data, degrees and verdicts, checked by hand or against networkx and slow loops."""

import itertools
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from tests.runs import tiny_run
from unforced.cli.data import export_problems
from unforced.errors import UserError
from unforced.tasks import dag_paths
from unforced.tasks.dag import TRAIN
from unforced.tasks.dag_paths import DagPathProblems, DagPaths
from unforced.tasks.sampling import SPLITS
from unforced.training.source import split_problems

TASK = DagPaths(num_nodes=40, edge_probability=0.12, edge_paths=0, graph_seed=5)


@pytest.fixture(scope="module")
def graph():
    return nx.from_numpy_array(TASK.dag.edges, create_using=nx.DiGraph)


def lines(split):
    """The strings of a split, as lists of nodes."""
    return [[*map(int, line.split("=")[1].split(","))] for line in TASK.lines(TASK.listed(split))]


def test_the_graph_is_a_random_one_without_cycles(graph):
    assert nx.is_directed_acyclic_graph(graph)
    assert all(start < end for start, end in graph.edges)
    assert nx.dag_longest_path_length(graph) + 1 == TASK.answer_length
    closure = nx.transitive_closure(graph)
    assert np.array_equal(nx.to_numpy_array(closure, nodelist=range(40)) > 0, TASK.dag.reaches)
    large = DagPaths(num_nodes=200).dag.edges
    assert large[np.triu_indices(200, 1)].mean() == pytest.approx(0.1, abs=0.01)  # five standard errors
    assert not np.array_equal(DagPaths().dag.edges, DagPaths(graph_seed=1).dag.edges)


def test_all_edges_and_twenty_paths_of_a_tenth_of_the_other_pairs_train(graph):
    paths = lines("train")
    assert all(nx.is_path(graph, path) for path in paths)
    pairs = [(path[0], path[-1]) for path in paths]
    assert sorted(map(tuple, paths[: len(graph.edges)])) == sorted(graph.edges)
    others = {pair: pairs.count(pair) for pair in set(pairs) - set(graph.edges)}
    assert set(others.values()) == {20}
    reachable = {*nx.transitive_closure(graph).edges} - {*graph.edges}
    assert len(others) == round(0.1 * len(reachable))
    held_out = [[(path[0], path[-1]) for path in lines(split)] for split in ("validation", "test")]
    assert sorted([*others, *held_out[0], *held_out[1]]) == sorted(reachable)
    assert all(nx.is_path(graph, path) for path in lines("test"))
    rich = TASK.model_copy(update={"edge_paths": 3})
    assert len(rich.listed("train")) == rich.dag.num_train == len(paths) + 3 * len(graph.edges)


def test_a_random_path_takes_each_edge_that_leads_on_equally_often(graph):
    often = DagPaths(**{**TASK.model_dump(), "pair_paths": 1000}).listed("train").path[len(graph.edges) :]
    tried = 0
    for walks in often.reshape(-1, 1000, often.shape[1]):
        start, goal = walks[0, 0], walks[0].max()
        ways = [node for node in graph.successors(start) if node == goal or nx.has_path(graph, node, goal)]
        counts = [(walks[:, 1] == node).sum() for node in ways]
        assert counts == pytest.approx([1000 / len(ways)] * len(ways), abs=80)  # five standard errors
        tried += len(ways) > 1
    assert tried > 2


def test_the_degree_of_a_pair_is_the_concatenations_that_it_needs():
    observed = {(node, path[-1]) for path in lines("train") for node in path[:-1]}
    chain = nx.DiGraph(observed)
    tests = TASK.listed("test")
    degrees = TASK.score(tests, TASK.answers(tests)).slices["degree"]
    slow = [min(nx.shortest_path_length(chain, *map(int, ends)) - 1, 3) for ends in tests.ends]
    assert degrees.tolist() == slow
    assert set(slow) >= {0, 1, 2}
    trained = TASK.listed("train")
    assert not TASK.score(trained, TASK.answers(trained)).slices["degree"].any()


@pytest.mark.parametrize("kind", TASK.verdict_kinds)
def test_every_kind_of_answer_is_told_as_a_slow_walk_tells_it(kind, graph):
    """Answers of all kinds, drawn at random around true paths."""
    rng = np.random.default_rng(0)
    tests = TASK.listed("test")
    truth = TASK.answers(tests)
    answers = np.where(rng.random(truth.shape) < 0.1, rng.integers(-2, 41, truth.shape), truth)
    answers[::3] = truth[::3]
    cut = rng.integers(0, TASK.answer_length, len(answers))[:, None]
    answers[1::4] = np.where(np.arange(TASK.answer_length) < cut, answers, -1)[1::4]
    for row in range(2, len(answers), 4):  # a true path, and on along edges
        path = [node for node in truth[row].tolist() if node >= 0][: rng.integers(1, 9)]
        while (onward := [*graph.successors(path[-1])]) and rng.random() < 0.8:
            path.append(onward[rng.integers(len(onward))])
        answers[row] = path + [-1] * (TASK.answer_length - len(path))
    verdicts = TASK.score(tests, answers)
    told = [verdicts.kinds[number] for number in verdicts.kind]
    slow = [slow_kind(graph, *row) for row in zip(tests.ends.tolist(), answers.tolist(), strict=True)]
    assert slow.count(kind) > 3
    assert [mine == kind for mine in told] == [theirs == kind for theirs in slow]


def slow_kind(graph, ends, answer):
    """The kind of one answer, step by step."""
    start, goal = ends
    nodes = [*itertools.takewhile(lambda node: node != -1, answer)]
    if not nodes or any(node not in graph for node in nodes) or set(answer[len(nodes) :]) > {-1}:
        return "malformed"
    if nodes[0] != start:
        return "wrong_start"
    if not nx.is_path(graph, nodes):
        return "no_edge"
    if nodes[-1] == goal:
        return "correct"
    if goal in nodes:
        return "past_goal"
    return "stops_early" if nx.has_path(graph, nodes[-1], goal) else "wrong_turn"


def test_a_problem_by_hand(graph):
    start, middle, goal = (
        3,
        *next((node, other) for node in graph.successors(3) for other in graph.successors(node)),
    )
    path = [start, middle, goal] + [-1] * (TASK.answer_length - 3)
    one = DagPathProblems(np.array([[start, goal]]), np.array([path]))
    assert TASK.lines(one) == [f"{start},{goal}={start},{middle},{goal}"]
    assert TASK.lines(one, "reversed") == [f"{start},{goal}={goal},{middle},{start}"]
    assert TASK.prompts(one).tolist() == [[start, goal, 40]]
    ways = {node: node == goal or nx.has_path(graph, node, goal) for node in graph.successors(middle)}
    assert TASK.draw(one, 0)[::2] == [
        f"{start} → {middle} → {goal}  (goal)",
        f"{middle} → " + " ".join(str(node) if leads else f"({node})" for node, leads in ways.items()),
    ]
    assert not all(ways.values())
    drawn = TASK.drawing(one, 0)
    assert [str(middle), str(goal)] in drawn["edges"]
    assert (drawn["start"], drawn["goal"]) == (str(start), str(goal))


def test_a_run_trains_and_is_measured_on_each_problem_once():
    run = tiny_run().replace(task=TASK, stream=False, num_train=None, num_test=10_000)
    for split in SPLITS:
        there = split_problems(run, split, 10_000)
        assert sorted(TASK.lines(there)) == sorted(TASK.lines(TASK.listed(split)))
        assert (TASK.owners(there) == SPLITS.index(split)).all()
    with pytest.raises(UserError, match=r"--count: .* has \d+ problems in its test split, not 9999"):
        export_problems(
            "quickstart.next_token", Path("none.txt"), ["task=dag_paths"], split="test", count=9999
        )


def test_prompts_without_a_path_and_graphs_without_pairs_are_refused():
    backwards = f"{lines('test')[0][-1]},{lines('test')[0][0]}="
    with pytest.raises(UserError, match="in its graph, no path leads from"):
        TASK.read_prompts([backwards])
    with pytest.raises(UserError, match="label 40 does not fit num_nodes 40"):
        TASK.read_prompts(["3,40="])
    with pytest.raises(ValueError, match="edge_probability: the graph has 3 training strings, 0 pairs to"):
        DagPaths(num_nodes=3, edge_probability=1, edge_paths=0)
    with pytest.raises(ValueError, match="has 0 training strings"):
        DagPaths(num_nodes=3, edge_probability=1e-9)
    with pytest.raises(
        ValueError, match=r"num_nodes: .* training strings of up to 300 nodes, more than 50,0"
    ):
        DagPaths(num_nodes=300, edge_probability=1)
    assert (TASK.dag.owners[TASK.dag.edges] == TRAIN).all()
    assert "prompt    12,57=" in dag_paths.__doc__
