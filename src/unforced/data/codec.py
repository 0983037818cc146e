"""Codecs: from a task's problems to token ids, and from token ids to symbols."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unforced.data.batch import Batch
from unforced.data.tokenizer import END_TEXT, symbol_tokenizer
from unforced.tasks.base import Marks, Order, Problems, Symbols, Task, in_order
from unforced.tasks.problems import END, NOT_A_SYMBOL, answer_lengths

Choices = Int[np.ndarray, "#count choices"]


@dataclass(frozen=True, eq=False)
class Codec(ABC):
    """How a model reads a task's problems and writes its answers.

    mask_token           id of the token that stands where an answer token is hidden
    vocab_size      number of token ids
    prompt_length   tokens of a prompt, at the most
    answer_length   tokens of an answer, at the most
    end             id of the token that ends an answer; None where all answers have the same length
    specials        ids of further special tokens, by name
    """

    task: Task
    mask_token: int
    vocab_size: int
    prompt_length: int
    answer_length: int
    end: int | None
    specials: Mapping[str, int]

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

        What is not a symbol becomes -1, which no verifier accepts; where answers vary in length, -2, and -1
        stands behind the end.
        """

    @abstractmethod
    def read_beside(self, tokens: Int[Tensor, "count answer"], batch: Batch) -> Symbols:
        """Read predictions of each token of the batch's answers; return symbols in forward order.

        A symbol is the true one exactly where all of its tokens are.
        """

    @abstractmethod
    def mass(
        self, logits: Float[Tensor, "count answer vocab"], batch: Batch, position: int, choices: Choices
    ) -> Float[np.ndarray, " count"]:
        """Return the probability on any of the `choices` at an answer position (forward order).

        Of a symbol that takes several tokens, those count up to the first that tells it from the true
        symbol. NaN where that is unknown.
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

        Its mask token is the mask_token.
        """

    @property
    @abstractmethod
    def description(self) -> str:
        """What a reader of that tokenizer's tokens must know."""


@dataclass(frozen=True, eq=False)
class SymbolCodec(Codec):
    """One token id per symbol, as in the paper's from-scratch models; then the mask token `$`.

    Where answers vary in length, a token that ends them comes after the mask token, and prompts that are
    shorter than others are padded on the left.
    Source: arXiv 2403.06963, App. For path-star: nodes 0..N-1, `|` N, `=` N+1, `/` N+2, `$` N+3.

    first: id of the first symbol; those before it are a vocabulary that a model had already.
    """

    first: int

    @classmethod
    def of(cls, task: Task, first: int = 0, specials: Sequence[str] = ()) -> "SymbolCodec":
        """Build the codec of a task's alphabet, with further special tokens behind it."""
        mask_token = first + len(task.alphabet)
        end = mask_token + 1 if task.varied else None
        ends = int(task.varied)
        ids = {name: mask_token + 1 + ends + index for index, name in enumerate(specials)}
        lengths = task.prompt_length, task.answer_length + ends
        return cls(task, mask_token, mask_token + 1 + ends + len(ids), *lengths, end, ids, first)

    def ids(self, symbols: Symbols) -> Int[Tensor, "count length"]:
        """Turn symbols into token ids."""
        return torch.from_numpy(np.ascontiguousarray(symbols, dtype=np.int64) + self.first)

    def symbols(self, tokens: Int[Tensor, "count length"]) -> Symbols:
        """Turn token ids into symbols; what is not one becomes -1, or -2 where answers vary in length."""
        ids = tokens.numpy(force=True).astype(np.int64)
        other = -1 if self.end is None else NOT_A_SYMBOL
        return np.where((ids >= self.first) & (ids < self.mask_token), ids - self.first, other)

    def encode(
        self, problems: Problems, order: Order, answers: Symbols | None = None, given: int = 0
    ) -> Batch:
        """Look the symbols up."""
        task = self.task
        answers = task.answers(problems) if answers is None else answers
        prompts, written = task.prompts(problems), task.in_order(answers, order)
        prompts = np.concatenate([prompts, written[:, :given]], axis=1) if given else prompts
        real = prompts >= 0
        mask = None if real.all() else torch.from_numpy(real)
        prompt = self.ids(prompts) if mask is None else self._padded(prompts, real)
        if self.end is None:
            return Batch(
                prompt,
                self.ids(written[:, given:]),
                self.mask_token,
                mask,
                order=order,
                specials=self.specials,
            )
        return self._closed(prompt, mask, written, order, given)

    def _padded(self, symbols: Symbols, real: Marks) -> Int[Tensor, "count length"]:
        filling = self.mask_token if self.end is None else self.end
        return self.ids(symbols).masked_fill(torch.from_numpy(~real), filling)

    def _closed(
        self,
        prompt: Int[Tensor, "count prompt"],
        prompt_mask: Bool[Tensor, "count prompt"] | None,
        written: Symbols,
        order: Order,
        given: int,
    ) -> Batch:
        """Close each answer with the end token, which is a part of the symbol that is written last."""
        lengths = answer_lengths(written)[:, None]
        rest = np.pad(written, [(0, 0), (0, 1)], constant_values=-1)[:, given:]
        place = np.arange(given, given + rest.shape[1])[None]
        last = np.minimum(place, np.maximum(lengths - 1, 0))
        places = last if order == "forward" else np.maximum(lengths - 1, 0) - last
        real = place <= lengths
        return Batch(
            prompt,
            self._padded(rest, place < lengths),
            self.mask_token,
            prompt_mask,
            torch.from_numpy(real),
            order,
            torch.from_numpy(np.where(real, places, -1)),
            end=self.end,
            specials=self.specials,
        )

    def read(self, tokens: Int[Tensor, "count answer"], order: Order, given: int = 0) -> Symbols:
        """Look the tokens up, as far as the end; if an answer does not end, its last symbol is invalid."""
        symbols = self.symbols(tokens)
        if self.end is None:
            return in_order(symbols, order)
        ended = tokens.numpy(force=True) == self.end
        symbols[ended.cumsum(axis=1) > 0] = END
        symbols[~ended.any(axis=1), -2] = NOT_A_SYMBOL
        return self.task.in_order(symbols[:, :-1], order)

    def read_beside(self, tokens: Int[Tensor, "count answer"], batch: Batch) -> Symbols:
        """Look the tokens up; a last symbol with a wrong end is invalid."""
        if self.end is None or batch.answer_mask is None:
            return self.read(tokens, batch.order)
        said, places = self.symbols(tokens), batch.places.numpy(force=True)
        ends, real = ((each.numpy(force=True)) for each in (batch.answer == self.end, batch.answer_mask))
        read = np.full((len(said), self.task.answer_length), END, dtype=np.int64)
        rows, columns = np.nonzero(real & ~ends)
        read[rows, places[rows, columns]] = said[rows, columns]
        rows, columns = np.nonzero(real & ends & (tokens != self.end).numpy(force=True))
        read[rows, places[rows, columns]] = NOT_A_SYMBOL
        return read

    def mass(
        self, logits: Float[Tensor, "count answer vocab"], batch: Batch, position: int, choices: Choices
    ) -> Float[np.ndarray, " count"]:
        """Add the probabilities of the choices' tokens."""
        each = self.probabilities(logits, batch, position)
        return np.take_along_axis(each, np.broadcast_to(choices, (len(each), choices.shape[1])), 1).sum(1)

    def probabilities(
        self, logits: Float[Tensor, "count answer vocab"], batch: Batch, position: int
    ) -> Float[np.ndarray, "count symbols"]:
        """Look up the probability of each symbol's token; NaN in answers without this position."""
        here = (batch.places == position).expand(batch.answer.shape)
        column = here.int().argmax(dim=1)
        of_row = logits[torch.arange(len(logits), device=logits.device), column]
        probability = of_row.float().softmax(-1)[:, self.first : self.first + self.task.answer_symbols]
        return probability.masked_fill(~here.any(dim=1, keepdim=True), torch.nan).numpy(force=True)

    def build_tokenizer(self, max_length: int) -> Any:
        """Give each symbol of the task a token."""
        return symbol_tokenizer(self.task, self.first, max_length, tuple(self.specials))

    @property
    def description(self) -> str:
        """That symbols are tokens."""
        before = (
            f" Tokens below {self.first} are the vocabulary that the model had before; they decode to `<id>`."
        )
        end = "" if self.end is None else f" An answer is what stands before `{END_TEXT}`."
        told = f"{end}{before if self.first else ''}"
        return f"Each symbol of the task is one token; other text is an error.{told}"
