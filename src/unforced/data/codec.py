"""Codecs: from a task's problems to token ids, and from token ids to symbols."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unforced.data.batch import Batch
from unforced.data.tokenizer import symbol_tokenizer
from unforced.tasks.base import Order, Problems, Symbols, Task, in_order

Options = Int[np.ndarray, "#count options"]


@dataclass(frozen=True, eq=False)
class Codec(ABC):
    """How a model reads a task's problems and writes its answers.

    dummy           id of the token that stands where an answer token is hidden
    vocab_size      number of token ids
    prompt_length   tokens of a prompt, at the most
    answer_length   tokens of an answer, at the most
    end             id of the token that ends an answer; None where all answers are alike long
    """

    task: Task
    dummy: int
    vocab_size: int
    prompt_length: int
    answer_length: int
    end: int | None

    @abstractmethod
    def encode(
        self, problems: Problems, order: Order, answers: Symbols | None = None, given: int = 0
    ) -> Batch:
        """Encode problems with `answers` (forward order; the true ones, if None) as a model sees them.

        given: how many symbols of the answers, in `order`, stand behind the prompts instead.
        """

    @abstractmethod
    def read(self, tokens: Int[Tensor, "count answer"], order: Order, given: int = 0) -> Symbols:
        """Read free answers, all but the first `given` symbols in `order`; return forward order.

        What is no symbol becomes -1, which no verifier accepts.
        """

    @abstractmethod
    def read_beside(self, tokens: Int[Tensor, "count answer"], batch: Batch) -> Symbols:
        """Read predictions of each token of the batch's answers; return symbols in forward order.

        A symbol is the true one exactly where all of its tokens are.
        """

    @abstractmethod
    def mass(
        self, logits: Float[Tensor, "count answer vocab"], batch: Batch, position: int, options: Options
    ) -> Float[np.ndarray, " count"]:
        """Return the probability on any of the `options` at an answer position (forward order).

        Of a symbol that takes several tokens, those count up to the first that tells it from the true
        symbol. NaN where that cannot be told.
        """

    @abstractmethod
    def probabilities(
        self, logits: Float[Tensor, "count answer vocab"], batch: Batch, position: int
    ) -> Float[np.ndarray, "count symbols"]:
        """Return the probability of each symbol of answers at an answer position (forward order).

        It is counted as in `mass`; NaN where that does not tell a symbol from others.
        """

    @abstractmethod
    def build_tokenizer(self, max_length: int) -> Any:
        """Build transformers' tokenizer of the same tokens, for texts of `max_length` tokens at the most.

        Its mask token is the dummy.
        """

    @property
    @abstractmethod
    def description(self) -> str:
        """What a reader of that tokenizer's tokens must know."""


@dataclass(frozen=True, eq=False)
class SymbolCodec(Codec):
    """One token id per symbol, as in the paper's from-scratch models; the dummy `$` comes last.

    Source: arXiv 2403.06963, App. For path-star: nodes 0..N-1, `|` N, `=` N+1, `/` N+2, `$` N+3.

    first: id of the first symbol; those before it are a vocabulary that a model had already.
    """

    first: int

    @classmethod
    def of(cls, task: Task, first: int = 0) -> "SymbolCodec":
        """Build the codec of a task's alphabet."""
        dummy = first + len(task.alphabet)
        return cls(task, dummy, dummy + 1, task.prompt_length, task.answer_length, None, first)

    def ids(self, symbols: Symbols) -> Int[Tensor, "count length"]:
        """Turn symbols into token ids."""
        return torch.from_numpy(np.ascontiguousarray(symbols, dtype=np.int64)) + self.first

    def symbols(self, tokens: Int[Tensor, "count length"]) -> Symbols:
        """Turn token ids into symbols; what is none becomes -1."""
        ids = tokens.numpy(force=True).astype(np.int64)
        return np.where((ids >= self.first) & (ids < self.dummy), ids - self.first, -1)

    def encode(
        self, problems: Problems, order: Order, answers: Symbols | None = None, given: int = 0
    ) -> Batch:
        """Look the symbols up."""
        answers = self.task.answers(problems) if answers is None else answers
        prompt, answer = self.ids(self.task.prompts(problems)), self.ids(in_order(answers, order))
        if given:
            prompt, answer = torch.cat([prompt, answer[:, :given]], dim=1), answer[:, given:]
        return Batch(prompt, answer, self.dummy, order=order)

    def read(self, tokens: Int[Tensor, "count answer"], order: Order, given: int = 0) -> Symbols:
        """Look the tokens up."""
        return in_order(self.symbols(tokens), order)

    def read_beside(self, tokens: Int[Tensor, "count answer"], batch: Batch) -> Symbols:
        """Look the tokens up."""
        return self.read(tokens, batch.order)

    def mass(
        self, logits: Float[Tensor, "count answer vocab"], batch: Batch, position: int, options: Options
    ) -> Float[np.ndarray, " count"]:
        """Add the probabilities of the options' tokens."""
        each = self.probabilities(logits, batch, position)
        return np.take_along_axis(each, np.broadcast_to(options, (len(each), options.shape[1])), 1).sum(1)

    def probabilities(
        self, logits: Float[Tensor, "count answer vocab"], batch: Batch, position: int
    ) -> Float[np.ndarray, "count symbols"]:
        """Look up the probability of each symbol's token."""
        (column,) = (batch.places[0] == position).nonzero()[0].tolist()
        probability = logits[:, column].float().softmax(-1)
        return probability[:, self.first : self.first + self.task.answer_symbols].numpy(force=True)

    def build_tokenizer(self, max_length: int) -> Any:
        """Give each symbol of the task a token."""
        return symbol_tokenizer(self.task, self.first, max_length)

    @property
    def description(self) -> str:
        """That symbols are tokens."""
        before = (
            f" Tokens below {self.first} are the vocabulary that the model had before; they decode to `<id>`."
        )
        return f"Each symbol of the task is one token; other text is an error.{before if self.first else ''}"
