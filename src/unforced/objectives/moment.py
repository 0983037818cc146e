"""What a view may depend on besides its batch: the progress of training, and random numbers per row."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int, UInt64
from numpy.typing import NDArray
from torch import Tensor

_SPAWN_KEY = 4  # 0-3 are the splits and the epochs' orders
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Moment:
    """A place in training: `rows` of the `batch_size` rows of optimiser step `step`, of `num_steps` in all.

    The numbers of a row are a function of (seed, step, stream, row) and of their place in the row. So they
    depend neither on the number of processes, nor on how many parts a batch is worked through in, nor on
    padding on the right. Draws that should be independent of one another need streams of their own, and
    objectives that are parts of another one a `part` each. They are on `device`.

    others: the seeds of further runs that are at this place, whose rows stand behind those of the first.
    """

    batch_size: int
    rows: slice = field(default_factory=lambda: slice(None))
    step: int = 0
    num_steps: int = 1
    seed: int = 0
    device: torch.device = _CPU
    place: tuple[int, ...] = ()
    others: tuple[int, ...] = ()

    def part(self, index: int) -> "Moment":
        """Return this moment with other numbers: those of a part of an objective."""
        return replace(self, place=(*self.place, index))

    @property
    def progress(self) -> float:
        """The share of training that is behind this step, in [0, 1)."""
        return self.step / self.num_steps

    @property
    def row_numbers(self) -> Int[Tensor, " rows"]:
        """Which row of its run's batch each one is."""
        numbers = torch.arange(*self.rows.indices(self.batch_size), device=self.device)
        return numbers.repeat(1 + len(self.others))

    def uniform(self, *shape: int, stream: int = 0) -> Float[Tensor, "rows ..."]:
        """Draw from [0, 1)."""
        numbers = (self._bits(shape, stream) >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
        return sent(torch.from_numpy(numbers), self.device)

    def integers(self, low: int, high: int, *shape: int, stream: int = 0) -> Int[Tensor, "rows ..."]:
        """Draw from low, ..., high - 1."""
        shares = (self._bits(shape, stream) >> np.uint64(11)).astype(np.float64) / 2.0**53
        return sent(torch.from_numpy(low + (shares * (high - low)).astype(np.int64)), self.device)

    def _bits(self, shape: tuple[int, ...], stream: int) -> UInt64[np.ndarray, "rows ..."]:
        """Return 64 random bits for each place of each row, of one run after the other."""
        of_runs = [self._bits_of(seed, shape, stream) for seed in (self.seed, *self.others)]
        return np.concatenate(of_runs) if self.others else of_runs[0]

    def _bits_of(self, seed: int, shape: tuple[int, ...], stream: int) -> UInt64[np.ndarray, "rows ..."]:
        """Return those of one run: a generator that can be asked for any of them.

        SplitMix64 of a counter: https://doi.org/10.1145/2714064.2660195.
        """
        seeds = np.random.SeedSequence(seed, spawn_key=(_SPAWN_KEY, self.step, stream, *self.place))
        (key,) = seeds.generate_state(1, np.uint64)
        rows = np.arange(*self.rows.indices(self.batch_size), dtype=np.uint64)[:, None]
        places = np.arange(math.prod(shape), dtype=np.uint64)
        return _mixed(_mixed(key + rows) + places).reshape(len(rows), *shape)


def _mixed(numbers: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    """Return the outputs of SplitMix64 in these states."""
    x: NDArray[np.uint64] = numbers * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to the device without waiting until it has done what it was given before."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
