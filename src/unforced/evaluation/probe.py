"""One pass over problems that asks a subject all that the diagnostics need.

Each prompt is read once. What is asked of it afterwards (a free answer, predictions under the true answer,
a wrong arm to follow, another goal) goes on from there: all of it costs less than twice a free answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unforced.data.batch import Batch
from unforced.data.codec import SymbolCodec
from unforced.evaluation.subject import BATCH, Subject
from unforced.models.base import Cache
from unforced.tasks.base import Marks, Problems, Symbols, in_order

_DECOY_SEED = 0


@dataclass(frozen=True)
class Answered:
    """What a subject said, an entry per problem; symbols in forward order.

    free          its own answers
    forced        its predictions under the true answer so far
    trained       its predictions on the inputs of training (forced, where training reads the answer)
    moved         `trained` again, for each other question, with the true answer to the first one as input
    fed           how many symbols of a decoy were fed, in order of generation; 0 where none was
    completed     whether the free continuation was the rest of that decoy
    on_true       probability of the true symbol at each decisive position of the task
    on_options    probability of the other options there
    on_answers    probability of all symbols that answers are made of there, options included
    """

    free: Symbols
    forced: Symbols
    trained: Symbols
    moved: Int[np.ndarray, "count questions length"]
    fed: Int[np.ndarray, " count"]
    completed: Bool[np.ndarray, " count"]
    on_true: Float[np.ndarray, "count decisions"]
    on_options: Float[np.ndarray, "count decisions"]
    on_answers: Float[np.ndarray, "count decisions"]


@dataclass(frozen=True)
class Probe:
    """Problems, what is true of them, and what a subject said."""

    subject: Subject
    problems: Problems
    truth: Symbols
    decisive: Marks
    followers: Marks
    other_truths: Int[np.ndarray, "count questions length"]
    answered: Answered

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def right(self) -> Marks:
        """Which predictions are right on the inputs of training."""
        return self.answered.trained == self.truth


def probe(subject: Subject, problems: Problems, counterfactuals: bool = True) -> Probe:
    """Ask `subject` about `problems`: all that is in `Answered`, or all but decoys and other questions."""
    asked = _Questions(subject, problems, counterfactuals)
    with subject.at_rest():
        parts = [(rows, _ask(asked, rows)) for rows in asked.batches()]
    back = np.argsort(np.concatenate([rows for rows, _ in parts]))
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for _, part in parts])[back]
        for field in fields(Answered)
    }
    task = subject.task
    return Probe(
        subject,
        problems,
        asked.truth,
        task.decisive(problems),
        task.followers(problems),
        asked.other_truths,
        Answered(**columns),
    )


class _Questions:
    """All that is asked about some problems, as tokens."""

    def __init__(self, subject: Subject, problems: Problems, counterfactuals: bool) -> None:
        self.subject, task = subject, subject.task
        self.batch = subject.encode(problems)
        self.truth = task.answers(problems)
        others = task.other_questions(problems) if counterfactuals else []
        prompts = [subject.encode(other).prompt for other in others]
        self.prompts = (
            torch.stack(prompts) if prompts else self.batch.prompt.new_empty((0, *self.batch.prompt.shape))
        )
        self.other_truths = _stack([task.answers(other) for other in others], self.truth)
        self.options = [task.options(problems, position) for position in task.decisive_positions]
        decoys = task.decoys(problems) if counterfactuals else _stack([], self.truth)
        self.decoys, self.fed = _choose(subject, decoys, self.truth)

    def batches(self) -> Iterator[Int[np.ndarray, " rows"]]:
        """Cut the problems into batches that feed equally much of a decoy."""
        for fed in np.unique(self.fed):
            rows = np.flatnonzero(self.fed == fed)
            yield from (rows[i : i + BATCH] for i in range(0, len(rows), BATCH))


def _stack(parts: list[Symbols], like: Symbols) -> Int[np.ndarray, "count questions length"]:
    return np.stack(parts, axis=1) if parts else np.empty((len(like), 0, like.shape[1]), like.dtype)


def _choose(
    subject: Subject, decoys: Int[np.ndarray, "count decoys length"], truth: Symbols
) -> tuple[Int[Tensor, "count length"], Int[np.ndarray, " count"]]:
    """Choose a decoy for each problem; return them as tokens, and how much of each is fed.

    It is fed up to the first symbol, in order of generation, that differs from the truth. Nothing is fed to
    a subject that never reads an answer, nor where nothing would be left to say.
    """
    count, length = truth.shape
    chosen, fed = truth, np.zeros(count, dtype=np.int64)
    if decoys.shape[1] and subject.reads_answers:
        picked = np.random.default_rng(_DECOY_SEED).integers(decoys.shape[1], size=count)
        chosen = decoys[np.arange(count), picked]
        fed = 1 + in_order(chosen != truth, subject.order).argmax(axis=1)
        fed[fed == length] = 0
    tokens = SymbolCodec.of(subject.task).encode(in_order(chosen, subject.order))
    return tokens.to(subject.device), fed


def _ask(asked: _Questions, rows: Int[np.ndarray, " rows"]) -> Answered:
    subject = asked.subject
    index = torch.from_numpy(rows).to(subject.device)
    batch, prompts, decoy = asked.batch.rows(index), asked.prompts[:, index], asked.decoys[index]
    cache = _read_ahead(subject, batch, prompts)
    logits = _predict(subject, batch, cache)
    trained = logits.argmax(-1)
    forced = trained if subject.reads_answers else subject.forced(batch, _fork(cache))
    moved = [_predict(subject, replace(batch, prompt=prompt), cache).argmax(-1) for prompt in prompts]
    fed = asked.fed[rows]
    masses = _masses(subject, logits, [options[rows] for options in asked.options])
    return Answered(
        subject.symbols(subject.decode(batch, _fork(cache))),
        subject.symbols(forced),
        subject.symbols(trained),
        _stack([subject.symbols(tokens) for tokens in moved], asked.truth[rows]),
        fed,
        _follows(subject, batch, decoy, int(fed[0]), cache),
        *masses,
    )


def _read_ahead(
    subject: Subject, batch: Batch, prompts: Int[Tensor, "questions rows prompt"]
) -> Cache | None:
    """Read what the prompts and those of the other questions have in common, but not their last token."""
    differs = (prompts != batch.prompt).any(dim=0).any(dim=0)
    shared = int(differs.int().argmax()) if differs.any() else len(differs)
    shared = min(shared, len(differs) - 1)
    if shared == 0:
        return None
    cache = subject.model.new_cache(len(batch), batch.prompt.shape[1] + batch.answer.shape[1])
    subject.model.hidden(batch.prompt[:, :shared], cache=cache, at=slice(-1, None))
    return cache


def _fork(cache: Cache | None) -> Cache | None:
    return None if cache is None else cache.fork()


def _predict(subject: Subject, batch: Batch, cache: Cache | None) -> Float[Tensor, "rows answer vocab"]:
    return subject.objective.predict(subject.model, subject.heads, batch, _fork(cache))


def _follows(
    subject: Subject, batch: Batch, decoy: Int[Tensor, "rows answer"], fed: int, cache: Cache | None
) -> Bool[np.ndarray, " rows"]:
    """Feed the first `fed` symbols of each decoy; say whether the free continuation is the rest of it."""
    if not fed:
        return np.zeros(len(batch), dtype=np.bool_)
    begun = replace(batch, prompt=torch.cat([batch.prompt, decoy[:, :fed]], dim=1), answer=decoy[:, fed:])
    said = subject.decode(begun, _fork(cache))
    return (said == decoy[:, fed:]).all(dim=1).numpy(force=True)


def _masses(
    subject: Subject, logits: Float[Tensor, "rows answer vocab"], options: list[Symbols]
) -> list[Float[np.ndarray, "rows decisions"]]:
    """Return the probability on the true option, the other options and all answer symbols, per decision."""
    places = in_order(np.arange(logits.shape[1])[None], subject.order)[0]
    true, others, all_answers = [], [], []
    for position, choices in zip(subject.task.decisive_positions, options, strict=True):
        probability = logits[:, int(places[position])].float().softmax(-1)
        ids = SymbolCodec.of(subject.task).encode(choices).to(probability.device)
        chosen = probability.gather(1, ids)
        true.append(chosen[:, 0])
        others.append(chosen[:, 1:].sum(1))
        all_answers.append(probability[:, : subject.task.answer_symbols].sum(1))
    return [torch.stack(column, dim=1).numpy(force=True) for column in (true, others, all_answers)]
