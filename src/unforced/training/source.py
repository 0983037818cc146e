"""Where training batches come from: a finite set that lives on the device, or an endless stream.

    goals_per_graph=1   graph 0, goal c | graph 1, goal a | graph 2, goal b | ...
    goals_per_graph=3   graph 0, goal c | graph 0, goal a | graph 0, goal b | graph 1, goal a | ...

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
from unforced.tasks.base import Problems, Task
from unforced.tasks.sampling import Split, block, draw_distinct, problems, split_size

_SHUFFLE, _GOALS = 3, 5  # spawn keys 0-2 are the splits, 4 is the noise of objectives


@runtime_checkable
class Source(Protocol):
    """Training batches by step."""

    def batch(self, step: int, part: slice) -> Batch:
        """Return the rows `part` of step `step`'s batch, on the device."""


def encode(run: Run, chosen: Problems) -> Batch:
    """Encode problems as the run's model sees them, answers in the run's order."""
    return run.codec.encode(chosen, run.order)


def split_problems(run: Run, split: Split, count: int) -> Problems:
    """Return the first `count` problems of a split, no more than it has; likewise of a finite training set.

    Those of the training split are as training sees them: `goals_per_graph` of each graph, one after the
    other.
    """
    limits = split_size(run.task, split), run.num_train if split == "train" else None
    count = min([count, *(limit for limit in limits if limit is not None)])
    if split != "train":
        return problems(run.task, run.seed, split, 0, count)
    parts = [training_block(run, index) for index in range(-(-count // block_size(run)))]
    return type(parts[0]).concatenate(parts).take(slice(count))


def block_size(run: Run) -> int:
    """Return how many training problems are made at once."""
    return run.task.block_size * run.goals_per_graph


def training_block(run: Run, index: int) -> Problems:
    """Return block `index` of the problems that a run trains on: graphs of the split's stream, with goals."""
    if run.goals_per_graph == 1:
        return block(run.task, run.seed, "train", index)
    return _asked_together(run.task, run.seed, run.goals_per_graph, index)


def _asked_together(task: Task, seed: int, goals: int, index: int) -> Problems:
    """Follow each problem of a block with `goals` - 1 others of its graph, chosen at random."""
    first = block(task, seed, "train", index)
    assert task.lookahead is not None
    others = task.lookahead.counterfactual_prompts(first)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_GOALS, index)))
    chosen = draw_distinct(rng, len(others), (len(first), goals - 1)).astype(np.int64) + 1
    question = np.pad(chosen, [(0, 0), (1, 0)])
    rows = question * len(first) + np.arange(len(first))[:, None]
    return type(first).concatenate([first, *others]).take(rows.ravel())


def build_source(run: Run, device: torch.device) -> Source:
    """Build the source that the run asks for."""
    return StreamSource(run, device) if run.stream else FiniteSource(run, device)


class FiniteSource:
    """A training set of `num_train` problems, or of all there are, seen again every epoch in a new order.

    Training sees the epochs' orders end to end, and a batch may straddle two of them. Problems of one graph
    stay together.
    """

    def __init__(self, run: Run, device: torch.device) -> None:
        count = run.training_count
        assert count is not None
        self.seed, self.count, self.batch_size = run.seed, count, run.batch_size
        self.together = run.goals_per_graph
        self.examples = encode(run, split_problems(run, "train", count)).map(lambda t: t.to(device))
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
        graphs = rng.permutation(self.count // self.together)
        return (graphs[:, None] * self.together + np.arange(self.together)).ravel()


class StreamSource:
    """An endless stream of fresh problems, generated in blocks."""

    def __init__(self, run: Run, device: torch.device) -> None:
        self.batch_size, self.device, self.block_size = run.batch_size, device, block_size(run)
        self._block = lru_cache(maxsize=2 + run.batch_size // self.block_size)(
            lambda index: encode(run, training_block(run, index))
        )

    def batch(self, step: int, part: slice) -> Batch:
        """Return rows of the batch of step `step`."""
        first, last, size = step * self.batch_size, (step + 1) * self.batch_size - 1, self.block_size
        blocks = [self._block(index) for index in range(first // size, last // size + 1)]
        rows = torch.arange(first, last + 1)[part] - first // size * size
        return Batch.join(blocks).rows(rows).map(lambda tensor: sent(tensor, self.device))
