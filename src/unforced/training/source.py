"""Where training batches come from: a finite set that lives on the device, or an endless stream.

The batch of step k is a pure function of (run, k), so resuming needs no state but the step.
"""

from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from unforced.config import Run
from unforced.data.batch import Batch
from unforced.objectives.moment import sent
from unforced.tasks.base import Problems
from unforced.tasks.sampling import Split, block, problems

_SHUFFLE = 3  # spawn keys 0-2 are the splits


@runtime_checkable
class Source(Protocol):
    """Training batches by step."""

    def batch(self, step: int, part: slice) -> Batch:
        """Return the rows `part` of step `step`'s batch, on the device."""


def encode(run: Run, chosen: Problems) -> Batch:
    """Encode problems as the run's model sees them, answers in the run's order."""
    return run.codec.encode(chosen, run.order)


def split_problems(run: Run, split: Split, count: int) -> Problems:
    """Return the first `count` problems of a split; of a finite training set, no more than it has."""
    if split == "train" and run.num_train is not None:
        count = min(count, run.num_train)
    return problems(run.task, run.seed, split, 0, count)


def build_source(run: Run, device: torch.device) -> Source:
    """Build the source that the run asks for."""
    return StreamSource(run, device) if run.stream else FiniteSource(run, device)


class FiniteSource:
    """`num_train` problems, seen again every epoch in a new order.

    Training sees the epochs' orders end to end, and a batch may straddle two of them.
    """

    def __init__(self, run: Run, device: torch.device) -> None:
        assert run.num_train is not None
        self.seed, self.count, self.batch_size = run.seed, run.num_train, run.batch_size
        self.examples = encode(run, split_problems(run, "train", run.num_train)).map(lambda t: t.to(device))
        self._order = lru_cache(maxsize=2)(self._shuffle)

    def batch(self, step: int, part: slice) -> Batch:
        """Return rows of the batch of step `step`."""
        sample = np.arange(step * self.batch_size, (step + 1) * self.batch_size)[part]
        epoch, place = np.divmod(sample, self.count)
        index = np.empty_like(sample)
        for number in np.unique(epoch):
            index[epoch == number] = self._order(int(number))[place[epoch == number]]
        return self.examples.rows(sent(torch.from_numpy(index), self.examples.prompt.device))

    def _shuffle(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(_SHUFFLE, epoch)))
        return rng.permutation(self.count)


class StreamSource:
    """An endless stream of fresh problems, generated in blocks."""

    def __init__(self, run: Run, device: torch.device) -> None:
        self.batch_size, self.device, self.block_size = run.batch_size, device, run.task.block_size
        self._block = lru_cache(maxsize=2 + run.batch_size // run.task.block_size)(
            lambda index: encode(run, block(run.task, run.seed, "train", index))
        )

    def batch(self, step: int, part: slice) -> Batch:
        """Return rows of the batch of step `step`."""
        first, last, size = step * self.batch_size, (step + 1) * self.batch_size - 1, self.block_size
        blocks = [self._block(index) for index in range(first // size, last // size + 1)]
        rows = torch.arange(first, last + 1)[part] - first // size * size
        return Batch.join(blocks).rows(rows).map(lambda tensor: sent(tensor, self.device))
