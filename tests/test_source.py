"""Training batches: what an epoch holds, in which order, and that a step alone decides its batch."""

import numpy as np
import pytest
import torch

from tests.runs import tiny_run
from unforced.errors import UserError
from unforced.tasks.base import Task
from unforced.tasks.sampling import problems
from unforced.training.source import FiniteSource, StreamSource, build_source, encode, split_problems

CPU = torch.device("cpu")
WHOLE = slice(None)
RUNS = {
    "finite": ["num_train=10", "batch_size=4"],
    "finite, batch over several epochs": ["num_train=10", "batch_size=25"],
    "stream": ["stream=true", "batch_size=7"],
    "stream, batch over several blocks": ["stream=true", f"batch_size={Task.block_size + 1000}"],
    "finite, two goals of a graph": ["num_train=10", "batch_size=6", "goals_per_graph=2"],
    "stream, two goals of a graph": ["stream=true", "batch_size=6", "goals_per_graph=2"],
}
every_source = pytest.mark.parametrize("overrides", RUNS.values(), ids=RUNS)


def rows(batch):
    """Each problem of a batch as one tuple of tokens."""
    return [tuple(row) for row in torch.cat([batch.prompt, batch.answer], dim=1).tolist()]


def seen(source, steps):
    """The problems of the steps from 0 on, end to end."""
    return [row for step in range(steps) for row in rows(source.batch(step, WHOLE))]


def finite(num_train, batch_size, *overrides):
    run = tiny_run(f"num_train={num_train}", f"batch_size={batch_size}", *overrides)
    return FiniteSource(run, CPU), rows(encode(run, split_problems(run, "train", num_train)))


def stream(*overrides):
    run = tiny_run("stream=true", *overrides)
    return StreamSource(run, CPU), run


@pytest.mark.parametrize(("num_train", "batch_size"), [(10, 4), (10, 5), (10, 25), (7, 7), (12, 1)])
def test_every_epoch_sees_every_problem_once(num_train, batch_size):
    source, training_set = finite(num_train, batch_size)
    assert len(set(training_set)) == num_train
    epochs = 5
    sequence = seen(source, -(-epochs * num_train // batch_size))
    for epoch in range(epochs):
        assert sorted(sequence[epoch * num_train : (epoch + 1) * num_train]) == sorted(training_set)


def test_a_batch_may_straddle_two_epochs():
    source, _ = finite(10, 4)
    sequence = seen(source, 5)
    straddling = rows(source.batch(2, WHOLE))
    assert len(straddling) == 4
    assert set(straddling[:2]) == set(sequence[:10]) - set(sequence[:8])
    assert set(straddling[2:]) == set(sequence[10:]) - set(sequence[12:])


def test_the_order_differs_from_epoch_to_epoch_and_from_seed_to_seed():
    source, training_set = finite(30, 30)
    orders = [rows(source.batch(epoch, WHOLE)) for epoch in range(3)]
    places = [[training_set.index(row) for row in order] for order in orders]
    other, other_set = finite(30, 30, "seed=1")
    places.append([other_set.index(row) for row in rows(other.batch(0, WHOLE))])
    assert len(set(map(tuple, [*places, range(30)]))) == 5


def test_the_training_set_grows_without_changing():
    _, small = finite(10, 4)
    _, large = finite(20, 4)
    assert large[:10] == small


def test_a_stream_is_the_stream_of_problems():
    source, run = stream("batch_size=3000", "seed=2")
    for step in (0, 1, 2, 5):  # step 1 straddles two blocks
        fresh = problems(run.task, 2, "train", 3000 * step, 3000)
        batch = source.batch(step, WHOLE)
        assert np.array_equal(batch.prompt.numpy(), run.task.prompts(fresh))
        assert np.array_equal(batch.answer.numpy(), run.task.answers(fresh))
        assert batch.mask_token == len(run.task.alphabet)


def test_a_stream_is_fresh_at_every_step():
    source, _ = stream("batch_size=1000", "task.num_nodes=100")
    sequence = seen(source, 6)
    assert len(sequence) == len(set(sequence)) == 6000


def test_a_small_training_set_begins_the_stream():
    _, training_set = finite(10, 4)
    source, _ = stream("batch_size=10")
    assert rows(source.batch(0, WHOLE)) == training_set


@pytest.mark.parametrize("kind", ["stream=false", "stream=true"])
def test_reversed_batches_hold_the_same_problems_with_the_answer_turned_round(kind):
    forward = build_source(tiny_run(kind), CPU).batch(3, WHOLE)
    backward = build_source(tiny_run(kind, "order=reversed"), CPU).batch(3, WHOLE)
    assert torch.equal(backward.prompt, forward.prompt)
    assert torch.equal(backward.answer, forward.answer.flip(1))
    assert not torch.equal(backward.answer, forward.answer)


def graphs(batch):
    """The edges and the start of each prompt, and its goal."""
    return [(tuple(row[:-2]), row[-2]) for row in batch.prompt.tolist()]


@pytest.mark.parametrize("kind", ["num_train=60", "stream=true"])
def test_goals_of_a_graph_stand_together_and_are_different(kind):
    run = tiny_run(kind, "task.degree=4", "task.num_nodes=20", "goals_per_graph=3", "batch_size=12")
    source = build_source(run, CPU)
    for step in range(7):  # of the finite set, more than an epoch
        found = graphs(source.batch(step, WHOLE))
        groups = [found[i : i + 3] for i in range(0, 12, 3)]
        assert all(len({graph for graph, _ in group}) == 1 for group in groups)
        assert all(len({goal for _, goal in group}) == 3 for group in groups)
        assert len({graph for graph, _ in found}) == 4


def test_goals_together_are_those_of_the_graphs_of_the_stream():
    usual = "stream=true", "batch_size=8", "task.num_nodes=100"
    one, several = (tiny_run(*usual, f"goals_per_graph={goals}") for goals in (1, 2))
    asked = split_problems(several, "train", 100)
    families = several.task.families(asked)
    assert np.array_equal(families[::2], families[1::2])
    first = split_problems(one, "train", 50)
    assert np.array_equal(several.task.keys(asked.take(slice(0, None, 2))), one.task.keys(first))
    whole = split_problems(several, "train", 2 * Task.block_size + 10)
    assert np.array_equal(several.task.keys(whole)[:100], several.task.keys(asked))
    assert len(np.unique(several.task.keys(whole))) == len(whole)


def test_all_goals_of_a_graph_are_as_likely_to_be_asked_together():
    run = tiny_run("stream=true", "task.degree=5", "task.num_nodes=20", "goals_per_graph=2")
    arms = split_problems(run, "train", 8000).arms[:, :, -1]
    place = (arms[::2] == arms[1::2, :1]).argmax(axis=1)
    assert np.bincount(place, minlength=5) / 4000 == pytest.approx([0, 0.25, 0.25, 0.25, 0.25], abs=0.03)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["goals_per_graph=3"], r"G\(2,3\) with 12 labels asks at most 2 q.*, not 3; give at most 2$"),
        (["goals_per_graph=2", "batch_size=7"], "2 does not divide batch_size 7; use batch_size=6 or .*=8"),
        (["goals_per_graph=2", "num_train=1"], "2 does not divide num_train 1; use num_train=2$"),
        (["task=countdown", "goals_per_graph=2"], "asks 1 question of each .*, not 2; give 1$"),
    ],
)
def test_goals_that_do_not_fit_are_one_line(overrides, words):
    with pytest.raises(UserError, match=f"^goals_per_graph: .*{words}"):
        tiny_run(*overrides)


@every_source
@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_parts_partition_the_batch(overrides, parts):
    source = build_source(tiny_run(*overrides), CPU)
    whole = rows(source.batch(1, WHOLE))
    interleaved = [None] * len(whole)
    for part in range(parts):
        mine = slice(part, None, parts)
        interleaved[mine] = rows(source.batch(1, mine))
    assert interleaved == whole
    assert rows(source.batch(1, slice(2, 4))) == whole[2:4]


@every_source
def test_a_batch_depends_on_the_step_alone(overrides):
    in_order, out_of_order = (build_source(tiny_run(*overrides), CPU) for _ in range(2))
    expected = {step: rows(in_order.batch(step, WHOLE)) for step in range(5)}
    assert {step: rows(out_of_order.batch(step, WHOLE)) for step in (4, 0, 3, 1, 2, 0)} == expected
    assert len(set(map(tuple, expected.values()))) == 5


@pytest.mark.parametrize("kind", ["stream=false", "stream=true"])
def test_the_seed_decides_the_problems(kind):
    batches = [rows(build_source(tiny_run(kind, f"seed={seed}"), CPU).batch(0, WHOLE)) for seed in (0, 1)]
    assert not set(batches[0]) & set(batches[1])


@pytest.mark.parametrize(("kind", "source"), [("stream=false", FiniteSource), ("stream=true", StreamSource)])
def test_the_run_says_which_source_it_wants(kind, source):
    assert isinstance(build_source(tiny_run(kind), CPU), source)


def test_a_finite_training_set_has_no_more_problems_than_it_has():
    run = tiny_run("num_train=10")
    assert len(split_problems(run, "train", 50)) == 10
    assert len(split_problems(run, "test", 50)) == 50
    assert len(split_problems(tiny_run("stream=true"), "train", 50)) == 50


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_source
def test_the_next_batch_does_not_wait_for_the_device(overrides):
    source = build_source(tiny_run(*overrides), torch.device("cuda"))
    expected = rows(build_source(tiny_run(*overrides), CPU).batch(1, WHOLE))
    torch.cuda.set_sync_debug_mode("error")
    try:
        batch = source.batch(1, WHOLE)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert rows(batch) == expected
