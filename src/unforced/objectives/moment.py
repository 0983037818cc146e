"""What a view may depend on beside its batch: how far training is, and random numbers for each row."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

_SPAWN_KEY = 4  # 0-3 are the splits and the epochs' orders
_UNIFORM, _INTEGERS = 0, 1
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Moment:
    """A place in training: `rows` of the `batch_size` rows of optimiser step `step`, of `num_steps` in all.

    The numbers of a row are a function of (seed, step, stream, row) and of the shape that is asked for. So
    they do not depend on the number of processes, nor on how many parts a batch is worked through in. Draws
    that should be independent of one another need streams of their own. They are on `device`.
    """

    batch_size: int
    rows: slice = field(default_factory=lambda: slice(None))
    step: int = 0
    num_steps: int = 1
    seed: int = 0
    device: torch.device = _CPU

    @property
    def progress(self) -> float:
        """The share of training that is behind this step, in [0, 1)."""
        return self.step / self.num_steps

    def uniform(self, *shape: int, stream: int = 0) -> Float[Tensor, "rows ..."]:
        """Draw from [0, 1)."""
        rng = self._generator(stream, _UNIFORM)
        return self._mine(rng.random((self.batch_size, *shape), dtype=np.float32))

    def integers(self, low: int, high: int, *shape: int, stream: int = 0) -> Int[Tensor, "rows ..."]:
        """Draw from low, ..., high - 1."""
        rng = self._generator(stream, _INTEGERS)
        return self._mine(rng.integers(low, high, (self.batch_size, *shape)))

    def _generator(self, stream: int, kind: int) -> np.random.Generator:
        key = (_SPAWN_KEY, self.step, stream, kind)
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    def _mine(self, numbers: NDArray[np.generic]) -> Tensor:
        """Take the rows of this part from those of the whole batch, and send them to the device."""
        return sent(torch.from_numpy(numbers[self.rows]), self.device)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to the device without waiting until it has done what it was given before."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
