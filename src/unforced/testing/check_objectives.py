"""Whether an objective, and the decoder that fits it, keep to the contracts of objectives and decoders.

    from unforced.testing import check_objective

    def test_mixture():
        check_objective(Mixture(weight=0.3))
        check_objective(Mixture(weight=0.3), model=GRU(layers=1, width=16))

The rules judge by what a run relies on, losses and answers, and not by how a view is laid out: an objective
may have several terms, heads, special tokens, full attention or masks, tensors of its own in its view, and a
`sequence_length` of its own.
"""

import math
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unforced.config import Run
from unforced.data.batch import Batch
from unforced.decoding.base import Decoder
from unforced.models.base import ModelConfig
from unforced.models.gpt import GPT
from unforced.models.masks import kind_of
from unforced.objectives.base import Objective
from unforced.objectives.moment import Moment
from unforced.objectives.next_token import NextToken
from unforced.objectives.view import ANSWER, NEXT_TOKEN, answer_states
from unforced.parts import read, tree
from unforced.registry import MODELS
from unforced.tasks.base import Order, Task
from unforced.tasks.countdown import Countdown
from unforced.tasks.path_star import PathStar
from unforced.tasks.sampling import problems
from unforced.testing.check_models import close, disturbed
from unforced.testing.rules import ConformanceError, DoesNotApplyError, check_all, require
from unforced.training.source import encode
from unforced.training.train_module import TrainModule

BATCH, STEPS = 6, 40
CASES: tuple[tuple[Task, Order], ...] = (
    (PathStar(degree=2, path_length=3, num_nodes=10), "forward"),
    (PathStar(degree=2, path_length=3, num_nodes=10), "reversed"),
    (Countdown(fewest=2, most=3), "forward"),
)
"""Problems that objectives are checked on: of one length in both orders, and of several lengths."""
_Losses = dict[str, tuple[Tensor, Tensor]]  # of each row, and what they count, by term


@dataclass
class ObjectiveSubject:
    """An objective to be checked, with a small model, on a batch of problems."""

    objective: Objective
    model: ModelConfig
    task: Task
    order: Order

    @cached_property
    def run(self) -> Run:
        """A run that trains it."""
        return Run(
            task=self.task,
            model=self.model,
            objective=self.objective,
            order=self.order,
            num_train=100,
            epochs=1,
            precision="fp32",
            batch_size=BATCH,
        )

    @cached_property
    def module(self) -> TrainModule:
        """Model and heads with noise added to every parameter, so that each matters."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            return disturbed(TrainModule(self.run)).eval()

    @cached_property
    def batch(self) -> Batch:
        """Six problems; of several lengths, if the task has such."""
        batch = encode(self.run, problems(self.task, 0, "train", 0, BATCH))
        return replace(batch, numbers=torch.arange(BATCH))

    @cached_property
    def real(self) -> Tensor:
        """Which answer tokens are real."""
        mask = self.batch.answer_mask
        return torch.ones_like(self.batch.answer, dtype=torch.bool) if mask is None else mask

    @property
    def decoder(self) -> Decoder:
        """The decoder that it is checked with."""
        return self.run.decoding

    @property
    def heads(self) -> nn.Module:
        """The heads that the decoder relies on."""
        return self.objective.heads_for(self.decoder, self.module.heads)

    def moment(self, rows: slice = slice(None), step: int = 5) -> Moment:
        """Return an early step of training."""
        return Moment(BATCH, rows, step=step, num_steps=STEPS)

    def losses(self, batch: Batch, rows: slice = slice(None), objective: Objective | None = None) -> _Losses:
        """Return the losses of a batch's rows, and what they count, by term."""
        objective = objective or self.objective
        view = objective.view(batch, self.moment(rows))
        by_row = objective.loss(self.module.model, self.module.heads, view)
        require(
            by_row.keys() == view.terms.keys(),
            f"the view's terms are {sorted(view.terms)}, the loss's {sorted(by_row)}",
        )
        return {name: (by_row[name], term.count) for name, term in view.terms.items()}

    def other_answers(self) -> Iterator[tuple[int, Batch]]:
        """Yield for each position the batch with other answer tokens there and behind it."""
        symbols = self.task.answer_symbols
        for position in range(self.batch.answer.shape[1]):
            answer = self.batch.answer.clone()
            tail = (answer[:, position:] + 1) % symbols
            end = self.batch.answer[:, position:] == self.batch.end if self.batch.end is not None else None
            answer[:, position:] = tail if end is None else torch.where(end, answer[:, position:], tail)
            yield position, replace(self.batch, answer=answer)


@dataclass
class _Reading:
    """One call of `hidden`: the kind of attention, the length of what was read by then, and the inputs."""

    attention: str
    length: int
    inputs: Tensor


def check_objective(objective: Objective, *, model: ModelConfig | None = None) -> None:
    """Check an objective and its default decoder. Raises ConformanceError: a line for each broken rule.

    model: a small one to check it with; a Transformer of two layers if None.
    """
    subjects = [ObjectiveSubject(objective, model or small_transformer(), *case) for case in CASES]

    def on_each(rule: Any) -> Any:
        def applied(_: None) -> None:
            skipped = 0
            for subject in subjects:
                try:
                    rule(subject)
                except DoesNotApplyError:
                    skipped += 1
                except ConformanceError as error:
                    raise ConformanceError(f"{error} (task {subject.task}, {subject.order})") from None
            if skipped == len(subjects):
                raise DoesNotApplyError

        applied.__doc__ = rule.__doc__
        return applied

    check_all(f"objective {objective.name!r}", [on_each(rule) for rule in OBJECTIVE_RULES], lambda: None)


def small_transformer() -> GPT:
    """Return the model that objectives are checked with."""
    return GPT(layers=2, width=16, heads=2, attention="math")


@contextmanager
def readings(module: TrainModule, attends: Set[str] | None = None) -> Iterator[list[_Reading]]:
    """Note what is read by the model within this context.

    attends: the kinds of attention that the model says it has; None: all of its own.
    """
    model, heard = module.model, []
    hidden = model.hidden
    if attends is not None:
        model.attends = frozenset(attends)  # type: ignore[misc]

    def listening(inputs: Tensor, **options: Any) -> Tensor:
        cache = options.get("cache")
        length = inputs.shape[1] + (0 if cache is None else cache.length)
        heard.append(_Reading(kind_of(options.get("attention", "causal")), length, inputs.detach().clone()))
        return hidden(inputs, **options)

    model.hidden = listening  # type: ignore[method-assign]
    try:
        yield heard
    finally:
        del model.hidden
        if attends is not None:
            del model.attends  # that of the instance


def settings(subject: ObjectiveSubject) -> None:
    """Its settings are read back from JSON, its decoder fits, and the model has the attention it needs."""
    objective = subject.objective
    again = read(type(objective), tree(objective))
    require(again == objective, f"read back, it is {again!r}")
    require(objective.fits(objective.decoding()), f"{objective.decoding()} is not among `decoders`")
    require(objective.needs.attention in ("causal", "full", "mask"), f"needs {objective.needs.attention}")
    if objective.needs.attention not in {"causal", *subject.model.attends}:
        able = [name for name in MODELS.names() if objective.needs.attention in MODELS.get(name)().attends]
        require(False, f"it needs {objective.needs.attention} attention: check it with a model of {able}")
    require(subject.run.objective == objective, "a run cannot hold it")


def purity(subject: ObjectiveSubject) -> None:
    """View and loss are functions of batch and moment, whatever was drawn before, and change neither."""
    before, results = subject.batch.map(torch.clone), []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            np.random.seed(seed)
            results.append(subject.losses(subject.batch))
    for name, (losses, counts) in results[0].items():
        for one, other in ((losses, results[1][name][0]), (counts, results[1][name][1])):
            require(
                torch.equal(one, other), f"term {name} differs when it is asked for again: draw from `moment`"
            )
    after = subject.batch
    require(torch.equal(before.prompt, after.prompt), "it changes the batch's prompts")
    require(torch.equal(before.answer, after.answer), "it changes the batch's answers")


def rows(subject: ObjectiveSubject) -> None:
    """Losses and counts have a number for each row; they are finite, and zero together."""
    counted = 0.0
    for name, pair in subject.losses(subject.batch).items():
        for word, numbers in zip(("loss", "count"), pair, strict=True):
            require(numbers.shape == (BATCH,), f"the {word} of {name} has the shape {tuple(numbers.shape)}")
            require(numbers.isfinite().all(), f"the {word} of {name} is not finite")
            require(numbers.dtype.is_floating_point, f"the {word} of {name} is {numbers.dtype}, not a float")
        losses, counts = pair
        require((counts >= 0).all(), f"the count of {name} is negative")
        empty = losses[counts == 0]
        require((empty == 0).all(), f"rows that {name} does not count have the losses {empty.tolist()[:3]}")
        counted += counts.sum().item()
    require(counted > 0, "its terms count nothing")


def parts(subject: ObjectiveSubject) -> None:
    """The losses of some rows are those that they have in the whole batch."""
    whole = subject.losses(subject.batch)
    for some in (slice(0, None, 2), slice(1, None, 2), slice(4, 5)):
        for name, pair in subject.losses(subject.batch.rows(some), some).items():
            for word, mine, all_ in zip(("loss", "count"), pair, whole[name], strict=True):
                if not close(mine, all_[some], 1e-4):
                    raise ConformanceError(
                        f"the {word} of {name} in rows {some.start}::{some.step or 1} of the batch is "
                        f"{_few(mine)} alone and {_few(all_[some])} in the whole"
                    )


def padding(subject: ObjectiveSubject) -> None:
    """What stands in padding, and how long the padding of prompts is, changes no loss and no answer."""
    batch, prompt_mask = subject.batch, subject.batch.prompt_mask
    expected = subject.losses(batch)
    if prompt_mask is None and batch.answer_mask is None:
        raise DoesNotApplyError
    other = 1
    prompt = batch.prompt if prompt_mask is None else batch.prompt.masked_fill(~prompt_mask, other)
    answer = batch.answer.masked_fill(~subject.real, other)
    _same_losses(expected, subject.losses(replace(batch, prompt=prompt, answer=answer)), "another padding")
    if prompt_mask is None:
        return
    decoded = _decode(subject, batch)
    for row in range(BATCH):
        one, kept = slice(row, row + 1), prompt_mask[row]
        alone = batch.rows(one)
        alone = replace(alone, prompt=alone.prompt[:, kept], prompt_mask=None)
        wanted = {name: (pair[0][one], pair[1][one]) for name, pair in expected.items()}
        _same_losses(wanted, subject.losses(alone, one), f"row {row} without padding before its prompt")
        there, mine = subject.real[row], _decode(subject, alone)[0]
        require(
            torch.equal(mine[there], decoded[row][there]),
            f"row {row} is answered {mine.tolist()} without padding before its prompt, "
            f"and {decoded[row].tolist()} with it",
        )


def ignorance(subject: ObjectiveSubject) -> None:
    """A model whose weights are zero pays log V for each token that the term `answer` counts."""
    module = TrainModule(subject.run)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    view = subject.objective.view(subject.batch, subject.moment())
    if ANSWER not in view.terms:
        raise DoesNotApplyError
    losses, counts = module(view)[ANSWER], view.terms[ANSWER].count
    wanted = math.log(module.model.vocab_size) * counts
    require(close(losses, wanted, 1e-3), f"it pays {_few(losses)}, where log V x count is {_few(wanted)}")


def next_token_part(subject: ObjectiveSubject) -> None:
    """A term `next_token` is the loss of next-token prediction, and counts the same."""
    found = subject.losses(subject.batch)
    if NEXT_TOKEN not in found:
        raise DoesNotApplyError
    alone = NextToken(train_positions=subject.objective.train_positions)
    view = alone.view(subject.batch, subject.moment())
    wanted = alone.loss(subject.module.model, nn.Identity(), view)[ANSWER], view.terms[ANSWER].count
    _same_losses({NEXT_TOKEN: wanted}, {NEXT_TOKEN: found[NEXT_TOKEN]}, "beside next-token prediction alone")


def gradients(subject: ObjectiveSubject) -> None:
    """Training reaches the model, and the heads if there are any, with finite gradients."""
    module = subject.module
    module.zero_grad()
    torch.stack([losses.sum() for losses, _ in subject.losses(subject.batch).values()]).sum().backward()
    for name, part in (("model", module.model), ("heads", module.heads)):
        trained = [parameter for parameter in part.parameters() if parameter.requires_grad]
        reached = [parameter.grad for parameter in trained if parameter.grad is not None]
        require(all(grad.isfinite().all() for grad in reached), f"a gradient of the {name} is not finite")
        require(not trained or any(grad.any() for grad in reached), f"no gradient reaches the {name}")


def trained_positions(subject: ObjectiveSubject) -> None:
    """With `train_positions`, the loss counts something, and no more than without."""
    whole = subject.losses(subject.batch)
    first = subject.objective.model_copy(update={"train_positions": (0,)})
    some = subject.losses(subject.batch, objective=first)
    require(some.keys() == whole.keys(), f"the terms become {sorted(some)}")
    for name, (_, counts) in some.items():
        require(
            (counts <= whole[name][1] + 1e-4).all(),
            f"{name} counts {_few(counts)}, of {_few(whole[name][1])}",
        )
    counted, all_ = (sum(counts.sum().item() for _, counts in each.values()) for each in (some, whole))
    require(counted > 0, "the first position alone counts nothing")
    require(counted < all_, "the first position alone counts as much as all; use `self.weights(batch)`")


def lengths(subject: ObjectiveSubject) -> None:
    """No sequence is longer than `sequence_length` says, and attention is of the kind that `needs` says."""
    batch = subject.batch
    limit = subject.objective.sequence_length(batch.prompt.shape[1], batch.answer.shape[1])
    needed = subject.objective.needs.attention
    allowed = {"causal", "full", "mask"} if needed == "mask" else {"causal", needed}
    for attends, refusals in ((None, ()), (allowed & subject.module.model.attends, (ValueError,))):
        with readings(subject.module, attends) as heard, suppress(*refusals):
            subject.losses(batch)
            _decode(subject, batch)
            _forced(subject, batch)
        require(heard, "the model is never asked")
        longest = max(each.length for each in heard)
        require(longest <= limit, f"the model reads {longest} tokens, where sequence_length says {limit}")
    others = {each.attention for each in heard} - allowed  # in spite of what the model says
    require(not others, f"it asks for {sorted(others)} attention, and needs names {sorted(allowed)}")


def prompts(subject: ObjectiveSubject) -> None:
    """Where a view says that its inputs begin with the prompts, they do, and its loss asks for the states."""
    view, batch = subject.objective.view(subject.batch, subject.moment()), subject.batch
    if view.prompt is None:
        raise DoesNotApplyError
    same = torch.equal(view.inputs[:, : view.prompt], batch.prompt)
    require(same, "its inputs begin otherwise: set the view's `prompt` to None")
    model, asked = subject.module.model, []

    def states() -> Tensor:
        asked.append(view)
        return answer_states(model, view)

    subject.objective.loss(model, subject.module.heads, replace(view, states=states))
    advice = "ask by `answer_states(model, view)`, or set the view's `prompt` to None"
    require(bool(asked), f"its loss reads the prompts itself, also where a mixture has read them: {advice}")


def shown(subject: ObjectiveSubject) -> None:
    """Where `shows` says "nothing", the model reads nothing of the answer in training."""
    if subject.objective.shows not in ("prefix", "parts", "nothing"):
        raise ConformanceError(f'shows is {subject.objective.shows!r}, not "prefix", "parts" or "nothing"')
    if subject.objective.shows != "nothing":
        raise DoesNotApplyError
    _, other = next(subject.other_answers())
    read = []
    for batch in (subject.batch, other):
        with readings(subject.module) as heard:
            subject.losses(batch)
        read.append([each.inputs for each in heard])
    same = len(read[0]) == len(read[1]) and all(map(torch.equal, *read))
    require(same, "what it reads depends on the answer")


def answers(subject: ObjectiveSubject) -> None:
    """The decoder writes `room` tokens of the vocabulary, the same each time and in any batch."""
    batch, room = subject.batch, subject.batch.answer.shape[1]
    written = _decode(subject, batch)
    require(
        written.shape == (BATCH, room), f"answers have the shape {tuple(written.shape)}, not {(BATCH, room)}"
    )
    low, high = written.min().item(), written.max().item()
    require(0 <= low <= high < subject.module.model.vocab_size, f"answers hold the ids {low} to {high}")
    require(torch.equal(_decode(subject, batch), written), "the same prompts are answered differently again")
    order = torch.tensor([3, 1, 5])
    some = _decode(subject, batch.rows(order))
    require(torch.equal(some, written[order]), "answers depend on the other problems of the batch")


def forced(subject: ObjectiveSubject) -> None:
    """Teacher-forced logits of a token depend on the true answer before it, and not on what follows."""
    batch = subject.batch
    expected = _forced(subject, batch)
    shape = (*batch.answer.shape, subject.module.model.vocab_size)
    require(expected.shape == shape, f"they have the shape {tuple(expected.shape)}, not {shape}")
    for position, other in subject.other_answers():
        found = _forced(subject, other)[:, : position + 1]
        real = subject.real[:, : position + 1]
        if not close(found[real], expected[:, : position + 1][real], 1e-4):
            raise ConformanceError(
                f"the logits of tokens 0 to {position} change with token {position} and later ones"
            )


def shared_prompts(subject: ObjectiveSubject) -> None:
    """A prompt that was read ahead into a cache, and shared by forks, changes nothing."""
    batch, module = subject.batch, subject.module
    capacity = subject.objective.sequence_length(batch.prompt.shape[1], batch.answer.shape[1])
    expected = _forced(subject, batch), _decode(subject, batch)
    for count in (1, batch.prompt.shape[1] - 1):
        cache = module.model.new_cache(BATCH, capacity)
        real = None if batch.prompt_mask is None else batch.prompt_mask[:, :count]
        with torch.no_grad():
            module.model.hidden(batch.prompt[:, :count], padding=real, cache=cache)
        logits, written = _forced(subject, batch, cache.fork()), _decode(subject, batch, cache.fork())
        seen = subject.real
        require(close(logits[seen], expected[0][seen], 1e-4), f"forced logits, {count} tokens read ahead")
        require(torch.equal(written[seen], expected[1][seen]), f"answers, {count} tokens read ahead")
        require(cache.length == count, "reading a fork changes the cache")


OBJECTIVE_RULES = (
    settings,
    purity,
    rows,
    parts,
    padding,
    ignorance,
    next_token_part,
    gradients,
    trained_positions,
    lengths,
    prompts,
    shown,
    answers,
    forced,
    shared_prompts,
)


def _decode(subject: ObjectiveSubject, batch: Batch, cache: Any = None) -> Tensor:
    module = subject.module
    with torch.no_grad():
        return subject.decoder.decode(module.model, subject.heads, batch.prompts, cache)


def _forced(subject: ObjectiveSubject, batch: Batch, cache: Any = None) -> Tensor:
    module = subject.module
    with torch.no_grad():
        return subject.decoder.teacher_forced(module.model, subject.heads, batch, cache)


def _same_losses(expected: Mapping[str, Any], found: _Losses, what: str) -> None:
    for name, pair in found.items():
        for word, mine, wanted in zip(("loss", "count"), pair, expected[name], strict=True):
            if not close(mine, wanted, 1e-4):
                raise ConformanceError(f"{what}: the {word} of {name} is {_few(mine)}, not {_few(wanted)}")


def _few(numbers: Tensor) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers.flatten().tolist()[:3])
