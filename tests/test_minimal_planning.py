"""Minimal planning: problems, decisions and verdicts, checked by hand or by walking the graph."""

import networkx as nx
import numpy as np
import pytest
from scipy.stats import chisquare

from unforced.errors import UserError
from unforced.tasks import minimal_planning
from unforced.tasks.minimal_planning import MinimalPlanning, MinimalPlanningProblems

TASK = MinimalPlanning()
LINE = "5,3|1,5|3,9|5,8|8,4/1,9=1,5,3,9"


def by_hand():
    """The problem of LINE."""
    task = MinimalPlanning(path_length=4, nearest=1, num_nodes=10)
    edges = [[[5, 3], [1, 5], [3, 9], [5, 8], [8, 4]]]
    return task, MinimalPlanningProblems(
        np.array([[[1, 5, 3, 9], [5, 8, 4, -1]]]), np.array([1]), np.array(edges)
    )


def test_a_line_by_hand():
    task, problems = by_hand()
    assert str(task) == "minimal planning P(4,1-1) with 10 labels"
    assert task.lines(problems) == [LINE]
    assert task.prompts(problems)[0].tolist() == [5, 3, 10, 1, 5, 10, 3, 9, 10, 5, 8, 10, 8, 4, 12, 1, 9, 11]
    assert task.draw(problems, 0) == ["1 → 5 ┬ 3 → 9  (goal)", "      └ 8 → 4"]
    ahead = task.lookahead
    assert np.flatnonzero(ahead.decisive(problems)[0]).tolist() == [2]
    assert np.flatnonzero(ahead.given_away(problems)[0]).tolist() == [1, 3]
    assert ahead.choices(problems, 2).tolist() == [[3, 8]]
    assert ahead.decoys(problems).tolist() == [[[1, 5, 8, 4]]]
    assert ahead.position_chances() == (1, 1, 0.5, 1)
    (other,) = ahead.counterfactual_prompts(problems)
    assert task.lines(other) == ["5,3|1,5|3,9|5,8|8,4/1,4=1,5,8,4"]
    assert ahead.decoys(other).tolist() == [[[1, 5, 3, 9]]]
    assert task.score(problems, task.answers(problems)).slices["distance"].tolist() == [1]
    assert f"prompt  {LINE.replace('=1,5,3,9', '=')}     answer  1 5 3 9\n" in minimal_planning.__doc__


def test_the_distance_is_where_the_path_first_forks_and_both_ends_are_equally_far():
    problems = TASK.sample(np.random.default_rng(0), 6000)
    answers = TASK.answers(problems)
    distances = TASK.score(problems, answers).slices["distance"]
    assert chisquare(np.bincount(distances)).pvalue > 1e-3
    assert len(np.bincount(distances)) == 6
    for row in range(50):
        graph = nx.DiGraph(edge for edge in problems.edges[row].tolist() if edge[0] >= 0)
        path = answers[row].tolist()
        forks = [index for index, node in enumerate(path) if graph.out_degree(node) == 2]
        assert forks == [distances[row]]
        assert nx.is_arborescence(graph)
        ends = [node for node in graph if graph.out_degree(node) == 0]
        found = [nx.shortest_path(graph, path[0], end) for end in ends]
        assert sorted(found) == sorted([path, TASK.lookahead.decoys(problems)[row, 0].tolist()])
        assert set(map(len, found)) == {8}


def test_the_edges_of_a_prompt_are_in_random_order():
    problems = TASK.sample(np.random.default_rng(0), 12_000)
    first = problems.edges[:, 0]
    nearest = problems.distance == 0  # 14 edges, of which one leaves the start on the path
    leaves = (first == problems.lines[:, 0, :2]).all(axis=1)[nearest]
    assert leaves.mean() == pytest.approx(1 / 14, abs=0.03)  # five standard errors


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ([1, 5, 3, 9], "correct"),
        ([1, 5, 8, 4], "wrong_branch"),
        ([1, 5, 8, 9], "wrong_branch_to_goal"),
        ([1, 3, 5, 9], "broken_edge"),
        ([1, 5, 3, 4], "wrong_end"),
        ([5, 5, 3, 9], "wrong_start"),
        ([1, 5, 10, 9], "malformed"),
    ],
)
def test_the_kind_of_a_hand_made_error(answer, kind):
    task, problems = by_hand()
    verdicts = task.score(problems, np.array([answer]))
    assert {name for name, number in verdicts.counts().items() if number} == {kind}


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("5,3|1,5|3,9|5,8|8,4/1,3=", "the goal 3 is not the end of a branch"),
        ("5,3|1,5|3,9/1,9=", "its edges are not a path from 1 that forks once into two branches"),
        ("5,3|1,5|3,9|5,8|8,3/1,9=", "its edges are not a path from 1 that forks once into two branches"),
        ("5,3|1,5|3,9|5,8/1,9=", "its paths have 4 and 3 nodes and fork at index 1; the task's have 4 and"),
        ("5,3|1,5|3,1|5,8|8,4/3,8=", "closes a cycle|not a path from 3"),
    ],
)
def test_prompts_of_other_graphs_are_refused(prompt, words):
    task, _ = by_hand()
    with pytest.raises(UserError, match=words):
        task.read_prompts([prompt])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"farthest": 6}, r"farthest: give nearest 0 to path_length - 3 = 5 .*, not 6"),
        ({"nearest": 4, "farthest": 2}, r"farthest: give nearest 4 to .*, not 2"),
        ({"num_nodes": 14}, "num_nodes: .* has 15 nodes, more than num_nodes 14"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        MinimalPlanning(**fields)
