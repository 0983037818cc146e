"""Losses that `torch.compile` has compiled, and the same without, where that fails."""

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from unforced.models.failures import first_words, is_out_of_memory

Function = Callable[..., tuple[Tensor, ...]]
_MOST = 4


class Compiler:
    """Compiles functions of tensors, one for each key, and calls them.

    Each is first tried, with its gradients. Where that fails, or there are more than a few keys, all are
    computed as they are from then on. say: takes a line on why, or on how long compiling took. backend: as in
    `torch.compile`.
    """

    def __init__(self, say: Callable[[str], None], backend: str = "inductor") -> None:
        self.say, self._backend = say, backend
        self._compiled: dict[Hashable, Any] = {}
        self._gave_up = False

    @property
    def kind(self) -> str:
        """For the record: what is added to how steps are taken."""
        return ", compiled" if self._compiled and not self._gave_up else ""

    def call(
        self, key: Hashable, function: Function, leaves: Sequence[Tensor], *given: Any
    ) -> tuple[Tensor, ...]:
        """Call a function. leaves: the tensors whose gradients will be wanted."""
        if not self._gave_up and key not in self._compiled:
            self._compile(key, function, leaves, given)
        if self._gave_up:
            return function(*given)
        results: tuple[Tensor, ...] = self._compiled[key](*given)
        return results

    def _compile(
        self, key: Hashable, function: Function, leaves: Sequence[Tensor], given: Sequence[Any]
    ) -> None:
        if len(self._compiled) == _MOST:
            self._give_up(f"its batches have more than {_MOST} shapes")
            return
        began = time.perf_counter()
        try:
            compiled = torch.compile(function, dynamic=False, backend=self._backend)
            total = torch.stack([result.sum() for result in compiled(*given)]).sum()
            torch.autograd.grad(total, leaves, allow_unused=True)
        except Exception as error:  # of a compiler
            if is_out_of_memory(error):
                raise
            self._give_up(first_words(error))
            return
        self._compiled[key] = compiled
        self.say(f"compiled the step in {time.perf_counter() - began:.0f} s")

    def _give_up(self, reason: str) -> None:
        self._gave_up = True
        self.say(f"the step cannot be compiled, and is computed as it is ({reason})")
