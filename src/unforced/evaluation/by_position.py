"""What the answers themselves tell where no counterfactual is known: by position, by heart, after an error.

    position     0    1    2    3        given the true answer so far, against the model's own
    forced      60%  99%  99%  99%       inaccurate at one position, and accurate behind it
    free        60%  59%  58%  58%       what was wrong there stays wrong

Source: arXiv 2403.06963, Sec. 3, asks whether errors compound at inference or are there from training; the
measures are ours, defined in docs/metrics.md.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool

from unforced.evaluation.diagnostics import first_errors
from unforced.evaluation.probe import Probe
from unforced.evaluation.statistics import Estimate, difference, mean_of, proportion, share
from unforced.tasks.base import Marks, in_order

MOST_GROUPS = 10
Measures = dict[str, Any]


def position_groups(length: int) -> dict[str, slice]:
    """Cut answer positions into ten groups at the most, the first ones narrow; name them."""
    edges = np.unique(np.geomspace(1, length + 1, min(length, MOST_GROUPS) + 1).round().astype(int)) - 1
    if length <= MOST_GROUPS:
        edges = np.arange(length + 1)
    return {
        f"token_{first}" if last - first == 1 else f"tokens_{first}_to_{last - 1}": slice(first, last)
        for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    }


def positions(asked: Probe, confidence: float) -> Measures:
    """Compare predictions given the true answer so far with the model's own answers, by position.

    `first_error` is the share of answers, of those without an error before, that go wrong in these positions
    in order of generation; measured where an error can be the first, and there is one right answer.
    """
    exists, forced = _exists(asked), asked.responses.forced == asked.truth
    free, first = asked.responses.free == asked.truth, _first_errors(asked)
    measures: Measures = {}
    for name, at in position_groups(asked.truth.shape[1]).items():
        among = exists[:, at]
        pair = share(forced[:, at], among, confidence), share(free[:, at], among, confidence)
        if pair[0] is None or pair[1] is None:
            continue
        measures[name] = {"forced": pair[0], "free": pair[1]}
        if first is not None:
            wrong = first[:, at].any(axis=1)
            at_risk = among.any(axis=1) & ~_wrong_before(asked, first, at)
            if at_risk.any():
                count = int((wrong & at_risk).sum())
                measures[name]["first_error"] = proportion(count, int(at_risk.sum()), confidence)
    return measures


def _wrong_before(asked: Probe, first: Marks, at: slice) -> Bool[np.ndarray, " count"]:
    """Mark the answers that went wrong before they came to these positions."""
    before = first[:, : at.start] if asked.evaluator.order == "forward" else first[:, at.stop :]
    wrong: Bool[np.ndarray, " count"] = np.any(before, axis=1)
    return wrong


def _first_errors(asked: Probe) -> Marks | None:
    """Mark the first error of each answer; None where none is the first, or a problem has several answers."""
    evaluator = asked.evaluator
    unclear = evaluator.writes != "left_to_right" or evaluator.trained_positions_note
    if unclear or not evaluator.task.unique_answer:
        return None
    return first_errors(asked, evaluator.task.score(asked.problems, asked.responses.free).exact)


def after_error(asked: Probe, confidence: float) -> Measures:
    """Compare the symbols behind the first error of an answer with predictions given the true answer there.

    `gap` is what a model's own error costs it: the mean over wrong answers, by the normal approximation.
    """
    first = _first_errors(asked)
    if first is None:
        return {"does_not_apply": "no error is the first one, or a problem has several right answers"}
    task, order = asked.evaluator.task, asked.evaluator.order
    lengths = task.lengths(asked.truth)
    begun = in_order(first, order, lengths)
    behind = in_order(np.cumsum(begun, axis=1) - begun > 0, order, lengths) & _exists(asked)
    rows = behind.any(axis=1)
    if not rows.any():
        return {"does_not_apply": "no wrong answer goes on behind its first error"}
    forced, free = (each == asked.truth for each in (asked.responses.forced, asked.responses.free))
    lost = ((forced * 1.0 - free) * behind).sum(axis=1)[rows] / behind.sum(axis=1)[rows]
    return {
        "forced": share(forced, behind, confidence),
        "free": share(free, behind, confidence),
        "gap": mean_of(lost, confidence),
    }


def by_heart(train: Probe, held_out: Probe, confidence: float, all_of_training: bool) -> Measures:
    """Compare training problems with held-out ones, token by token, on the inputs of training.

    `recited` is the share of wrong held-out answers that are the true answer to a training problem, where few
    of the right ones are.
    """
    tokens = []
    for asked in (train, held_out):
        found = share(asked.right, _exists(asked), confidence)
        assert found is not None
        tokens.append(found)
    if all_of_training:
        tokens[0] |= {"low": tokens[0]["value"], "high": tokens[0]["value"]}
    return {
        "tokens": {"train": tokens[0], "test": tokens[1], "gap": difference(*tokens)},
        "recited": _recited(train, held_out, confidence),
    }


def _recited(train: Probe, held_out: Probe, confidence: float) -> Measures | Estimate:
    known = {row.tobytes() for row in np.ascontiguousarray(train.truth, dtype=np.int64)}
    common = _among(held_out.truth, known).mean()
    if common > 0.5:
        return {"does_not_apply": f"{common:.0%} of the right answers are answers to training problems, too"}
    wrong = ~held_out.evaluator.task.score(held_out.problems, held_out.responses.free).exact
    if not wrong.any():
        return {"does_not_apply": "no answer failed"}
    said = _among(held_out.responses.free[wrong], known)
    return proportion(int(said.sum()), len(said), confidence)


def _among(answers: Any, known: set[bytes]) -> Bool[np.ndarray, " count"]:
    rows = np.ascontiguousarray(answers, dtype=np.int64)
    return np.array([row.tobytes() in known for row in rows], dtype=np.bool_)


def _exists(asked: Probe) -> Marks:
    return asked.evaluator.task.exists(asked.truth)
