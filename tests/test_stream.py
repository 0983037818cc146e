"""Problems as a dataset of PyTorch: each problem once, whoever reads, and the same from any index on."""

import itertools

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import unforced as uf
from tests.runs import unchecked
from unforced.data import ProblemDataset
from unforced.data.files import read_problems
from unforced.data.stream import Shard
from unforced.errors import UserError
from unforced.tasks.crossing_lines import CrossingLines
from unforced.tasks.path_star import PathStar
from unforced.tasks.sampling import problems

STAR = PathStar(degree=2, path_length=3, num_nodes=30)
SIZE = STAR.block_size


def indices(dataset):
    return [item["index"] for item in dataset]


def test_its_problems_are_those_of_the_split():
    found = list(ProblemDataset(STAR, "test", seed=4, start=SIZE - 3, count=6))
    wanted = problems(STAR, 4, "test", SIZE - 3, 6)
    assert [item["index"] for item in found] == list(range(SIZE - 3, SIZE + 3))
    assert np.array_equal([item["answer_symbols"].tolist() for item in found], STAR.answers(wanted))
    assert [item["prompt"] + item["answer"] for item in found] == STAR.lines(wanted)
    for name in ("decisive", "given_away"):
        marks = getattr(STAR.lookahead, name)(wanted)
        assert np.array_equal(torch.stack([item[name] for item in found]).numpy(), marks)


def test_answers_of_several_lengths_have_marks_for_their_symbols_alone():
    for item in ProblemDataset(CrossingLines(), count=20):
        assert item["answer_symbols"].min() >= 0
        assert len(item["decisive"]) == len(item["answer_symbols"])
    assert "decisive" not in next(iter(ProblemDataset(STAR, order="reversed")))


@pytest.mark.parametrize(("start", "count"), [(0, 25), (SIZE - 7, 30), (3, 4)])
def test_every_problem_goes_to_one_rank(start, count):
    shards = [ProblemDataset(STAR, start=start, count=count, shard=Shard(rank, 3)) for rank in range(3)]
    seen = [indices(shard) for shard in shards]
    assert sorted(index for shard in seen for index in shard) == list(range(start, start + count))
    assert max(map(len, seen)) - min(map(len, seen)) <= 1


def test_every_problem_goes_to_one_worker_of_one_rank():
    seen = []
    for rank in range(2):
        dataset = ProblemDataset(STAR, count=30, shard=Shard(rank, 2))
        seen += indices(
            item for part in DataLoader(dataset, 4, num_workers=2, collate_fn=list) for item in part
        )
    assert sorted(seen) == list(range(30))


def test_a_stream_goes_on_at_an_index():
    dataset = ProblemDataset(STAR, count=40)
    first = [item["index"] for item, _ in zip(dataset, range(12), strict=False)]
    assert first + indices(dataset.from_index(12)) == list(range(40))
    endless = iter(ProblemDataset(STAR, start=2 * SIZE - 1))
    assert [next(endless)["index"] for _ in range(3)] == [2 * SIZE - 1, 2 * SIZE, 2 * SIZE + 1]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_that_saves_its_state_goes_on_with_the_next_batch(workers):
    def loader():
        return StatefulDataLoader(ProblemDataset(STAR, count=41), 4, num_workers=workers, collate_fn=indices)

    whole, stopped, again = list(loader()), loader(), loader()
    first = list(itertools.islice(stopped, 3))
    again.load_state_dict(stopped.state_dict())
    assert first + list(again) == whole
    reader, other = (iter(ProblemDataset(STAR, shard=Shard(1, 2))) for _ in range(2))
    list(itertools.islice(reader, 3))
    other.load_state_dict(reader.state_dict())
    assert next(other)["index"] == next(reader)["index"] == 7
    assert sorted(index for part in whole for index in part) == list(range(41))


def test_a_state_of_another_reader_is_one_line():
    saved = iter(ProblemDataset(STAR, shard=Shard(1, 2))).state_dict()
    with pytest.raises(UserError, match="go on with as many ranks and workers"):
        iter(ProblemDataset(STAR)).load_state_dict(saved)


def test_problems_of_one_length_are_collated_by_default():
    batch = next(iter(DataLoader(ProblemDataset(STAR), batch_size=8)))
    assert batch["answer_symbols"].shape == (8, 3)
    assert len(batch["prompt"]) == 8


WRONG = {
    "unknown split 'tests'; did you mean 'test'": {"split": "tests"},
    "start: give a whole number from 0 up, not -1": {"start": -1},
    "count: give a whole number from 1 up, not 2.5": {"count": 2.5},
    "seed: give a whole number from 0 up, not -1": {"seed": -1},
    "unknown order 'backwards'; did you mean 'forward'": {"order": "backwards"},
    "shard: give Shard\\(rank, world_size\\), not \\(0, 2\\)": {"shard": (0, 2)},
    "unknown task 'path_sta'; did you mean 'path_star'": {"task": "path_sta"},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_a_stream_cannot_be_is_one_line(message):
    with unchecked(), pytest.raises(UserError, match=message):
        ProblemDataset(**{"task": STAR, **WRONG[message]})


def test_there_is_no_shard_beyond_the_last_and_no_index_beyond_the_end():
    with pytest.raises(UserError, match="shard: there is no rank 3 of 2"):
        Shard(3, 2)
    stream = ProblemDataset({"name": "path_star", "degree": 2, "path_length": 3, "num_nodes": 30}, count=5)
    assert indices(stream.from_index(3)) == indices(ProblemDataset(STAR, start=3, count=2)) == [3, 4]
    assert indices(stream.from_index(5)) == []
    with pytest.raises(UserError, match="start: give a whole number from 0 up to 5, where the stream ends"):
        stream.from_index(6)


def test_a_split_that_is_a_list_has_no_more_problems_than_it_lists(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text("".join(f'{{"prompt": "{i}", "answer": "{i}"}}\n' for i in range(100, 200)))
    own = {"name": "own_data", "path": str(path)}
    size = len(list(uf.problems(own, split="test")))
    assert len({item["prompt"] for item in ProblemDataset(own, "test", count=size)}) == size
    message = f"has {size} problems in its test split, not {size}"
    for stream in (ProblemDataset, uf.problems):
        with pytest.raises(UserError, match=f"has {size} problems in its test split, not {size + 1}"):
            stream(own, split="test", count=size + 1)
    with pytest.raises(UserError, match=f"{message} from start=1 on"):
        ProblemDataset(own, "test", start=1, count=size)
    with pytest.raises(UserError, match="this part of a stream has none"):
        uf.problems(own, split="test")[size:].to_dataset()


def test_a_dataset_holds_what_a_stream_and_a_file_do(tmp_path):
    stream = uf.problems(STAR, split="test", seed=4, count=30)[5:]
    rows = stream.to_dataset()
    items = list(ProblemDataset(STAR, "test", seed=4, start=5, count=25))
    wanted = [
        {key: value.tolist() if isinstance(value, torch.Tensor) else value for key, value in item.items()}
        for item in items
    ]
    assert list(rows) == wanted
    rows.to_parquet(tmp_path / "some.parquet")
    _, found, order = read_problems(tmp_path / "some.parquet", PathStar)
    assert (STAR.lines(found), order) == (STAR.lines(stream.arrays()), "forward")
    with pytest.raises(UserError, match="this stream has no end; give count="):
        uf.problems(STAR).to_dataset()
