"""Problems that a model is asked about, and the room that it has to answer them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unforced.data.codec import Codec, SymbolCodec
from unforced.errors import UserError
from unforced.evaluation.probe import spread
from unforced.models.huggingface import FIELD
from unforced.objectives.base import Objective
from unforced.tasks.base import Order, Problems, Task

_OTHER_QUESTIONS = 4  # whose lengths are looked at


@dataclass(frozen=True)
class Given:
    """Problems to ask about, and where each one is: in a line of `source`, or by its number there.

    whole: they are all of the training set.
    """

    problems: Problems
    source: str
    whole: bool = False
    lines: Sequence[int] | None = None

    def place(self, task: Task, row: int) -> str:
        """Say where a problem is: in the task's own words, if it has some."""
        if own := task.place(self.problems, row):
            return own
        return f"problem {row} of {self.source}" if self.lines is None else f"{self.source}:{self.lines[row]}"


@dataclass(frozen=True)
class _Lengths:
    """The tokens of the longest prompt and of the longest answer, and where that prompt is."""

    prompt: int
    answer: int
    place: str


def with_room(
    codec: Codec,
    objective: Objective,
    order: Order,
    given: Sequence[Given],
    limits: Mapping[str, int],
    name: str,
) -> Codec:
    """Leave answers the room that a network has behind the longest prompt.

    given: problems, at least one. limits: tokens that the network reads, as `length_limits` says. name: of
    the network. Raises UserError: problems are longer than what it reads.
    """
    most = min(limits.values(), default=math.inf)
    if objective.sequence_length(codec.prompt_length, codec.answer_length) <= most:
        return codec
    longest = _longest(codec, order, given)
    beyond = objective.sequence_length(longest.prompt, codec.answer_length) - most
    room = codec.answer_length - int(beyond)
    if room < longest.answer:
        reads = min(limits, key=lambda words: limits[words])
        raise UserError(
            f"{name} {reads} {most} tokens, and {longest.place} has {longest.prompt} in its prompt, "
            f"which leaves no room for answers of up to {longest.answer}; leave such problems out, or give "
            "the task that it was trained on",
            about=FIELD,
        )
    return replace(codec, prompt_length=longest.prompt, answer_length=min(room, codec.answer_length))


def _longest(codec: Codec, order: Order, given: Sequence[Given]) -> _Lengths:
    """Measure problems, and some of the other questions that diagnosis asks."""
    found = []
    for some in given:
        for problems in (some.problems, *_other_questions(codec.task, some.problems)):
            batch = codec.encode(problems, order)
            lengths = np.full(len(batch), batch.prompt.shape[1])
            if batch.prompt_mask is not None:
                lengths = batch.prompt_mask.sum(1).numpy()
            mask = None if isinstance(codec, SymbolCodec) else batch.answer_mask
            answer = codec.answer_length if mask is None else int(mask.sum(1).max())
            place = replace(some, problems=problems).place(codec.task, int(lengths.argmax()))
            found.append(_Lengths(int(lengths.max()), answer, place))
    prompt = max(found, key=lambda each: each.prompt)
    return replace(prompt, answer=max(each.answer for each in found))


def _other_questions(task: Task, problems: Problems) -> list[Problems]:
    ahead = task.lookahead
    return [] if ahead is None else spread(ahead.counterfactual_prompts(problems), _OTHER_QUESTIONS)
