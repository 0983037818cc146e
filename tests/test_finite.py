"""Tasks whose problems are a list: streams, training sets and counts that end."""

from typing import Literal

import numpy as np
import pytest

from tests.runs import tiny_run
from unforced.errors import UserError
from unforced.evaluation.diagnosis import check_enough
from unforced.interface.problems import problems as uf_problems
from unforced.registry import TASKS
from unforced.tasks.base import Task
from unforced.tasks.path_star import PathStar
from unforced.tasks.sampling import problems, split_size
from unforced.training.source import FiniteSource, split_problems

SIZES = {"train": 50, "validation": 7, "test": 12}


class Listed(PathStar):
    """Path-star with few problems."""

    name: Literal["listed"] = "listed"

    def listed(self, split):
        return problems(PathStar(), 5, split, 0, SIZES[split])


TASK = Listed()


@pytest.fixture(autouse=True)
def _known():
    with TASKS.kept():
        yield


def run(**changes):
    return tiny_run().replace(task=TASK, stream=False, num_train=None, **changes)


def keys(some):
    return sorted(TASK.keys(some).tolist())


def test_a_stream_is_the_list_again_and_again_in_an_order_of_the_seed():
    whole = TASK.listed("train")
    passes = [problems(TASK, 3, "train", start, 50) for start in (0, 50, 4 * Task.block_size // 50 * 50)]
    assert [keys(each) for each in passes] == [keys(whole)] * 3
    orders = {tuple(TASK.keys(each).tolist()) for each in [*passes, problems(TASK, 4, "train", 0, 50)]}
    assert len(orders) == 4
    part = problems(TASK, 3, "train", Task.block_size - 3, 9)
    longer = problems(TASK, 3, "train", 0, Task.block_size + 20)
    assert np.array_equal(TASK.keys(part), TASK.keys(longer)[Task.block_size - 3 :][:9])


def test_splits_are_disjoint_and_no_more_is_measured_than_there_is():
    for split, size in SIZES.items():
        assert split_size(TASK, split) == size
        assert keys(split_problems(run(), split, 10_000)) == keys(TASK.listed(split))
    assert split_size(PathStar(), "test") is None
    check_enough(12, 0.95, TASK)
    with pytest.raises(UserError, match=r"11 held-out problems are too few .* use count=12, all there"):
        check_enough(11, 0.95, TASK)


def test_a_training_set_is_all_of_the_list_unless_it_is_said_how_much():
    import torch

    assert run().training_count == 50
    assert run(epochs=4, max_steps=None, batch_size=10).num_steps == 20
    assert len(FiniteSource(run(), torch.device("cpu")).examples) == 50
    assert run().replace(num_train=20).training_count == 20
    with pytest.raises(UserError, match=r"num_train: 51 problems, but .* has 50 in .* give 50 at the most"):
        run().replace(num_train=51)
    with pytest.raises(UserError, match="num_train: give the size"):
        tiny_run().replace(stream=False, num_train=None)


def test_problems_in_python_end_where_the_list_ends():
    assert len(uf_problems(TASK, "test")) == len(list(uf_problems(TASK, "test"))) == 12
    with pytest.raises(UserError, match=r"count: .* has 12 problems in its test split, not 13"):
        uf_problems(TASK, "test", count=13)
