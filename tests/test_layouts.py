"""How graphs are written: the query before the graph, arms in one piece, edges in either direction."""

import json
import re

import numpy as np
import pytest

from tests.runs import unchecked
from unforced.cli.data import export_problems, import_problems
from unforced.errors import UserError
from unforced.parts import read
from unforced.tasks.branching_path import BranchingPath
from unforced.tasks.crossing_lines import CrossingLines
from unforced.tasks.path_star import PathStar
from unforced.tasks.sampling import problems
from unforced.testing import check_task

SHAPE = {"degree": 3, "path_length": 4, "num_nodes": 20}
ALL = {"query": "first", "shuffle": "arms", "edge_direction": "random"}
LINES = {
    "1,7|1,4|7,9|4,2/1,9=": {},
    "1,9/1,7|1,4|7,9|4,2=": {"query": "first"},
    "1,4|4,2|1,7|7,9/1,9=": {"shuffle": "arms"},
    "7,1|1,4|7,9|2,4/1,9=": {"edge_direction": "random"},
    "1,9/4,1|4,2|1,7|9,7=": ALL,
}


def sample(task, count=2000):
    return task.sample(np.random.default_rng(0), count)


@pytest.mark.parametrize(("prompt", "layout"), LINES.items(), ids=LINES)
def test_a_line_of_each_layout_by_hand(prompt, layout):
    task, stars = PathStar.read_lines([f"{prompt}1,7,9"], "line", known={"num_nodes": 10, **layout})
    assert task == PathStar(degree=2, path_length=3, num_nodes=10, **layout)
    assert task.lines(stars) == [f"{prompt}1,7,9"]
    signs = {"|": 10, "=": 11, "/": 12}
    symbols = [signs[sign] if sign in signs else int(sign) for sign in prompt if sign != ","]
    assert task.prompts(stars).tolist() == [symbols]
    assert task.lines(task.read_prompts([prompt])) == [f"{prompt}1,7,9"]
    assert task.drawing(stars, 0)["edges"] == [
        ["1" if n in "74" else {"9": "7", "2": "4"}[n], n] for n in _outer(prompt)
    ]


def _outer(prompt):
    """The outer nodes of the edges, in the order in which a prompt writes them."""
    graph = next(part for part in prompt.strip("=").split("/") if "|" in part)
    depth = {"1": 0, "7": 1, "4": 1, "9": 2, "2": 2}
    return [max(edge.split(","), key=depth.get) for edge in graph.split("|")]


def test_where_the_query_stands_is_seen_in_a_file_that_does_not_say_it():
    task, _ = PathStar.read_lines(["", "1,9/1,7|1,4|7,9|4,2=1,7,9"], "line")
    assert task.query == "first"


EITHER_WAY = {"edge_direction": "random"}


@pytest.mark.parametrize(
    ("layout", "prompt", "reason"),
    [
        ({}, "1,9/1,7|1,4|7,9|4,2=", "expected a,b|c,d/start,goal="),
        ({"query": "first"}, "1,7|1,4|7,9|4,2/1,9=", "expected start,goal/a,b|c,d="),
        ({}, "7,1|1,4|7,9|2,4/1,9=", "for edges written either way, give edge_direction=random"),
        (EITHER_WAY, "7,1|1,4|7,9|9,4/1,9=", "a node occurs on two arms"),
        (EITHER_WAY, "7,1|1,4|7,9|2,5/1,9=", "some edges are on no arm that leaves the start 1"),
    ],
)
def test_a_prompt_of_another_layout_is_one_line(layout, prompt, reason):
    task = PathStar(degree=2, path_length=3, num_nodes=10, **layout)
    with pytest.raises(UserError, match=re.escape(reason) + "$"):
        task.read_prompts([prompt])


@pytest.mark.parametrize(
    "task",
    [
        PathStar(**SHAPE, **ALL),
        BranchingPath(degree=2, path_length=4, forks=(0, 1), num_nodes=20, query="first"),
        CrossingLines(query="first"),
        PathStar(**SHAPE, **ALL, shortest=3),
        PathStar(**SHAPE, shortest=3, lengths_vary="by_arm"),
    ],
    ids=str,
)
def test_other_layouts_keep_to_the_contract_of_tasks_and_are_read_back(task):
    with unchecked():
        check_task(task)
    some = problems(task, 0, "test", 0, 20)
    read = task.text.prompt_reader.read(task.text.prompts(some))
    assert task.lines(read) == task.lines(some)


def test_layouts_change_the_words_and_not_the_problem():
    plain, other = PathStar(**SHAPE), PathStar(**SHAPE, **ALL)
    asked = [each.keys(sample(each)).tolist() for each in (plain, other)]
    assert asked[0] == asked[1]
    assert plain.prompt_length == other.prompt_length
    assert str(other) == f"{plain}, arm by arm, undirected, query first"


def test_arms_stay_together_in_random_order_and_edges_are_turned_at_random():
    task = PathStar(**SHAPE, **ALL)
    stars, hops = sample(task), SHAPE["path_length"] - 1
    first = stars.edge_order[:, ::hops] // hops
    assert np.array_equal(
        stars.edge_order, (first[:, :, None] * hops + np.arange(hops)).reshape(len(stars), -1)
    )
    assert np.bincount(np.argmax(first == 0, axis=1)).tolist() == pytest.approx([667] * 3, abs=90)
    assert stars.flipped.mean(axis=0) == pytest.approx(np.full(9, 0.5), abs=0.05)
    turned = np.where(stars.flipped[:, :, None], stars.edges[:, :, ::-1], stars.edges)
    assert np.array_equal(task.written_edges(stars), turned)


def test_another_question_leaves_the_edges_as_they_are_written():
    task = PathStar(**SHAPE, **ALL)
    stars = sample(task, 5)
    for other in task.lookahead.counterfactual_prompts(stars):
        assert np.array_equal(task.written_edges(other), task.written_edges(stars))
        assert np.array_equal(task.prompts(other)[:, 2:], task.prompts(stars)[:, 2:])


def test_the_instruction_says_how_to_read_each_layout():
    plain, other = (PathStar(**SHAPE, **layout).text.instruction("forward") for layout in ({}, ALL))
    assert "leads from the first node to the second. After the sign / stand the start" in plain
    assert "an undirected graph" in other
    assert "Before the sign / stand the start and the goal" in other
    assert "arm by arm, from the start outward" in other


@pytest.mark.parametrize("suffix", ["txt", "parquet"])
@pytest.mark.parametrize("chosen", [ALL, {"shortest": 3, "lengths_vary": "by_arm"}], ids=["all", "mixed"])
def test_files_hold_problems_of_other_layouts(tmp_path, capsys, suffix, chosen):
    file = tmp_path / f"a.{suffix}"
    layout = [f"{key}={value}" for key, value in chosen.items()]
    with unchecked():
        export_problems("quickstart.next_token", file, [f"task.{each}" for each in layout], "test", 20)
        capsys.readouterr()
        import_problems(file, known=layout if suffix == "txt" else [], as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["distinct"] == facts["owned_by"]["test"] == 20
    assert {key: facts["task"][key] for key in chosen} == chosen


MIXED = {"degree": 2, "path_length": 4, "num_nodes": 10, "shortest": 3, "lengths_vary": "by_arm"}
MIXED_LINE = "1,7|1,4|7,9|9,3|4,2/1,3="


def test_a_line_with_arms_of_different_lengths_by_hand():
    known = {key: MIXED[key] for key in ("num_nodes", "shortest", "lengths_vary")}
    task, stars = PathStar.read_lines([f"{MIXED_LINE}1,7,9,3"], "line", known=known)
    assert task == PathStar(**MIXED)
    assert task.lines(stars) == [f"{MIXED_LINE}1,7,9,3"]
    bar, equals, slash = 10, 11, 12
    line = [1, 7, bar, 1, 4, bar, 7, 9, bar, 9, 3, bar, 4, 2, slash, 1, 3, equals]
    assert task.prompts(stars).tolist() == [[-1, -1, -1, *line]]
    other = stars.asking_for(1)
    assert task.answers(other).tolist() == [[1, 4, 2, -1]]
    assert task.lines(other) == ["1,7|1,4|7,9|9,3|4,2/1,2=1,4,2"]
    assert task.lookahead.given_away(other).tolist() == [[False, False, True, False]]
    kinds = [
        ("wrong_arm", [1, 7, 9, 3]),
        ("wrong_arm_to_goal", [1, 7, 9, 2]),
        ("broken_edge", [1, 2, -1, -1]),
    ]
    for kind, answer in kinds:
        assert task.score(other, np.array([answer])).counts()[kind] == 1
    assert task.draw(other, 0) == ["1 → 4 → 2  (goal)", "1 → 7 → 9 → 3"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"lengths_vary": "by_graph"}, "the arms differ in length"),
        ({"path_length": 3}, "it is G(2, 3-4), and the task is G(2, 3)"),
        ({"shortest": 4}, "it is G(2, 3-4), and the task is G(2, 4)"),
        ({"degree": 3}, "it is G(2, 3-4), and the task is G(3, 3-4)"),
    ],
)
def test_a_prompt_with_arms_of_other_lengths_is_one_line(changed, reason):
    with pytest.raises(UserError, match=re.escape(reason) + "$"):
        PathStar(**MIXED | changed).read_prompts([MIXED_LINE])


def test_lengths_are_uniform_and_one_for_a_graph_or_one_for_an_arm():
    for by_arm in (False, True):
        task = PathStar(**SHAPE, shortest=3, lengths_vary="by_arm" if by_arm else "by_graph")
        lengths = (sample(task).paths >= 0).sum(axis=2)
        assert np.unique(lengths).tolist() == [3, 4]
        assert (lengths == 3).mean(axis=0) == pytest.approx([0.5] * 3, abs=0.05)
        assert ((lengths == lengths[:, :1]).all(axis=1).mean() < 0.5) == by_arm
        assert set(task.score(sample(task), task.answers(sample(task))).slices["length"].tolist()) == {3, 4}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"lengths_vary": "by_arm"}, "lengths_vary: by_arm needs shortest"),
        ({"shortest": 5}, "shortest: give at most path_length 4, not 5"),
    ],
)
def test_lengths_that_do_not_fit_are_one_line(fields, reason):
    with pytest.raises(UserError, match=reason):
        read(PathStar, SHAPE | fields)
