"""Branching paths: trees, automorphisms, chances and verdicts, checked by hand or by another route."""

import itertools
import re
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from unforced.config import assignments, build_task
from unforced.errors import UserError
from unforced.tasks import branching_path
from unforced.tasks.branching_path import BranchingPath, BranchingPathProblems
from unforced.tasks.path_star import PathStar
from unforced.tasks.tree import Tree

LINE = "5,3|1,5|3,9|5,8|1,7|7,6|8,4|7,2|6,0|2,10/1,9=1,5,3,9"
QUICK = settings(deadline=None, max_examples=40)
SEEDS = st.integers(0, 2**63)
# beartype checks a random item of a tuple, and hypothesis frowns on `random` where tasks are drawn
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")


@st.composite
def tasks(draw):
    degree, length = draw(st.integers(2, 4)), draw(st.integers(3, 6))
    forks = draw(st.lists(st.integers(0, length - 3), min_size=1, max_size=3, unique=True))
    tree = Tree(degree, length, tuple(sorted(forks)))
    nodes = tree.num_edges + 1 + draw(st.integers(0, 20))
    return BranchingPath(degree=degree, path_length=length, forks=tree.forks, num_nodes=nodes)


def sample(task, seed, count=20):
    return task.sample(np.random.default_rng(seed), count)


def made(labels, children):
    """One problem: labels of a tree's nodes, depth by depth, and the children of the edges as listed."""
    order = [labels.index(child) - 1 for child in children]
    return BranchingPathProblems(np.array([labels], np.int32), np.array([order], np.int32))


def by_hand():
    """The problem of LINE."""
    task = BranchingPath(degree=2, path_length=4, forks=(0, 1), num_nodes=12)
    return task, made([1, 5, 7, 3, 8, 6, 2, 9, 4, 0, 10], [3, 5, 9, 8, 7, 6, 4, 2, 0, 10])


def read(prompt, num_nodes):
    """Read a prompt's symbols into edges, start and goal, by the format's definition."""
    *graph, slash, start, goal, equals = prompt
    assert (slash, equals) == (num_nodes + 2, num_nodes + 1)
    assert set(graph[2::3]) <= {num_nodes}
    return list(zip(graph[0::3], graph[1::3], strict=True)), start, goal


def walk(edges, start):
    """All paths from the start to a leaf."""
    onward = [child for parent, child in edges if parent == start]
    return [[start, *rest] for child in onward for rest in walk(edges, child)] or [[start]]


def problem(task, problems, index=0):
    """Edges, start, goal and answer of one problem, from what it writes."""
    edges, start, goal = read(task.prompts(problems)[index].tolist(), task.num_nodes)
    return edges, start, goal, task.answers(problems)[index].tolist()


@QUICK
@given(tasks(), SEEDS)
def test_prompts_are_trees_that_fork_where_they_should_and_answers_the_path_to_the_goal(task, seed):
    trees = sample(task, seed)
    for index in range(len(trees)):
        edges, start, goal, answer = problem(task, trees, index)
        nodes = set(itertools.chain(*edges))
        assert len(set(edges)) == len(edges) == len(nodes) - 1
        assert nodes <= set(range(task.num_nodes))
        children = Counter(parent for parent, _ in edges)
        paths = walk(edges, start)
        assert len(paths) == task.degree ** len(task.forks)
        for path in paths:
            forks = [task.degree if depth in task.forks else 1 for depth in range(task.path_length - 1)]
            assert [children[node] for node in path] == [*forks, 0]
        assert [path for path in paths if path[-1] == goal] == [answer]


@QUICK
@given(tasks(), SEEDS)
def test_options_and_decoys_are_the_other_branches_and_the_other_paths(task, seed):
    trees = sample(task, seed, 5)
    for index in range(5):
        edges, start, _, answer = problem(task, trees, index)
        others = [path for path in walk(edges, start) if path != answer]
        assert sorted(task.lookahead.decoys(trees)[index].tolist()) == sorted(others)
        for position in task.decisive_positions:
            children = {child for parent, child in edges if parent == answer[position - 1]}
            first, *rest = task.lookahead.choices(trees, position)[index].tolist()
            assert first == answer[position]
            assert {first, *rest} == children
            assert len(children) == 1 + len(rest) == task.degree
        for position in np.flatnonzero(task.lookahead.given_away(trees)[index]):
            assert [child for parent, child in edges if parent == answer[position - 1]] == [answer[position]]


@QUICK
@given(tasks(), SEEDS)
def test_other_questions_ask_for_every_other_leaf_of_the_same_edges(task, seed):
    trees = sample(task, seed, 5)
    others = task.lookahead.counterfactual_prompts(trees)
    for index in range(5):
        edges, start, goal, _ = problem(task, trees, index)
        asked = [problem(task, other, index) for other in others]
        paths = {path[-1]: path for path in walk(edges, start)}
        assert {goal, *(other_goal for _, _, other_goal, _ in asked)} == set(paths)
        assert len(asked) == len(paths) - 1
        for other_edges, other_start, other_goal, answer in asked:
            assert (other_edges, other_start, answer) == (edges, start, paths[other_goal])


@QUICK
@given(tasks())
def test_a_swap_is_an_automorphism_and_its_own_inverse(task):
    tree = task.tree
    nodes = np.arange(tree.num_edges + 1)
    parent_of = np.concatenate([[0], tree.parents])
    for leaf in range(tree.num_leaves):
        swap = tree.swap(leaf)
        assert np.array_equal(swap[swap], nodes)
        assert np.array_equal(parent_of[swap], swap[parent_of])
        assert np.array_equal(swap[tree.leaf_paths[0]], tree.leaf_paths[leaf])


def best_blind_accuracy(task):
    """How often the best walker arrives that sees the tree but not the goal, by trying all its walks."""
    edges, start, _, _ = problem(task, sample(task, 0))
    goals = [path[-1] for path in walk(edges, start)]
    return max(np.mean([path[-1] == goal for goal in goals]) for path in walk(edges, start))


@pytest.mark.parametrize(("degree", "length", "forks"), [(2, 5, (0, 2)), (3, 4, (1,)), (2, 5, (0, 1, 2))])
def test_chances_are_those_of_a_walker_who_does_not_look_ahead(degree, length, forks):
    task = BranchingPath(degree=degree, path_length=length, forks=forks)
    assert task.chance == pytest.approx(best_blind_accuracy(task))
    assert task.chance == pytest.approx(np.prod(task.lookahead.position_chances()))
    rng, count = np.random.default_rng(0), 20_000
    trees = task.sample(rng, count)
    for position in task.decisive_positions:
        options = task.lookahead.choices(trees, position)
        guess = rng.permuted(options, axis=1)[:, 0]
        right = (guess == task.answers(trees)[:, position]).mean()
        assert right == pytest.approx(task.lookahead.position_chances()[position], abs=5 * 0.5 / count**0.5)


def best_guess(paths, position, given_answer):
    """How often the best guess at a position is right, the goal being any leaf and unknown."""
    nodes = defaultdict(Counter)
    for path in paths:
        nodes[tuple(path[:position]) if given_answer else ()][path[position]] += 1
    return sum(max(count.values()) for count in nodes.values()) / len(paths)


@QUICK
@given(tasks(), SEEDS, st.booleans())
def test_position_chances_are_those_of_the_best_guess(task, seed, given_answer):
    edges, start, _, _ = problem(task, sample(task, seed, 1))
    paths = walk(edges, start)
    chances = task.lookahead.position_chances(given_answer)
    for position in task.decisive_positions:
        assert chances[position] == pytest.approx(best_guess(paths, position, given_answer))
    if not given_answer:
        assert chances[task.decisive_positions[-1]] == task.chance


@pytest.mark.parametrize(("degree", "length"), [(2, 5), (5, 3), (3, 4)])
def test_with_one_fork_at_the_start_it_is_path_star(degree, length):
    star = PathStar(degree=degree, path_length=length)
    task = BranchingPath(degree=degree, path_length=length, forks=(0,))
    for name in ("alphabet", "chance", "decisive_positions", "prompt_length"):
        assert getattr(task, name) == getattr(star, name)
    for given_answer in (True, False):
        assert task.lookahead.position_chances(given_answer) == star.lookahead.position_chances(given_answer)
    stars = star.sample(np.random.default_rng(0), 50)
    hops = length - 1  # of an arm; the tree numbers nodes depth by depth, the star arm by arm
    labels = np.concatenate([stars.start[:, None], stars.arms.transpose(0, 2, 1).reshape(50, -1)], axis=1)
    order = stars.edge_order % hops * degree + stars.edge_order // hops
    trees = BranchingPathProblems(labels, order)
    assert np.array_equal(task.prompts(trees), star.prompts(stars))
    assert np.array_equal(task.lookahead.decisive(trees), star.lookahead.decisive(stars))
    assert np.array_equal(task.lookahead.given_away(trees), star.lookahead.given_away(stars))


def test_labels_goals_and_orders_of_edges_are_uniform():
    task = BranchingPath(degree=2, path_length=4, forks=(1,), num_nodes=6)
    trees = sample(task, 0, 30_000)
    queries = np.unique(task.answers(trees)[:, [0, -1]], axis=0, return_counts=True)[1]
    assert len(queries) == 30
    assert chisquare(queries).pvalue > 1e-3
    orders = np.unique(trees.edge_order, axis=0, return_counts=True)[1]
    assert len(orders) == 120
    assert chisquare(orders).pvalue > 1e-3


@QUICK
@given(tasks(), SEEDS)
def test_a_key_depends_on_the_goal_but_not_on_the_order_of_edges(task, seed):
    trees = sample(task, seed)
    shuffled = replace(trees, edge_order=np.random.default_rng(seed + 1).permuted(trees.edge_order, axis=1))
    assert np.array_equal(task.keys(shuffled), task.keys(trees))
    goals = np.stack(
        [task.keys(each) for each in (trees, *task.lookahead.counterfactual_prompts(trees))], axis=1
    )
    assert all(len(set(row)) == task.tree.num_leaves for row in goals.tolist())


@pytest.mark.parametrize(("length", "forks", "nodes"), [(3, (0,), 5), (4, (1,), 6), (4, (0, 1), 11)])
def test_two_problems_have_one_key_exactly_if_they_are_one_problem(length, forks, nodes):
    task = BranchingPath(degree=2, path_length=length, forks=forks, num_nodes=nodes)
    trees = sample(task, 0, 500)
    others = task.lookahead.counterfactual_prompts(trees)
    trees = trees.concatenate([trees, *others, *task.lookahead.counterfactual_prompts(others[-1])])
    parsed = [read(prompt, nodes) for prompt in task.prompts(trees).tolist()]
    asked = [(frozenset(edges), start, goal) for edges, start, goal in parsed]
    keys, families = task.keys(trees).tolist(), task.families(trees).tolist()
    assert len(set(asked)) == len(set(keys)) == len(set(zip(asked, keys, strict=True)))
    graphs = [edges for edges, _, _ in asked]
    assert len(set(graphs)) == len(set(families)) == len(set(zip(graphs, families, strict=True)))


def test_a_line_by_hand():
    task, trees = by_hand()
    assert task == BranchingPath(degree=2, path_length=4, forks=(0, 1), num_nodes=12)
    assert str(task) == "branching path T(2,4) forking at 0,1 with 12 labels"
    assert task.lines(trees) == [LINE]
    assert task.lines(trees, "reversed") == [LINE.replace("=1,5,3,9", "=9,3,5,1")]
    assert task.prompts(trees)[0, [2, -4, -1]].tolist() == [12, 14, 13]
    assert task.draw(trees, 0) == [
        "1 ┬─ 5 ┬─ 3 → 9 (goal)",
        "  │    └─ 8 → 4",
        "  └─ 7 ┬─ 6 → 0",
        "       └─ 2 → 10",
    ]
    assert task.lookahead.choices(trees, 1).tolist() == [[5, 7]]
    assert task.lookahead.choices(trees, 2).tolist() == [[3, 8]]
    assert task.decisive_positions == (1, 2)
    assert task.lookahead.position_chances() == (1, 0.5, 0.5, 1)
    assert task.lookahead.position_chances(given_answer=False) == (1, 0.5, 0.25, 1)
    assert task.chance == 0.25


def test_the_module_draws_the_line_by_hand():
    task, trees = by_hand()
    page = branching_path.__doc__
    prompt, answer = LINE.split("=")
    assert f"prompt  {prompt}=     answer  {answer.replace(',', ' ')}\n" in page
    drawn = [line[8:] for line in page.split("\n\n")[2].splitlines()]
    assert all(line.startswith(f"{row} ") for line, row in zip(drawn, task.draw(trees, 0), strict=True))


def test_a_drawing_of_chains_and_a_wide_fork():
    task = BranchingPath(degree=3, path_length=4, forks=(1,), num_nodes=31)
    trees = made([1, 2, 4, 30, 5, 7, 6, 8], [2, 30, 4, 5, 6, 7, 8])
    assert task.lines(trees) == ["1,2|2,30|2,4|2,5|30,6|4,7|5,8/1,7=1,2,4,7"]
    assert task.draw(trees, 0) == ["1 → 2 ┬─ 4 → 7 (goal)", "      ├─ 30 → 6", "      └─ 5 → 8"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ([1, 5, 3, 9], "correct"),
        ([1, 5, 8, 4], "wrong_branch"),
        ([1, 7, 6, 0], "wrong_branch"),
        ([1, 5, 8, 9], "wrong_branch_to_goal"),
        ([1, 7, 6, 9], "wrong_branch_to_goal"),
        ([1, 7, 3, 9], "broken_edge"),
        ([1, 1, 3, 9], "broken_edge"),
        ([1, 7, 8, 4], "wrong_end"),
        ([1, 5, 9, 3], "wrong_end"),
        ([7, 5, 3, 9], "wrong_start"),
        ([9, 3, 5, 1], "wrong_start"),
        ([1, 12, 3, 9], "malformed"),
        ([1, 5, 3, -1], "malformed"),
        ([14, 5, 3, 9], "malformed"),
    ],
)
def test_the_kind_of_a_hand_made_error(answer, kind):
    task, trees = by_hand()
    verdicts = task.score(trees, np.array([answer]))
    assert {name for name, number in verdicts.counts().items() if number} == {kind}
    assert verdicts.exact.tolist() == [kind == "correct"]


@pytest.mark.parametrize("forks", [(), (2, 0), (0, 0), (3,), (0, 3), (-1, 2), (10**9,)])
def test_forks_that_are_no_depths_or_that_the_prompt_decides_are_refused(forks):
    line = (
        "forks: give different depths from 0 to path_length - 3 = 2, in ascending order "
        f"(the node after a fork must not be the goal, which the prompt names), not {list(forks)}"
    )
    with pytest.raises(ValueError, match=re.escape(line)):
        BranchingPath(path_length=5, forks=forks)


def test_a_path_of_start_and_goal_alone_is_refused():
    with pytest.raises(ValueError, match="path_length\n  Input should be greater than or equal to 3"):
        BranchingPath(path_length=2, forks=(0,))


FOURTEEN = list(range(14))
TOO_LARGE = {
    "num_nodes=100000000000": "num_nodes: input should be less than or equal to 10000000, not 100000000000",
    "degree=10000": "degree: input should be less than or equal to 9999, not 10000",
    "path_length=10001": "path_length: input should be less than or equal to 10000, not 10001",
    "path_length=5001": (
        "path_length: the tree T(2,5001) forking at 0,2 has 19997 nodes, more than 10000; "
        "lower path_length or degree"
    ),
    f"forks={FOURTEEN}": ("forks: should have at most 13 items, not 14"),
}


@pytest.mark.parametrize("assignment", TOO_LARGE)
def test_a_tree_is_no_larger_than_a_star_may_be(assignment):
    with pytest.raises(UserError) as error:
        build_task("branching_path", assignments([assignment]))
    assert str(error.value) == f"task.{TOO_LARGE[assignment]}"


def test_the_bound_on_forks_keeps_no_tree_out_that_the_bound_on_nodes_lets_in():
    for count in range(2, 14):
        fields = {"path_length": count + 2, "forks": tuple(range(count)), "num_nodes": 50_000}
        nodes = 2 ** (count + 1) - 1 + 2**count
        if nodes <= 10_000:
            assert BranchingPath(**fields).tree.num_edges + 1 == nodes
        else:
            with pytest.raises(ValueError, match=f"has {nodes} nodes, more than 10000"):
                BranchingPath(**fields)


@QUICK
@given(tasks())
def test_the_labels_must_suffice(task):
    nodes = task.tree.num_edges + 1
    assert nodes == len(np.unique(task.tree.leaf_paths))
    fields = task.model_dump() | {"num_nodes": nodes - 1}
    with pytest.raises(
        ValueError, match=rf"num_nodes: .* has {nodes} nodes, more than num_nodes {nodes - 1}"
    ):
        BranchingPath(**fields)
    assert BranchingPath(**fields | {"num_nodes": nodes})
