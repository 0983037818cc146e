"""Crossing lines: problems, decisions and verdicts, checked by hand or by walking the graph."""

import re

import numpy as np
import pytest
from scipy.stats import chisquare

from unforced.tasks import crossing_lines
from unforced.tasks.crossing_lines import CrossingLines, CrossingProblems

HARD = CrossingLines(degree=5, shortest=6, longest=12, min_after=5, num_nodes=56)
TASKS = {"medium": CrossingLines(), "hard": HARD}
LINE = "4,7|1,7|7,5|7,9|9,2|5,8|3,4/1,2=1,7,9,2"
task_of_either_size = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def sample(task, count=2000):
    return task.sample(np.random.default_rng(0), count)


def by_hand():
    """The problem of LINE."""
    task = CrossingLines(degree=2, shortest=3, longest=5, num_nodes=10)
    lines = [[[1, 7, 9, 2, -1, -1, -1], [3, 4, 7, 5, 8, -1, -1]]]
    edges = [[[4, 7], [1, 7], [7, 5], [7, 9], [9, 2], [5, 8], [3, 4], [-1, -1]]]
    return task, CrossingProblems(np.array(lines), np.array([[1, 2]]), np.array(edges))


def graph(task, problems, index):
    """Edges, start and goal of one problem, from its text."""
    (line,) = task.text.prompts(problems.take(slice(index, index + 1)))
    edges, query = line.removesuffix("=").split("/")
    start, goal = map(int, query.split(","))
    return [tuple(map(int, edge.split(","))) for edge in edges.split("|")], start, goal


def walks(edges, start):
    """All paths from a node to where they end."""
    onward = [child for parent, child in edges if parent == start]
    return [[start, *rest] for child in onward for rest in walks(edges, child)] or [[start]]


@task_of_either_size
def test_the_answer_is_the_one_walk_from_the_start_to_the_goal_and_others_end_elsewhere(task):
    problems = sample(task, 30)
    answers, decoys = task.text.answers(task.answers(problems)), task.lookahead.decoys(problems)
    others = [task.text.prompts(asked) for asked in task.lookahead.counterfactual_prompts(problems)]
    for index in range(30):
        edges, start, goal = graph(task, problems, index)
        found = [",".join(map(str, walk)) for walk in walks(edges, start)]
        assert answers[index] == next(walk for walk in found if walk.endswith(f",{goal}"))
        assert sorted(found) == sorted([answers[index], *task.text.answers(decoys[index])])
        other = [lines[index] for lines in others]
        ends = {walk[-1] for walk in walks(edges, start)} - {goal}
        assert {int(re.findall(r"(\d+)=", line)[0]) for line in other} == ends


@task_of_either_size
def test_lengths_and_crossings_are_uniform_within_their_bounds(task):
    problems = sample(task, 20_000)
    lengths = (problems.lines >= 0).sum(axis=2)
    drawn = np.bincount(lengths.ravel())[task.shortest :]
    assert len(drawn) == task.longest - task.shortest + 1
    assert chisquare(drawn).pvalue > 1e-3
    for length in range(task.shortest, task.longest + 1):
        crossings = np.bincount(problems.crossings[lengths == length])
        assert len(crossings) == length - task.min_after
        assert len(crossings) == 1 or chisquare(crossings).pvalue > 1e-3
    shared = np.take_along_axis(problems.lines, problems.crossings[:, :, None], axis=2)[:, :, 0]
    assert (shared == shared[:, :1]).all()


def test_a_line_by_hand():
    task, problems = by_hand()
    assert str(task) == "crossing lines X(2,3-5,2) with 10 labels"
    assert task.lines(problems) == [LINE]
    assert task.lines(problems, "reversed") == [LINE.replace("=1,7,9,2", "=2,9,7,1")]
    assert task.prompts(problems)[0].tolist() == [-1] * 3 + [4, 7, 10, 1, 7, 10, 7, 5, 10, 7, 9, 10] + [
        *[9, 2, 10, 5, 8, 10, 3, 4, 12, 1, 2, 11]
    ]
    assert task.answers(problems).tolist() == [[1, 7, 9, 2, -1, -1, -1]]
    assert task.draw(problems, 0) == ["    1 → [7] → 9 → 2  (goal)", "3 → 4 → [7] → 5 → 8"]
    ahead = task.lookahead
    assert np.flatnonzero(ahead.decisive(problems)[0]).tolist() == [2]
    assert np.flatnonzero(ahead.given_away(problems)[0]).tolist() == [1, 3]
    assert ahead.choices(problems, 2).tolist() == [[9, 5]]
    assert ahead.decoys(problems).tolist() == [[[1, 7, 5, 8, -1, -1, -1]]]
    assert ahead.position_chances() == (1, 0.5, 0.5, 0.5, 1, 1, 1)
    assert f"prompt  {LINE.replace('=1,7,9,2', '=')}     answer  1 7 9 2\n" in crossing_lines.__doc__
    assert task.score(problems, task.answers(problems)).slices["crossing"].tolist() == [1]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ([1, 7, 9, 2], "correct"),
        ([1, 7, 5, 8], "wrong_line"),
        ([1, 7, 5, 2], "wrong_line_to_goal"),
        ([1, 9, 2], "broken_edge"),
        ([1, 7, 9, 5, 2], "broken_edge"),
        ([1, 7, 9], "wrong_end"),
        ([1], "wrong_end"),
        ([7, 9, 2], "wrong_start"),
        ([], "malformed"),
        ([1, 7, 9, -2], "malformed"),
        ([1, 7, -1, 2], "malformed"),
        ([1, 7, 9, 10], "malformed"),
    ],
)
def test_the_kind_of_a_hand_made_error(answer, kind):
    task, problems = by_hand()
    verdicts = task.score(problems, np.array([answer + [-1] * (7 - len(answer))]))
    assert {name for name, number in verdicts.counts().items() if number} == {kind}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"shortest": 3, "min_after": 3},
            "shortest: give more than min_after 3 and at most longest 6, not 3",
        ),
        ({"shortest": 7}, "shortest: give more than min_after 2 and at most longest 6, not 7"),
        ({"num_nodes": 15}, "num_nodes: .* has 16 nodes, more than num_nodes 15"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        CrossingLines(**fields)
