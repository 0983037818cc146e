"""Where training batches come from: a finite set that lives on the device, or an endless stream.

    goals_per_graph=1   graph 0, goal c | graph 1, goal a | graph 2, goal b | ...
    goals_per_graph=3   graph 0, goal c | graph 0, goal a | graph 0, goal b | graph 1, goal a | ...

The batch of step k is a pure function of (run, k), so resuming needs no state but the step.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

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

    Both are on the device.

    Training sees the epochs' orders end to end, and a batch may straddle two of them. Problems of one graph
    stay together.
    """

    def __init__(self, run: Run, device: torch.device) -> None:
        count = run.training_count
        assert count is not None
        self.seed, self.count, self.batch_size = run.seed, count, run.batch_size
        self.together = run.goals_per_graph
        self.examples = encode(run, split_problems(run, "train", count)).map(lambda t: t.to(device))
        self._order = lru_cache(maxsize=2)(lambda epoch: sent(torch.from_numpy(self.order(epoch)), device))

    def batch(self, step: int, part: slice) -> Batch:
        """Return rows of the batch of step `step`."""
        pieces = [self._order(epoch)[places] for epoch, places in self.pieces(step)]
        return self.examples.rows((pieces[0] if len(pieces) == 1 else torch.cat(pieces))[part])

    def pieces(self, step: int) -> Iterator[tuple[int, slice]]:
        """Yield the epochs of a step's batch, and its places in the order of each."""
        place, left = step * self.batch_size, self.batch_size
        while left:
            epoch, first = divmod(place, self.count)
            taken = min(left, self.count - first)
            yield epoch, slice(first, first + taken)
            place, left = place + taken, left - taken

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the order of an epoch."""
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
        return self.made(step, part).map(lambda tensor: sent(tensor, self.device))

    def made(self, step: int, part: slice) -> Batch:
        """Return them where they are made, on the processor."""
        first, last, size = step * self.batch_size, (step + 1) * self.batch_size - 1, self.block_size
        blocks = [self._block(index) for index in range(first // size, last // size + 1)]
        rows = torch.arange(first, last + 1)[part] - first // size * size
        return Batch.join(blocks).rows(rows)


class SharedFiniteSource:
    """The training sets of several runs of one size, on the device as one, and their batches as one.

    The rows of a batch are those of one run after the other. The sources read from it from now on.
    """

    def __init__(self, sources: Sequence[FiniteSource]) -> None:
        first, self.sources = sources[0], sources
        self.device = first.examples.prompt.device
        self.examples = Batch.join([source.examples for source in sources])
        for number, source in enumerate(sources):
            source.examples = self.examples.rows(slice(number * first.count, (number + 1) * first.count))
        self._orders = lru_cache(maxsize=2)(self._ordered)

    def batch(self, step: int, part: slice) -> Batch:
        """Return rows of each run's batch of step `step`."""
        pieces = [self._orders(epoch)[:, places] for epoch, places in self.sources[0].pieces(step)]
        return self.examples.rows(torch.cat(pieces, dim=1)[:, part].flatten())

    def _ordered(self, epoch: int) -> Int[Tensor, "runs count"]:
        """Return the order of an epoch for each run, counted over the examples of all."""
        count = self.sources[0].count
        orders = [source.order(epoch) + number * count for number, source in enumerate(self.sources)]
        return sent(torch.from_numpy(np.stack(orders)), self.device)


class SharedStreamSource:
    """The streams of several runs: their batches are sent to the device as one."""

    def __init__(self, sources: Sequence[StreamSource]) -> None:
        self.sources = sources

    def batch(self, step: int, part: slice) -> Batch:
        """Return rows of each run's batch of step `step`, of one run after the other."""
        made = Batch.join([source.made(step, part) for source in self.sources])
        return made.map(lambda tensor: sent(tensor, self.sources[0].device))


def share(sources: Sequence[Source]) -> Source | None:
    """Return what gives the batches of several runs as one; None if nothing does."""
    finite = [each for each in sources if isinstance(each, FiniteSource)]
    streams = [each for each in sources if isinstance(each, StreamSource)]
    if len(streams) == len(sources):
        return SharedStreamSource(streams)
    shapes = {(each.count, each.examples.prompt.shape, each.examples.answer.shape) for each in finite}
    return SharedFiniteSource(finite) if len(finite) == len(sources) and len(shapes) == 1 else None
