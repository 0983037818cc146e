"""Problems as a dataset of PyTorch, for training loops of one's own.

from torch.utils.data import DataLoader
from unforced.data import ProblemDataset

dataset = ProblemDataset(PathStar(degree=2, path_length=5), split="train", seed=0)
loader = DataLoader(dataset, batch_size=64, num_workers=2, collate_fn=list)

torchdata's StatefulDataLoader in place of DataLoader saves how far each worker has come, and goes on there.
"""

import copy
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from unforced.data.files import columns_of
from unforced.errors import UserError
from unforced.tasks.base import Order
from unforced.tasks.given import GivenTask, check_part, given_task
from unforced.tasks.sampling import Split, block


@dataclass(frozen=True)
class Shard:
    """One of several processes that read a stream together: rank of world_size, from 0."""

    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        whole = isinstance(self.rank, int) and isinstance(self.world_size, int)
        if not whole or not 0 <= self.rank < self.world_size:
            raise UserError(
                f"shard: there is no rank {self.rank!r} of {self.world_size!r}; ranks are whole numbers from "
                "0 up to world_size - 1"
            )


class ProblemDataset(IterableDataset[dict[str, Any]]):
    """Streams the problems of a split, each to one worker of one rank.

    A problem is a dictionary: `index` in the split's stream; `prompt` and `answer`, texts; `prompt_symbols`
    and `answer_symbols`, integer tensors without padding; and, where it is known what needs lookahead,
    `decisive` and `given_away`, boolean tensors that mark symbols of the answer. They are those that
    `unforced data export` writes, and that runs of the same task and seed train on (with one goal per graph).

    Problem i of the stream goes to shard (i - start) mod (world_size x workers), where the shard of worker w
    of rank r is r x workers + w. So training goes on with `start` at the number of problems that all ranks
    together have seen, if that is a whole number of rounds (batch_size x workers x world_size). An iterator
    goes on without such counting: it has `state_dict` and `load_state_dict`.

    task: a task, its name, or its fields with the name. start: the index of the first problem. count: how
    many (None: there is no end; a split that is a list comes again and again, in another order each time).
    order: in which answers are written. shard: of several processes (None: as torch.distributed says here).
    Raises UserError.
    """

    def __init__(
        self,
        task: GivenTask,
        split: Split = "train",
        seed: int = 0,
        *,
        start: int = 0,
        count: int | None = None,
        order: Order = "forward",
        shard: Shard | None = None,
    ) -> None:
        built = given_task(task)
        check_part(built, split, seed, order, count, start)
        if shard is not None and not isinstance(shard, Shard):
            raise UserError(f"shard: give Shard(rank, world_size), not {shard!r}")
        self.task, self.split, self.seed, self.order = built, split, seed, order
        self.start, self.count = start, count
        self.shard = _this_process() if shard is None else shard

    def from_index(self, start: int) -> "ProblemDataset":
        """Return the same stream from another index on, up to the same end. Raises UserError beyond it."""
        end = math.inf if self.count is None else self.start + self.count
        if not isinstance(start, int) or not 0 <= start <= end:
            last = "" if self.count is None else f" to {end}, where the stream ends"
            raise UserError(f"start: give a whole number from 0 up{last}, not {start!r}")
        rest = copy.copy(self)
        rest.start, rest.count = start, None if self.count is None else int(end) - start
        return rest

    def __iter__(self) -> "ProblemIterator":
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        rank, world_size = self.shard.rank, self.shard.world_size
        return ProblemIterator(self, Shard(rank * workers + number, world_size * workers))

    def problems_of(self, shard: Shard, seen: int) -> Iterator[dict[str, Any]]:
        """Yield the problems of one of several readers, from its `seen`-th on, counted from 0."""
        step = shard.world_size
        first = self.start + shard.rank + seen * step
        last = None if self.count is None else self.start + self.count
        size = self.task.block_size
        for index in itertools.count(first // size):
            if last is not None and index * size >= last:
                return
            begin = index * size + (first - index * size) % step if first < index * size else first
            places = np.arange(
                begin, (index + 1) * size if last is None else min(last, (index + 1) * size), step
            )
            if len(places):
                yield from self._problems(index, places - index * size)

    def _problems(self, index: int, places: Any) -> Iterator[dict[str, Any]]:
        """Yield the problems at these places of a block."""
        chosen = block(self.task, self.seed, self.split, index).take(places)
        table = columns_of(self.task, chosen, self.order)
        for place, *row in zip(places.tolist(), *table.values(), strict=True):
            values = (
                torch.tensor(value, dtype=torch.bool if value.dtype == bool else torch.long)
                if isinstance(value, np.ndarray)
                else value
                for value in row
            )
            yield {"index": index * self.task.block_size + place, **dict(zip(table, values, strict=True))}


class ProblemIterator:
    """The problems that one of several readers gets; its state is how many it has had.

    StatefulDataLoader saves the state of each worker's iterator, and gives it to a worker of that number.
    """

    def __init__(self, dataset: ProblemDataset, shard: Shard) -> None:
        self.dataset, self.shard, self.seen = dataset, shard, 0
        self._problems = dataset.problems_of(shard, 0)

    def __iter__(self) -> "ProblemIterator":
        return self

    def __next__(self) -> dict[str, Any]:
        problem = next(self._problems)
        self.seen += 1
        return problem

    def state_dict(self) -> dict[str, int]:
        """Return how many problems were read, and whose they are."""
        return {"seen": self.seen, "rank": self.shard.rank, "world_size": self.shard.world_size}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where another iterator was. Raises UserError if it read for another of the readers."""
        saved = Shard(state["rank"], state["world_size"])
        if saved != self.shard:
            raise UserError(
                f"the saved state is of reader {saved.rank} of {saved.world_size} (ranks times workers), and "
                f"this is reader {self.shard.rank} of {self.shard.world_size}; go on with as many ranks and "
                "workers, or from an index, with `from_index`"
            )
        self.seen = state["seen"]
        self._problems = self.dataset.problems_of(self.shard, self.seen)


def _this_process() -> Shard:
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return Shard(distributed.get_rank(), distributed.get_world_size())
    return Shard()
