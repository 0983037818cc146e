"""Traces: what a model predicts at each position of an answer, for problems and counterfactual prompts.

    problem  1,7|1,4|7,9|4,2/1,9=          another question  1,7|1,4|7,9|4,2/1,2=
    forced   1 (1.00)  7 (.52) 4 (.48)  9 (1.00)      its inputs are the true answer so far
    free     1 (1.00)  7 (.52) 4 (.48)  9 (1.00)      its inputs are what it said itself

The numbers are JSON values for a page to show, of few problems: they illustrate, and measure nothing.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from unforced.data.batch import Batch
from unforced.decoding.base import Logits, ParallelDecoder
from unforced.evaluation.evaluator import Evaluator
from unforced.evaluation.probe import spread
from unforced.tasks.base import Problems, Symbols, Task, in_order
from unforced.tasks.problems import END

MOST_OTHERS = 3
"""How many other questions about a problem are traced, at the most."""
TOP = 5
"""How many symbols are named at each position."""
_DIGITS = 4


def trace(evaluator: Evaluator, problems: Problems) -> dict[str, Any]:
    """Trace a evaluator on problems, and on other questions about each.

    Returns `order`, `shows`, `writes`, `reads_answers`, and `problems`: for each, a list of questions, the
    problem's own first. A question holds its `prompt` and `answer` as text, its `drawing` (see `Pictures`)
    and `decisive` positions; the `true` answer and the `free` one with its `verdict`; and, where
    `reads_answers`, the `forced` predictions: in training or in decoding, the evaluator reads some of an
    answer. The top symbols with their probabilities are under `chances`: `free` (the model's own answer so
    far as input, or its one pass over the prompt), and `forced`, a list per answer position, all in forward
    order. A list is empty where its probabilities are unknown, as of an answer that is written in any
    order.
    """
    ahead = evaluator.task.lookahead
    asked = [problems, *spread(ahead.counterfactual_prompts(problems) if ahead else [], MOST_OTHERS)]
    with evaluator.inference():
        columns = [list(_questions(evaluator, each)) for each in asked]
    return {
        "order": evaluator.order,
        "shows": evaluator.shows,
        "writes": evaluator.writes,
        "reads_answers": _reads_answers(evaluator),
        "problems": [_different(questions) for questions in zip(*columns, strict=True)],
    }


def _reads_answers(evaluator: Evaluator) -> bool:
    """Whether the evaluator reads any of an answer, a true one in training or its own in decoding."""
    return evaluator.shows != "nothing" or evaluator.writes != "one_pass"


def symbol_texts(task: Task, symbols: Int[np.ndarray, " length"]) -> list[str]:
    """Write an answer symbol by symbol, up to its end; what is not a symbol becomes `?`."""
    alphabet, given = task.alphabet, symbols.tolist()
    if task.varied and END in given:
        given = given[: given.index(END)]
    return ["?" if symbol < 0 else alphabet[symbol] for symbol in given]


def _different(questions: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    """Leave out questions that are the same: a problem that cannot be altered stays as it is."""
    return list({question["prompt"]: question for question in reversed(questions)}.values())[::-1]


def _questions(evaluator: Evaluator, problems: Problems) -> Iterator[dict[str, Any]]:
    for start in range(0, len(problems), evaluator.rows):
        some = problems.take(slice(start, start + evaluator.rows))
        yield from _ask(evaluator, some, np.arange(start, start + len(some)))


def _ask(
    evaluator: Evaluator, problems: Problems, numbers: Int[np.ndarray, " count"]
) -> Iterator[dict[str, Any]]:
    task, batch = evaluator.task, evaluator.encode(problems, numbers=numbers)
    free, chances, forced = evaluator.free(batch), {}, {}
    if _reads_answers(evaluator):
        logits = evaluator.forced_logits(batch)
        forced = {"forced": evaluator.codec.read_beside(logits.argmax(-1), batch)}
        chances["forced"] = _probabilities(evaluator, logits, batch)
    chances["free"] = _freely(evaluator, problems, batch, free)
    verdicts, truth = task.score(problems, free), task.answers(problems)
    decisive = np.zeros_like(truth) if task.lookahead is None else task.lookahead.decisive(problems)
    for row, (prompt, answer) in enumerate(task.texts(problems, evaluator.order)):
        yield {
            "prompt": prompt,
            "answer": answer,
            "drawing": task.drawing(problems, row) | _own(task, free[row], verdicts.exact[row]),
            "decisive": np.flatnonzero(decisive[row]).tolist(),
            "true": symbol_texts(task, truth[row]),
            "free": symbol_texts(task, free[row]),
            "verdict": verdicts.kinds[verdicts.kind[row]],
            **{mode: symbol_texts(task, each[row]) for mode, each in forced.items()},
            "chances": {mode: _top(task, each[row]) for mode, each in chances.items()},
        }


def _own(task: Task, answer: Int[np.ndarray, " length"], right: bool | np.bool_) -> dict[str, list[str]]:
    """Draw an answer that is right, and may be another than the reference."""
    if not right or task.pictures is None or task.pictures.draw_answer is None:
        return {}
    return {"own": task.pictures.draw_answer([symbol for symbol in answer.tolist() if symbol >= 0])}


def _freely(
    evaluator: Evaluator, problems: Problems, batch: Batch, free: Symbols
) -> Float[np.ndarray, "count length n"]:
    """Return the probabilities of the tokens of free-running answers; NaN where they are unknown."""
    if evaluator.writes == "left_to_right":
        return on_its_own(evaluator, problems, free)
    if isinstance(evaluator.decoder, ParallelDecoder):
        heads = evaluator.heads_for(evaluator.decoder)
        logits = evaluator.decoder.logits(evaluator.model, heads, batch.prompts)
        return _probabilities(evaluator, logits, batch)
    return np.full((*free.shape, evaluator.task.answer_symbols), np.nan)


def on_its_own(
    evaluator: Evaluator, problems: Problems, free: Symbols
) -> Float[np.ndarray, "count length n"]:
    """Return probabilities with the evaluator's own answers as input; NaN behind what is not a symbol."""
    task = evaluator.task
    none, lengths = (free < 0) | (free >= task.answer_symbols), task.lengths(free)
    none &= task.exists(free)
    batch = evaluator.encode(problems, np.where(none, 0, free))
    probabilities = _probabilities(evaluator, evaluator.forced_logits(batch), batch)
    written = in_order(none, evaluator.order, lengths)
    after = written.cumsum(axis=1) - written > 0
    probabilities[in_order(after, evaluator.order, lengths)] = np.nan
    return probabilities


def _probabilities(evaluator: Evaluator, logits: Logits, batch: Batch) -> Float[np.ndarray, "count length n"]:
    positions = range(evaluator.task.answer_length)
    return np.stack([evaluator.codec.probabilities(logits, batch, each) for each in positions], axis=1)


def _top(task: Task, probabilities: Float[np.ndarray, "length n"]) -> list[list[tuple[str, float]]]:
    """Name the most probable symbols at each position, the first one first; leave out what is not known."""
    known = np.nan_to_num(probabilities, nan=-1.0)
    return [
        [
            (task.alphabet[i], round(float(row[i]), _DIGITS))
            for i in np.argsort(-row, kind="stable")[:TOP]
            if row[i] >= 0
        ]
        for row in known
    ]
