"""Codecs: from a task's symbols to token ids, and back."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from unforced.data.batch import Batch
from unforced.tasks.base import Order, Problems, Symbols, Task, in_order


@dataclass(frozen=True)
class SymbolCodec:
    """One token id per symbol, as in the paper's from-scratch models; the dummy `$` comes last.

    Source: arXiv 2403.06963, App. For path-star: nodes 0..N-1, `|` N, `=` N+1, `/` N+2, `$` N+3.

    first: id of the first symbol; those before it are a vocabulary that a model had already.
    """

    num_symbols: int
    first: int = 0

    @classmethod
    def of(cls, task: Task, first: int = 0) -> "SymbolCodec":
        """Build the codec of a task's alphabet."""
        return cls(len(task.alphabet), first)

    @property
    def dummy(self) -> int:
        """Id of the token that stands where an answer token is hidden."""
        return self.first + self.num_symbols

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self.dummy + 1

    def encode(self, symbols: Symbols) -> Int[Tensor, "count length"]:
        """Turn symbols into token ids."""
        return torch.from_numpy(np.ascontiguousarray(symbols, dtype=np.int64)) + self.first

    def decode(self, tokens: Int[Tensor, "count length"]) -> Symbols:
        """Turn token ids into symbols; what is none becomes -1, which no verifier accepts."""
        symbols = tokens.numpy(force=True).astype(np.int64) - self.first
        return np.where((symbols >= 0) & (symbols < self.num_symbols), symbols, -1)


def encode_problems(codec: SymbolCodec, task: Task, order: Order, problems: Problems) -> Batch:
    """Encode problems as a model sees them, with answers in `order`."""
    answers = codec.encode(in_order(task.answers(problems), order))
    return Batch(codec.encode(task.prompts(problems)), answers, codec.dummy, order=order)
