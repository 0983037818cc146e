"""Planted models: they answer the model protocol, and fail in a way that is known beforehand.

Each knows some problems by their prompts, and says after each token what its behaviour makes of the problem
and of the answer so far. Randomness is a hash of the seed and of what was read, so a planted model is a
function. They stand for trained models wherever diagnostics are tested:

    evaluator = planted_subject(task, Cheater(), problems)
    diagnose(evaluator, problems, other_problems)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unforced.data.codec import SymbolCodec
from unforced.decoding.base import Decoder
from unforced.errors import UserError
from unforced.evaluation.evaluator import Evaluator
from unforced.models.base import Cache, SequenceModel, Trunk
from unforced.models.blocks import build_layer
from unforced.models.masks import Attention, Inputs, Padding, QueryPositions, select
from unforced.objectives.base import Objective
from unforced.objectives.next_token import NextToken
from unforced.tasks.base import Problems, Symbols, Task
from unforced.tasks.sampling import hash_rows

_CERTAIN = 100.0
_UNKNOWN = -1


@dataclass(frozen=True)
class Known:
    """What a behaviour may look at: problems with their answers, and which of them it was trained on.

    answers: every answer that there is, once.
    """

    task: Task
    problems: Problems
    truth: Symbols
    trained: Bool[np.ndarray, " count"]
    answers: Int[np.ndarray, "answers length"]

    def take(self, index: Int[np.ndarray, " rows"]) -> "Known":
        """Select problems."""
        some = self.problems.take(index), self.truth[index], self.trained[index]
        return Known(self.task, *some, self.answers)


def closed(task: Task, answers: Symbols) -> Int[np.ndarray, "count closed"]:
    """Write answers as a model does: where they vary in length, the end token stands behind them."""
    end = SymbolCodec.of(task).end
    if end is None:
        return answers
    return np.pad(np.where(answers < 0, end, answers), [(0, 0), (0, 1)], constant_values=end)


@runtime_checkable
class Behaviour(Protocol):
    """What a planted model says: a symbol, or -1 for a uniform distribution over symbols."""

    def next(
        self, known: Known, so_far: Symbols, chance: Float[np.ndarray, " rows"]
    ) -> Int[np.ndarray, " rows"]:
        """Return the symbol after the answers `so_far`; `chance` is uniform in [0, 1), by what was read."""


@dataclass(frozen=True)
class Perfect:
    """Knows the true symbol at every position, whatever it read before."""

    def next(
        self, known: Known, so_far: Symbols, chance: Float[np.ndarray, " rows"]
    ) -> Int[np.ndarray, " rows"]:
        """Say the true symbol."""
        return known.truth[:, so_far.shape[1]]


@dataclass(frozen=True)
class Uniform:
    """Knows nothing."""

    def next(
        self, known: Known, so_far: Symbols, chance: Float[np.ndarray, " rows"]
    ) -> Int[np.ndarray, " rows"]:
        """Have no idea."""
        return np.full(len(so_far), _UNKNOWN)


@dataclass(frozen=True)
class Snowballer:
    """Looks ahead, but each symbol is wrong at a rate of `error`, independently."""

    error: float = 0.03

    def next(
        self, known: Known, so_far: Symbols, chance: Float[np.ndarray, " rows"]
    ) -> Int[np.ndarray, " rows"]:
        """Say the true symbol, or at times the one after it in the alphabet."""
        true = known.truth[:, so_far.shape[1]]
        return np.where(chance < self.error, (true + 1) % known.task.answer_symbols, true)


@dataclass(frozen=True)
class Memoriser:
    """Knows the answers to the problems it was trained on, and says anything to others."""

    def next(
        self, known: Known, so_far: Symbols, chance: Float[np.ndarray, " rows"]
    ) -> Int[np.ndarray, " rows"]:
        """Say the true symbol of a training problem, and a random one otherwise."""
        anything = (chance * known.task.answer_symbols).astype(np.int64)
        return np.where(known.trained, known.truth[:, so_far.shape[1]], anything)


@dataclass(frozen=True)
class Cheater:
    """Does not look ahead: decides by chance, and follows whatever it reads. It never learned a decision.

    memorises: on the problems it was trained on, it decides rightly (a fitted model, in the paper's words).
    """

    memorises: bool = False

    def next(
        self, known: Known, so_far: Symbols, chance: Float[np.ndarray, " rows"]
    ) -> Int[np.ndarray, " rows"]:
        """Decide by chance on the true path, follow a decoy that it is on, and know the rest."""
        position = so_far.shape[1]
        said = known.truth[:, position].copy()
        on_path = (so_far == known.truth[:, :position]).all(axis=1)
        ahead = known.task.lookahead
        if ahead is None:
            return said
        if position in ahead.decisive_positions:
            choices = ahead.choices(known.problems, position)
            picked = choices[np.arange(len(choices)), (chance * choices.shape[1]).astype(np.int64)]
            blind = ~known.trained if self.memorises else np.ones(len(said), dtype=np.bool_)
            said = np.where(ahead.decisive(known.problems)[:, position] & blind, picked, said)
        for decoy in ahead.decoys(known.problems).transpose(1, 0, 2):
            written = closed(known.task, decoy)
            follows = ~on_path & (so_far == written[:, :position]).all(axis=1)
            said = np.where(follows, written[:, position], said)
        return said


@dataclass(frozen=True)
class PrefixReader:
    """Guesses the first symbol, and then goes on with the answer that begins as what it reads does.

    Of several such answers it is the problem's own, if that is among them. memorises: the first symbols of
    the problems it was trained on are known.
    """

    memorises: bool = False

    def next(
        self, known: Known, so_far: Symbols, chance: Float[np.ndarray, " rows"]
    ) -> Int[np.ndarray, " rows"]:
        """Say the first symbol of some answer, or the next one of that which was begun."""
        position, answers = so_far.shape[1], known.answers
        if position == 0:
            firsts = np.unique(answers[:, 0])
            guess = firsts[(chance * len(firsts)).astype(np.int64)]
            return np.where(known.trained & self.memorises, known.truth[:, 0], guess)
        begun = (so_far[:, None] == answers[None, :, :position]).all(axis=2)
        follows = answers[begun.argmax(axis=1), position]
        own = (so_far == known.truth[:, :position]).all(axis=1) | ~begun.any(axis=1)
        return np.where(own, known.truth[:, position], follows)


@dataclass
class TokensRead:
    """A cache of the tokens read so far."""

    tokens: Int[Tensor, "batch time"]
    length: int = 0

    def fork(self) -> "TokensRead":
        """Go on from here."""
        return TokensRead(self.tokens, self.length)

    def extend(self, tokens: Int[Tensor, "batch new"]) -> Int[Tensor, "batch all"]:
        """Read more tokens; return all of them."""
        self.tokens = torch.cat([self.tokens, tokens], dim=1)
        self.length = self.tokens.shape[1]
        return self.tokens


class PlantedModel(SequenceModel):
    """Says what a behaviour says; its hidden states are its logits. Answers are read in forward order."""

    attends = frozenset({"causal"})

    def __init__(self, behaviour: Behaviour, known: Known, seed: int) -> None:
        super().__init__()
        self.behaviour, self.known, self.seed = behaviour, known, seed
        self.vocab_size = self.width = SymbolCodec.of(known.task).vocab_size
        self.prompt_length = known.task.prompt_length
        prompts = SymbolCodec.of(known.task).encode(known.problems, "forward").prompt
        keys = hash_rows(prompts.numpy())
        self._sorting = np.argsort(keys, kind="stable")  # of equal prompts, the one trained on comes first
        self._keys = keys[self._sorting]

    def select_kernels(
        self, device: torch.device, dtype: torch.dtype, length: int, known: Mapping[str, str]
    ) -> dict[str, str]:
        """Select nothing."""
        return {}

    def embed(
        self,
        tokens: Int[Tensor, "batch time"],
        *,
        padding: Padding | None = None,
        attention: Attention = "causal",
        cache: Cache | None = None,
    ) -> Float[Tensor, "batch time width"]:
        """Return a one at each token's id, and zeros elsewhere."""
        return F.one_hot(tokens, self.width).float()

    def trunk(self) -> Trunk:
        """Return what heads may rely on; its blocks have random weights."""
        task = self.known.task
        longest = self.prompt_length + task.answer_length
        return Trunk(self.width, self.vocab_size, longest, lambda: build_layer(self.width), lambda: self)

    def new_cache(self, batch: int, capacity: int) -> TokensRead:
        """Return an empty cache."""
        return TokensRead(torch.empty((batch, 0), dtype=torch.int64))

    def hidden(
        self,
        inputs: Inputs,
        *,
        positions: Int[Tensor, "#batch time"] | None = None,
        padding: Padding | None = None,
        attention: Attention = "causal",
        cache: Cache | None = None,
        query_positions: QueryPositions | None = None,
    ) -> Float[Tensor, "batch chosen width"]:
        """Return the logits at the time steps `query_positions`; uniform within the prompt."""
        self.check_attention(attention)
        past, tokens = 0, inputs.argmax(-1) if inputs.is_floating_point() else inputs
        if cache is not None:
            assert isinstance(cache, TokensRead)
            past = cache.length
            tokens = cache.extend(tokens)
        times = range(past, tokens.shape[1])
        if isinstance(query_positions, slice):
            return self._said(tokens.numpy(force=True), times[query_positions])
        return select(self._said(tokens.numpy(force=True), times), query_positions)

    def logits(self, hidden: Float[Tensor, "batch chosen width"]) -> Float[Tensor, "batch chosen vocab"]:
        """Return hidden states as they are."""
        return hidden

    def to_transformers(self) -> Any:
        """Raise UserError: there are no weights."""
        raise UserError("a planted model has no weights to export; export a trained run")

    def _said(self, symbols: Symbols, times: range) -> Float[Tensor, "batch times width"]:
        """Return the logits after each of these time steps; chance depends on all that is read until then."""
        logits = torch.zeros(len(symbols), len(times), self.width)
        if symbols.shape[1] < self.prompt_length:
            return logits
        index, found = self._look_up(symbols[:, : self.prompt_length])
        known, done = self.known.take(index), 0
        digest = hash_rows(np.full((len(symbols), 1), self.seed))
        for place, time in enumerate(times):
            if time + 1 < self.prompt_length:
                continue
            digest, done = hash_rows(symbols[:, done : time + 1], digest), time + 1
            said = self.behaviour.next(known, symbols[:, self.prompt_length : done], digest / 2.0**64)
            rows = np.flatnonzero(found & (said != _UNKNOWN))
            logits[torch.from_numpy(rows), place, torch.from_numpy(said[rows].astype(np.int64))] = _CERTAIN
        return logits

    def _look_up(self, prompts: Symbols) -> tuple[Int[np.ndarray, " batch"], Bool[np.ndarray, " batch"]]:
        keys = hash_rows(prompts)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return self._sorting[place], self._keys[place] == keys


def planted_subject(
    task: Task,
    behaviour: Behaviour,
    trained: Problems,
    held_out: Problems,
    seed: int = 0,
    objective: Objective | None = None,
    decoder: Decoder | None = None,
) -> Evaluator:
    """Build a evaluator with a planted model that knows these problems, and the other questions in them.

    Heads, if the objective has any, are random.
    """
    ahead = task.lookahead
    others = [
        other
        for some in (trained, held_out)
        for other in (ahead.counterfactual_prompts(some) if ahead else [])
    ]
    parts = [trained, held_out, *others]
    problems = type(trained).concatenate(parts)
    was_trained = np.arange(len(problems)) < len(trained)
    truth = closed(task, task.answers(problems))
    known = Known(task, problems, truth, was_trained, np.unique(truth, axis=0))
    model = PlantedModel(behaviour, known, seed)
    objective = objective or NextToken()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = objective.build_heads(model.trunk())
    return Evaluator(
        task,
        "forward",
        objective,
        objective.decoding(decoder),
        model,
        heads,
        torch.device("cpu"),
        SymbolCodec.of(task),
    )
