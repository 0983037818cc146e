"""Open-ended tasks: what is coherent, what is the same answer, and how a set of answers is scored."""

import networkx as nx
import numpy as np
import pytest
from pydantic import ValidationError

from tests.runs import tiny_run
from unforced.errors import UserError
from unforced.evaluation.creativity import Creativity, forms_of, trained_forms
from unforced.tasks.open_ended.circle import Circle
from unforced.tasks.open_ended.line import Line
from unforced.tasks.open_ended.sibling import Sibling
from unforced.tasks.open_ended.triangle import Triangle
from unforced.tasks.sampling import problems
from unforced.training.source import split_problems


def read(task, *lines):
    return task.text.read_answers(lines)


def verdicts(task, *lines):
    answers = read(task, *lines)
    found = task.score(problems(task, 0, "test", 0, len(answers)), answers)
    return [found.kinds[kind] for kind in found.kind]


@pytest.mark.parametrize(
    ("task", "closes"), [(Circle(num_edges=5, num_labels=6), True), (Line(num_edges=4), False)]
)
def test_chains_are_what_a_graph_library_says(task, closes):
    some = problems(task, 0, "train", 0, 300)
    answers = task.answers(some)
    rng = np.random.default_rng(0)
    place = rng.integers(task.num_edges, size=300) * 3 + rng.integers(2, size=300)
    answers[np.arange(300), place] = rng.integers(task.num_labels, size=300)  # many are right still, or again
    exact = task.score(some, answers).exact
    assert 20 < exact.sum() < 200
    for right, answer in zip(exact, answers.tolist(), strict=True):
        graph = nx.Graph(list(zip(answer[0::3], answer[1::3], strict=True)))
        whole = graph.number_of_edges() == task.num_edges and nx.is_connected(graph)
        degrees = sorted(degree for _, degree in graph.degree)
        shape = [2] * len(graph) if closes else [1, 1] + [2] * (len(graph) - 2)
        assert right == (whole and degrees == shape)


def test_what_is_wrong_with_a_chain_is_named():
    assert verdicts(
        Line(num_edges=3, num_labels=5),
        "n0 n1 , n1 n2 , n3 n2",
        "n0 n1 , n1 n0 , n1 n2",
        "n0 n1 , n1 n2 , n1 n3",
        "n0 n1 , n1 n0 n1 n2",
        "n0 n1 , n1 n2 , n2 n0",
    ) == ["correct", "repeated_edge", "branching", "malformed", "closed"]
    pieces = "n0 n1 , n1 n2 , n2 n0 , n3 n4 , n4 n5 , n5 n3"
    assert verdicts(
        Circle(num_edges=6), pieces, pieces.replace("n2 n0", "n2 n3").replace("n5 n3", "n5 n0")
    ) == [
        "in_pieces",
        "correct",
    ]


def test_chains_that_differ_in_labels_alone_are_the_same():
    task = Line(num_edges=3, num_labels=6)
    forms = task.canonical(
        read(task, "n4 n1 , n0 n1 , n0 n3", "n0 n5 , n2 n5 , n2 n1", "n4 n1 , n1 n0 , n0 n3")
    )
    assert forms.tolist() == [[0, 1, 2, 1, 2, 3], [0, 1, 2, 1, 2, 3], [0, 1, 1, 2, 2, 3]]


@pytest.mark.parametrize("family", [Circle, Line])
def test_without_directions_there_are_as_many_forms_as_orders_of_edges(family):
    """Of a line of four edges, and of a circle of five: 4! orders, each the same as another turned round."""
    size = {"num_edges": 5, "num_labels": 5} if family is Circle else {"num_edges": 4, "num_labels": 5}
    task = family(directions="ignored", **size)
    answers = task.answers(problems(task, 0, "train", 0, 2000))
    forms = task.of_a_set.canonical(answers)
    assert len(np.unique(forms)) == 12
    assert len(np.unique(family(**size).of_a_set.canonical(answers))) == 24
    turned = answers.copy()
    edge = np.random.default_rng(0).integers(task.num_edges, size=2000)
    rows = np.arange(2000)
    turned[rows, 3 * edge], turned[rows, 3 * edge + 1] = answers[rows, 3 * edge + 1], answers[rows, 3 * edge]
    assert np.array_equal(task.of_a_set.canonical(turned), forms)


def test_siblings_are_of_one_parent_whose_children_are_drawn_from_the_material():
    task = Sibling(parents=3, children=4)
    left, right = (
        [f"{side}{symbol - 3 - 12 * i}" for symbol in pool[1]]
        for i, (side, pool) in enumerate(zip("bc", task.pools, strict=True))
    )
    stranger = f"c{task.pools[1][2][0] - 15}"
    assert verdicts(
        task,
        f"{left[0]} {right[3]} a1",
        f"{left[0]} {right[3]} a2",
        f"{left[0]} {stranger} a1",
        f"{right[3]} {left[0]} a1",
        f"{left[0]} {left[1]} a1",
    ) == ["correct", "wrong_parent", "not_siblings", "malformed", "malformed"]
    assert sorted(task.pools.ravel()) == list(range(3, 27))
    assert not np.array_equal(Sibling(parents=3, children=4, material_seed=1).pools, task.pools)


def test_triangles_are_those_of_the_graph_however_they_are_written():
    task = Triangle(num_nodes=60, seed_length=4)
    graph = nx.Graph(task.graph.edges.tolist())
    assert len(graph) == 60
    assert min(degree for _, degree in graph.degree) >= 3
    assert len(task.graph.triangles) == 6 * sum(nx.triangles(graph).values()) / 3
    assert sum(nx.triangles(graph).values()) >= 6 * 60 / 3
    some = problems(task, 0, "test", 0, 50)
    assert task.asked(some).all()
    for a, b, c in task.graph.triangles[:50].tolist():
        assert graph.has_edge(a, b)
        assert graph.has_edge(b, c)
        assert graph.has_edge(c, a)
    a, b, c = task.graph.triangles[0].tolist()
    far = next(node for node in graph if node != a and not graph.has_edge(a, node))
    lines = [
        f"n{a} n{b} , n{b} n{c} , n{c} n{a}",
        f"n{a} n{c} , n{b} n{a} , n{c} n{b}",
        f"n{a} n{b} , n{b} n{a} , n{c} n{a}",
    ]
    lines += [f"n{a} n{far} , n{far} n{c} , n{c} n{a}", f"n{a} n{b} , n{b} n{a}"]
    assert verdicts(task, *lines) == ["correct", "correct", "open", "no_edge", "malformed"]
    forms = task.canonical(read(task, *lines[:2]))
    assert forms.tolist() == [sorted((a, b, c))] * 2


def test_edges_of_the_graph_are_trained_on_and_not_asked_for_elsewhere():
    task = Triangle(num_nodes=60)
    some = problems(task, 0, "train", 0, 2000)
    edge = ~task.asked(some)
    share = task.splits["train"]
    assert edge.mean() == pytest.approx((2 / 3) / share, abs=0.04)
    lines = task.lines(some)
    assert all(line.startswith("edge:") == is_edge for line, is_edge in zip(lines, edge, strict=True))
    turned = task.answers(some)
    turned[edge, 0] = turned[edge, 4] = (turned[edge, 1] + 1) % 60
    kinds = task.score(some, turned)
    assert set(kinds.kind[edge & ~kinds.exact].tolist()) <= {
        kinds.kinds.index("open"),
        kinds.kinds.index("no_edge"),
    }


def test_a_set_is_scored_on_canonical_forms():
    task = Line(num_edges=2, num_labels=4)
    answers = read(
        task,
        "n0 n1 , n1 n2",  # creative
        "n3 n2 , n2 n0",  # the same, in other labels
        "n1 n0 , n2 n0",  # in the training set, in other labels
        "n1 n0 , n0 n2",  # again the first
        "n0 n1 , n0 n2",  # creative
        "n0 n1 , n2 n3",  # incoherent
    )
    coherent = task.score(problems(task, 0, "test", 0, 6), answers).exact
    known = forms_of(task, read(task, "n2 n3 , n1 n3"))
    found = Creativity.of(task.of_a_set, answers, coherent, known)
    assert found.kinds == {"creative": 2, "repeated": 2, "memorised": 1, "incoherent": 1}
    assert {name: (each["correct"], each["total"]) for name, each in found.counts.items()} == {
        "creative": (2, 6),
        "coherent": (5, 6),
        "original": (4, 5),
        "unique": (3, 5),
    }


@pytest.mark.parametrize("task", [Sibling(), Triangle(), Circle(), Line()], ids=lambda task: task.name)
def test_of_no_coherent_answer_nothing_is_original(task):
    answers = np.zeros((3, task.answer_length), dtype=np.int64)
    found = Creativity.of(task.of_a_set, answers, np.zeros(3, dtype=bool), forms_of(task, answers[:0]))
    assert found.counts == {"creative": {"correct": 0, "total": 3}, "coherent": {"correct": 0, "total": 3}}


def test_what_was_trained_on_is_the_training_set_or_what_a_stream_gave():
    run = tiny_run("task=line", "task.num_edges=3", "task.num_labels=5", "num_train=70")
    own = forms_of(run.task, run.task.answers(split_problems(run, "train", 70)))
    assert np.array_equal(trained_forms(run), own)
    stream = run.replace(stream=True, num_train=None, max_steps=2, batch_size=35)
    assert np.array_equal(trained_forms(stream), own)


@pytest.mark.parametrize(
    "task", [Sibling(), Triangle(), Circle(), Line(seed_length=0)], ids=lambda task: task.name
)
def test_a_prompt_is_read_or_refused_in_a_line(task):
    prompts = task.text.prompts(problems(task, 0, "train", 0, 30))
    assert task.text.prompts(task.read_prompts(prompts)) == prompts
    for wrong in ("A" * task.seed_length + "!:", "ab:", "edges:"):
        with pytest.raises(UserError, match=f"is not a prompt of {task.name}"):
            task.read_prompts([wrong])


@pytest.mark.parametrize(
    ("family", "fields", "line"),
    [
        (Line, {"num_edges": 9, "num_labels": 9}, "use num_labels=10 or more"),
        (Sibling, {"parents": 10_000, "children": 100}, "more than 1,000,000"),
        (Triangle, {"num_nodes": 4, "degree": 4}, "give at most 3"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(family, fields, line):
    with pytest.raises(ValidationError, match=line):
        family(**fields)
