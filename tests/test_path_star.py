"""Path-star: graphs, sizes, keys and verdicts, checked by hand or by another route."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from unforced.data.codec import SymbolCodec
from unforced.errors import UserError
from unforced.tasks.path_star import PathStar
from unforced.tasks.sampling import SPLITS, block

LINE = "1,7|1,4|7,9|4,2/1,9=1,7,9"
QUICK = settings(deadline=None, max_examples=40)
SEEDS = st.integers(0, 2**63)


@st.composite
def tasks(draw, min_degree=1, min_length=2):
    degree, length = draw(st.integers(min_degree, 6)), draw(st.integers(min_length, 7))
    spare = draw(st.integers(0, 20))
    return PathStar(degree=degree, path_length=length, num_nodes=degree * (length - 1) + 1 + spare)


def sample(task, seed, count=20):
    return task.sample(np.random.default_rng(seed), count)


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


@QUICK
@given(tasks(), SEEDS)
def test_prompts_are_stars_and_answers_their_only_path_to_the_goal(task, seed):
    stars = sample(task, seed)
    for prompt, answer in zip(task.prompts(stars).tolist(), task.answers(stars).tolist(), strict=True):
        edges, start, goal = read(prompt, task.num_nodes)
        nodes = set(itertools.chain(*edges))
        assert len(set(edges)) == len(edges) == len(nodes) - 1
        assert nodes <= set(range(task.num_nodes))
        paths = walk(edges, start)
        assert [len(path) for path in paths] == [task.path_length] * task.degree
        assert [path for path in paths if path[-1] == goal] == [answer]


@QUICK
@given(tasks(), SEEDS)
def test_a_prompt_has_three_symbols_an_edge_and_three_more(task, seed):
    expected = 3 * task.degree * (task.path_length - 1) + 3
    assert task.prompts(sample(task, seed)).shape == (20, expected)
    assert task.prompt_length == expected


@QUICK
@given(tasks(), SEEDS)
def test_every_label_is_as_likely_at_every_place(task, seed):
    count = 4000
    stars = sample(task, seed, count)
    mean = count / task.num_nodes
    for place in (stars.start, stars.arms[:, 0, 0], stars.arms[:, -1, -1]):
        seen = np.bincount(place, minlength=task.num_nodes)
        assert (abs(seen - mean) < 7 * np.sqrt(mean) + 5).all()


def test_pairs_of_labels_and_orders_of_edges_are_uniform():
    stars = sample(PathStar(degree=2, path_length=3, num_nodes=6), 0, 30_000)
    pairs = np.unique(stars.start * 6 + stars.arms[:, 0, -1], return_counts=True)[1]
    assert len(pairs) == 30
    assert chisquare(pairs).pvalue > 1e-3
    orders = np.unique(stars.edge_order, axis=0, return_counts=True)[1]
    assert len(orders) == 24
    assert chisquare(orders).pvalue > 1e-3


def test_where_an_edge_stands_does_not_tell_the_goals_arm():
    task = PathStar(degree=3, path_length=3, num_nodes=9)
    stars = sample(task, 0, 12_000)
    first_hop = np.stack([stars.start, stars.arms[:, 0, 0]], axis=1)
    place = (stars.edges == first_hop[:, None]).all(axis=2).argmax(axis=1)
    assert chisquare(np.bincount(place, minlength=6)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("degree", "length", "nodes", "prompt", "total"),
    [
        (2, 5, 9, 27, 32),
        (2, 10, 19, 57, 67),
        (2, 20, 39, 117, 137),
        (5, 5, 21, 63, 68),
        (10, 5, 41, 123, 128),
        (20, 5, 81, 243, 248),
    ],
)
def test_sizes_of_the_papers_graphs(degree, length, nodes, prompt, total):
    task = PathStar(degree=degree, path_length=length, num_nodes=100)
    stars = sample(task, 0, 3)
    assert task.graph_nodes == nodes == len(np.unique(stars.edges[0]))
    assert task.prompts(stars).shape[1] == prompt
    assert task.prompts(stars).shape[1] + task.answers(stars).shape[1] == total
    assert task.chance == 1 / degree
    assert PathStar(degree=degree, path_length=length, num_nodes=nodes)
    with pytest.raises(ValueError, match=f"{nodes} nodes, more than num_nodes {nodes - 1}"):
        PathStar(degree=degree, path_length=length, num_nodes=nodes - 1)


@QUICK
@given(tasks(min_degree=2), SEEDS, st.randoms(use_true_random=False))
def test_a_key_does_not_depend_on_the_order_of_edges_or_of_arms(task, seed, random):
    stars = sample(task, seed)
    edges = replace(stars, edge_order=np.random.default_rng(seed + 1).permuted(stars.edge_order, axis=1))
    arms = replace(stars, arms=stars.arms[:, [0, *random.sample(range(1, task.degree), task.degree - 1)]])
    assert np.array_equal(task.keys(edges), task.keys(stars))
    assert np.array_equal(task.keys(arms), task.keys(stars))


@QUICK
@given(tasks(min_degree=2), SEEDS)
def test_a_key_depends_on_the_goal(task, seed):
    stars = sample(task, seed)
    goals = [task.keys(replace(stars, arms=np.roll(stars.arms, arm, axis=1))) for arm in range(task.degree)]
    assert all(len(set(keys)) == task.degree for keys in np.stack(goals, axis=1).tolist())


@QUICK
@given(tasks(min_degree=2), SEEDS)
def test_a_family_is_a_graph_whatever_its_goal(task, seed):
    stars = sample(task, seed)
    rolled = [replace(stars, arms=np.roll(stars.arms, arm, axis=1)) for arm in range(task.degree)]
    assert all(np.array_equal(task.families(other), task.families(stars)) for other in rolled)
    turned = replace(stars, arms=stars.arms[:, :, ::-1])
    assert task.path_length == 2 or (task.families(turned) != task.families(stars)).all()


@pytest.mark.parametrize(("degree", "length", "nodes"), [(1, 3, 4), (2, 2, 4), (2, 3, 5), (3, 2, 4)])
def test_two_problems_have_one_key_exactly_if_they_are_one_problem(degree, length, nodes):
    task = PathStar(degree=degree, path_length=length, num_nodes=nodes)
    stars = sample(task, 0, 2000)
    parsed = [read(prompt, nodes) for prompt in task.prompts(stars).tolist()]
    asked = [(frozenset(edges), start, goal) for edges, start, goal in parsed]
    keys = task.keys(stars).tolist()
    assert len(set(asked)) == len(set(keys)) == len(set(zip(asked, keys, strict=True)))


@pytest.mark.parametrize(("degree", "nodes", "size"), [(2, 4, 24), (2, 5, 60), (3, 5, 60)])
def test_splits_of_a_tiny_space_share_nothing_and_miss_nothing(degree, nodes, size):
    task = PathStar(degree=degree, path_length=2, num_nodes=nodes)
    owned = [set(task.keys(block(task, 0, split, 0)).tolist()) for split in SPLITS]
    assert all(owned)
    assert sum(map(len, owned)) == len(set.union(*owned)) == size


def test_a_split_that_owns_nothing_is_one_line():
    task = PathStar(degree=1, path_length=2, num_nodes=2)  # two problems for three splits
    lines = []
    for split in SPLITS:
        try:
            block(task, 0, split, 0)
        except UserError as error:
            lines.append((split, str(error)))
    assert lines
    for split, line in lines:
        few = "task: path-star G(1,2) with 2 labels has too few problems"
        assert line == f"{few}: none of them falls to the {split} split"


def test_the_papers_line_in_tokens():
    task, stars = PathStar.read_lines([LINE], "line", known={"num_nodes": 10})
    assert task == PathStar(degree=2, path_length=3, num_nodes=10)
    codec = SymbolCodec.of(task)
    bar, equals, slash, mask_token = 10, 11, 12, 13
    tokens = [1, 7, bar, 1, 4, bar, 7, 9, bar, 4, 2, slash, 1, 9, equals]
    assert codec.ids(task.prompts(stars)).tolist() == [tokens]
    assert codec.ids(task.answers(stars)).tolist() == [[1, 7, 9]]
    assert codec.mask_token == mask_token
    assert task.lines(stars) == [LINE]
    assert task.lines(stars, "reversed") == ["1,7|1,4|7,9|4,2/1,9=9,7,1"]
    assert task.draw(stars, 0) == ["1 → 7 → 9  (goal)", "1 → 4 → 2"]


def test_separators_come_after_the_labels_whatever_labels_a_line_uses():
    task, stars = PathStar.read_lines([LINE], "line", known={"num_nodes": 50})
    assert task.prompts(stars)[0, [2, -4, -1]].tolist() == [50, 52, 51]
    assert SymbolCodec.of(task).mask_token == 53


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ([1, 7, 9], "correct"),
        ([1, 4, 2], "wrong_arm"),
        ([1, 4, 9], "wrong_arm_to_goal"),
        ([1, 1, 9], "broken_edge"),
        ([1, 7, 2], "wrong_end"),
        ([1, 9, 7], "wrong_end"),
        ([1, 4, 8], "wrong_end"),
        ([4, 7, 9], "wrong_start"),
        ([9, 7, 1], "wrong_start"),
        ([1, 10, 9], "malformed"),
        ([1, 7, -1], "malformed"),
        ([12, 7, 9], "malformed"),
    ],
)
def test_the_kind_of_a_hand_made_error(answer, kind):
    task, stars = PathStar.read_lines([LINE], "line", known={"num_nodes": 10})
    verdicts = task.score(stars, np.array([answer]))
    assert {name for name, number in verdicts.counts().items() if number} == {kind}
    assert verdicts.exact.tolist() == [kind == "correct"]


def children(edges, parent):
    return [child for node, child in edges if node == parent]


@QUICK
@given(tasks(), SEEDS)
def test_the_first_hop_is_decisive_where_it_is_neither_forced_nor_the_goal(task, seed):
    stars = sample(task, seed, 3)
    decisive, given_away = task.lookahead.decisive(stars), task.lookahead.given_away(stars)
    for index, answer in enumerate(task.answers(stars).tolist()):
        edges, start, goal = read(task.prompts(stars)[index].tolist(), task.num_nodes)
        assert not decisive[index, 0]
        assert not given_away[index, 0]
        for position in range(1, task.path_length):
            ways = children(edges, answer[position - 1])
            assert given_away[index, position] == (len(ways) == 1)
            assert decisive[index, position] == (len(ways) > 1 and answer[position] not in (start, goal))
    assert task.decisive_positions == tuple(np.flatnonzero(decisive[0]))


@QUICK
@given(tasks(), SEEDS, st.booleans())
def test_chances_are_one_arm_in_d_where_the_first_hop_is_decisive(task, seed, given_answer):
    edges, start, _ = read(task.prompts(sample(task, seed, 1))[0].tolist(), task.num_nodes)
    expected = [1.0] * task.path_length
    for position in task.decisive_positions:
        expected[position] = 1 / len(children(edges, start))
    assert task.lookahead.position_chances(given_answer) == tuple(expected)
    assert task.chance == min(expected)


@QUICK
@given(tasks(), SEEDS)
def test_decoys_are_the_other_paths_where_a_decision_can_go_wrong(task, seed):
    stars = sample(task, seed, 3)
    decoys = task.lookahead.decoys(stars).tolist()
    for index, answer in enumerate(task.answers(stars).tolist()):
        edges, start, _ = read(task.prompts(stars)[index].tolist(), task.num_nodes)
        others = [path for path in walk(edges, start) if path != answer]
        assert sorted(decoys[index]) == sorted(others if task.decisive_positions else [])
        assert set(task.lookahead.choices(stars, 1)[index].tolist()) == set(children(edges, start))


@QUICK
@given(tasks(), SEEDS)
def test_other_questions_ask_for_the_other_leaves_of_the_same_edges(task, seed):
    stars = sample(task, seed, 3)
    others = task.lookahead.counterfactual_prompts(stars)
    for index in range(3):
        edges, start, goal = read(task.prompts(stars)[index].tolist(), task.num_nodes)
        asked = {goal: task.answers(stars)[index].tolist()}
        for other in others:
            other_edges, _, other_goal = read(task.prompts(other)[index].tolist(), task.num_nodes)
            assert other_edges == edges
            asked[other_goal] = task.answers(other)[index].tolist()
        assert asked == {path[-1]: path for path in walk(edges, start)}


def test_a_path_of_start_and_goal_alone_needs_no_lookahead():
    task, stars = PathStar.read_lines(["1,4|1,9|1,2/1,9=1,9"], "line")
    assert task == PathStar(degree=3, path_length=2, num_nodes=10)
    assert task.decisive_positions == ()
    assert task.chance == 1
    assert task.lookahead.position_chances() == task.lookahead.position_chances(given_answer=False) == (1, 1)
    assert task.lookahead.decoys(stars).shape == (1, 0, 2)
    assert (
        task.lookahead.decisive(stars).tolist()
        == task.lookahead.given_away(stars).tolist()
        == [[False, False]]
    )
    assert task.score(stars, np.array([[1, 4]])).counts()["wrong_arm"] == 1


def test_with_a_single_arm_every_node_follows_from_the_one_before():
    task, stars = PathStar.read_lines(["1,4|4,2/1,2=1,4,2"], "line")
    assert task.decisive_positions == ()
    assert task.chance == 1
    assert task.lookahead.given_away(stars).tolist() == [[False, True, True]]
    assert task.lookahead.counterfactual_prompts(stars) == []


@QUICK
@given(tasks(min_degree=2), SEEDS)
def test_another_arm_is_called_so(task, seed):
    stars = sample(task, seed)
    assert task.score(stars, stars.paths[:, 1].astype(np.int64)).counts()["wrong_arm"] == 20


def test_a_draw_of_many_labels_is_bounded_in_memory_and_distinct():
    task = PathStar(degree=2, path_length=3, num_nodes=3_000_000)
    drawn = task.sample(np.random.default_rng(0), 40)
    assert all(len(set(row)) == 3 for row in drawn.paths[:, 0].tolist())
    assert len(np.unique(drawn.paths)) > 150
    assert drawn.paths.max() > 2_500_000
    assert len(task.sample(np.random.default_rng(0), 0)) == 0
