"""One pass over problems that asks a evaluator all that the diagnostics need.

Each prompt is read once. What is asked of it afterwards (a free answer, predictions under the true answer,
a wrong arm to follow, another goal) continues from there: all of it costs less than twice a free answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from unforced.data.batch import Batch
from unforced.decoding.base import Logits
from unforced.evaluation.evaluator import Evaluator
from unforced.evaluation.margins import margins
from unforced.models.base import Cache
from unforced.tasks.base import Marks, Problems, Symbols

_DECOY_SEED = 0
_MOST_QUESTIONS = 16


@dataclass(frozen=True)
class Responses:
    """What a evaluator said, an entry per problem; symbols in forward order.

    free          its own answers
    forced        its predictions under the true answer so far
    trained       its predictions on the inputs of training (forced, where these show any of the answer)
    moved         `trained` again, for each other question, with the true answer to the first one as input
    other_truths  the true answers to the other questions
    fed           how many symbols of a decoy were fed, in order of generation; 0 where none was
    completed     whether the free continuation followed that decoy to its end, or to the end that the prompt
                  states (path-star: the goal) if more than the end was left to say
    on_true       probability of the true symbol at each decisive position of the task
    on_choices    probability of the other choices there
    on_answers    probability of all symbols that answers are made of there, choices included
    margin        logit of the true token minus the highest other one there
    """

    free: Symbols
    forced: Symbols
    trained: Symbols
    moved: Int[np.ndarray, "count questions length"]
    other_truths: Int[np.ndarray, "count questions length"]
    fed: Int[np.ndarray, " count"]
    completed: Bool[np.ndarray, " count"]
    on_true: Float[np.ndarray, "count decisions"]
    on_choices: Float[np.ndarray, "count decisions"]
    on_answers: Float[np.ndarray, "count decisions"]
    margin: Float[np.ndarray, "count decisions"]


@dataclass(frozen=True)
class Probe:
    """Problems, what is true of them, and what a evaluator said."""

    evaluator: Evaluator
    problems: Problems
    truth: Symbols
    decisive: Marks
    given_away: Marks
    responses: Responses

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def right(self) -> Marks:
        """Which predictions are right on the inputs of training."""
        return self.responses.trained == self.truth


def probe(evaluator: Evaluator, problems: Problems, counterfactuals: bool = True) -> Probe:
    """Ask `evaluator` about `problems`: all that is in `Responses`, or all but decoys and other questions."""
    task, truth = evaluator.task, evaluator.task.answers(problems)
    ahead, nothing = task.lookahead, np.zeros(truth.shape, dtype=np.bool_)
    decoys = ahead.decoys(problems) if ahead and counterfactuals else _stack([], truth)
    chosen, fed = _choose(evaluator, decoys, truth)
    parts = []
    with evaluator.inference():
        for rows in _batches(fed, evaluator.rows):
            others = ahead.counterfactual_prompts(problems.take(rows)) if ahead and counterfactuals else []
            others = spread(others, _MOST_QUESTIONS)
            some = _Some(problems.take(rows), rows, others, chosen[rows], int(fed[rows[0]]))
            parts.append((rows, _ask(evaluator, some)))
    back = np.argsort(np.concatenate([rows for rows, _ in parts]))
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for _, part in parts])[back]
        for field in fields(Responses)
    }
    decisive = nothing if ahead is None else ahead.decisive(problems)
    given_away = nothing if ahead is None else ahead.given_away(problems)
    return Probe(evaluator, problems, truth, decisive, given_away, Responses(**columns))


def _batches(fed: Int[np.ndarray, " count"], size: int) -> Iterator[Int[np.ndarray, " rows"]]:
    """Cut the problems into batches of `size` that feed equally much of a decoy."""
    for amount in np.unique(fed):
        rows = np.flatnonzero(fed == amount)
        yield from (rows[i : i + size] for i in range(0, len(rows), size))


def spread(questions: list[Problems], most: int) -> list[Problems]:
    """Keep `most` questions at the most, spread over all."""
    kept = np.unique(np.linspace(0, len(questions) - 1, min(len(questions), most)).round())
    return [questions[int(i)] for i in kept]


def _stack(parts: list[Symbols], like: Symbols) -> Int[np.ndarray, "count questions length"]:
    return np.stack(parts, axis=1) if parts else np.empty((len(like), 0, like.shape[1]), like.dtype)


def _choose(
    evaluator: Evaluator, decoys: Int[np.ndarray, "count decoys length"], truth: Symbols
) -> tuple[Symbols, Int[np.ndarray, " count"]]:
    """Choose a decoy for each problem; return them, and how much of each is fed.

    It is fed up to the first symbol, in order of generation, that differs from the truth. Nothing is fed
    where training shows nothing of the answer, nor where nothing would be left to say, nor to a decoder that
    cannot go on from there.
    """
    count, task = len(truth), evaluator.task
    if not decoys.shape[1] or evaluator.shows == "nothing" or not evaluator.decoder.continues:
        return truth, np.zeros(count, dtype=np.int64)
    picked = np.random.default_rng(_DECOY_SEED).integers(decoys.shape[1], size=count)
    chosen = decoys[np.arange(count), picked]
    differs = task.in_order(chosen, evaluator.order) != task.in_order(truth, evaluator.order)
    fed = 1 + differs.argmax(axis=1)
    return chosen, np.where(fed == task.exists(chosen).sum(axis=1), 0, fed)


@dataclass(frozen=True)
class _Some:
    """Problems to ask at once, which ones these are, other questions in them, and decoys fed up to `fed`."""

    problems: Problems
    numbers: Int[np.ndarray, " count"]
    others: list[Problems]
    decoys: Symbols
    fed: int


def _ask(evaluator: Evaluator, some: _Some) -> Responses:
    task, problems, others = evaluator.task, some.problems, some.others
    truth = task.answers(problems)
    batch = evaluator.encode(problems, numbers=some.numbers)
    altered = [evaluator.encode(other, truth) for other in others]
    cache = _prefill(evaluator, batch, altered)
    trained, logits = evaluator.trained(batch, _fork(cache))
    moved = [evaluator.trained(other, _fork(cache))[0] for other in altered]
    on_true, on_choices, on_answers = _masses(evaluator, logits, batch, problems)
    return Responses(
        evaluator.free(batch, _fork(cache)),
        trained if evaluator.shows != "nothing" else evaluator.forced(batch, _fork(cache)),
        trained,
        _stack(moved, truth),
        _stack([task.answers(other) for other in others], truth),
        np.full(len(truth), some.fed),
        _follows(evaluator, some, cache),
        on_true,
        on_choices,
        on_answers,
        margins(logits, batch, task.decisive_positions),
    )


def _prefill(evaluator: Evaluator, batch: Batch, altered: list[Batch]) -> Cache | None:
    """Read what the prompts have in common with those of other questions, but not their last token.

    Nothing is read ahead where the lengths of prompts differ: what they have in common then stands in
    different places.
    """
    differs = torch.zeros_like(batch.prompt[0], dtype=torch.bool)
    for other in (batch, *altered):
        if other.prompt_mask is not None or other.prompt.shape != batch.prompt.shape:
            return None
        differs |= (other.prompt != batch.prompt).any(dim=0)
    shared = int(differs.int().argmax()) if differs.any() else len(differs)
    shared = min(shared, len(differs) - 1)
    if shared == 0:
        return None
    cache = evaluator.model.new_cache(len(batch), batch.prompt.shape[1] + evaluator.codec.answer_length)
    evaluator.model.hidden(batch.prompt[:, :shared], cache=cache, query_positions=slice(-1, None))
    return cache


def _fork(cache: Cache | None) -> Cache | None:
    return None if cache is None else cache.fork()


def _follows(evaluator: Evaluator, some: _Some, cache: Cache | None) -> Bool[np.ndarray, " rows"]:
    """Feed the first `fed` symbols of each decoy; say whether the free continuation follows the rest of it.

    A wrong arm that ends with a jump to the goal was followed, unless the end is all that is left to say.
    """
    problems, decoys, fed = some.problems, some.decoys, some.fed
    task, ahead = evaluator.task, evaluator.task.lookahead
    if not fed or ahead is None:
        return np.zeros(len(problems), dtype=np.bool_)
    begun = evaluator.encode(problems, some.decoys, fed, some.numbers)
    said = evaluator.free(begun, None if begun.prompt_mask is not None else _fork(cache), given=fed)
    written = task.in_order(said, evaluator.order)
    ends = [decoys, ahead.with_stated_end(problems, decoys)]
    same, jumped = ((written == task.in_order(end, evaluator.order)[:, fed:]).all(axis=1) for end in ends)
    followed: Bool[np.ndarray, " rows"] = same | (jumped & (task.exists(decoys).sum(axis=1) > fed + 1))
    return followed


def _masses(
    evaluator: Evaluator, logits: Logits, batch: Batch, problems: Problems
) -> Float[np.ndarray, "3 rows decisions"]:
    """Return the probability on the true option, the other choices and all answer symbols, per decision."""
    task, codec = evaluator.task, evaluator.codec
    masses = np.empty((3, len(batch), len(task.decisive_positions)))
    sayable = np.arange(task.answer_symbols)[None]
    if task.lookahead is None:
        return masses
    for column, position in enumerate(task.decisive_positions):
        choices = task.lookahead.choices(problems, position)
        for row, some in enumerate((choices[:, :1], choices[:, 1:], sayable)):
            masses[row, :, column] = codec.mass(logits, batch, position, some)
    return masses
