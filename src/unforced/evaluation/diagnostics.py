"""The diagnostics: which tokens fail, and by which mechanism. Pure functions of what a evaluator responses.

Source: arXiv 2403.06963, Sec. 3 (snowballing against training failure) and 4 (Clever Hans cheat,
indecipherable token). Its code measures neither mechanism; the measures are ours, defined in docs/metrics.md.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from unforced.evaluation.evaluator import Evaluator
from unforced.evaluation.probe import Probe
from unforced.evaluation.statistics import (
    difference,
    odds_ratio,
    product_of_accuracies,
    proportion,
    share,
)
from unforced.tasks.base import Marks, Order, in_order

Measures = dict[str, Any]
Lengths = Int[np.ndarray, " count"]

NO_TRAINING = "no training problems were given"
_NO_ORDER = {
    "one_pass": "does not read its own answer",
    "any_order": "does not write from left to right: no error is the first",
}
_OF_PARTS = "trained on random parts of the true answer; measured given all that is before a token"


def does_not_apply(reason: str) -> Measures:
    """Return a not-applicable marker with a reason."""
    return {"does_not_apply": reason}


def nothing_decided(evaluator: Evaluator) -> str:
    """Say why no token of a evaluator's answers is known to need lookahead; empty where one is."""
    task = evaluator.task
    if task.of_a_set is not None:
        return f"every coherent answer to {task} is right: no token has one right choice"
    if task.lookahead is None:
        return f"what needs lookahead in {task} is unknown"
    if evaluator.lookahead is None:
        return task.lookahead.backwards
    return "" if task.decisive_positions else f"nothing needs lookahead in {task}"


def clever_hans(asked: Probe, confidence: float) -> Measures:
    """Measure how far the true answer so far gives away the rest, whatever the plan.

    Returns `cheat_accuracy`, `decoy_following`, `question_blindness`; docs/metrics.md defines them.
    """
    evaluator = asked.evaluator
    blindness = question_blindness(asked, confidence)
    note = {"note": _OF_PARTS} if evaluator.shows == "parts" else {}
    if evaluator.shows == "nothing":
        reason = (
            f"{evaluator.objective.name} is not trained on the true answer so far: it has no cheat to learn"
        )
    elif nothing_decided(evaluator):
        return does_not_apply(nothing_decided(evaluator))
    elif evaluator.trained_positions_note:
        reason = evaluator.trained_positions_note
    else:
        return {
            **note,
            "cheat_accuracy": _cheat_accuracy(asked, confidence),
            "decoy_following": _following(asked, confidence),
            "question_blindness": blindness,
        }
    return does_not_apply(reason) | {"question_blindness": blindness}


def _cheat_accuracy(asked: Probe, confidence: float) -> Measures:
    missed, having = (np.any(m, axis=1) for m in (asked.given_away & ~asked.right, asked.given_away))
    found = share(~missed, having, confidence)
    return found or does_not_apply("no answer position follows from the true answer before it")


def _following(asked: Probe, confidence: float) -> Measures:
    decoder = asked.evaluator.decoder
    if not decoder.continues:
        return does_not_apply(f"{decoder} does not go on with an answer that begins in the prompt")
    found = share(asked.responses.completed, asked.responses.fed > 0, confidence)
    return found or does_not_apply("the task has no wrong answer that a wrong decision entails")


def question_blindness(asked: Probe, confidence: float) -> Measures:
    """Measure which predictions stay as they are when the prompt asks for something else."""
    others = asked.responses.other_truths
    if reason := nothing_decided(asked.evaluator):
        return does_not_apply(reason)
    if not others.shape[1]:
        return does_not_apply("the task has no other question to put in the prompt")
    differs = others != asked.truth[:, None]
    after = np.cumsum(differs, axis=2) - differs > 0
    unmoved = asked.responses.moved == asked.responses.trained[:, None]
    measures = {"decisions": share(unmoved, differs & ~after, confidence)}
    if asked.evaluator.shows != "nothing" and not asked.evaluator.trained_positions_note:
        measures["given_away"] = share(unmoved, after & asked.given_away[:, None], confidence)
    nothing = does_not_apply("no such position in these problems")
    return {name: found or nothing for name, found in measures.items()}


def indecipherable_token(train: Probe | None, held_out: Probe, confidence: float) -> Measures:
    """Compare each decisive token on training problems, on held-out ones, and at chance.

    Accuracy is taken on the inputs of training. `gap` is what memorising gains: train minus held-out.
    `margin` is how far the true token is ahead of the others, in logits: means. Where the decoder does not
    write from left to right, `written` is the accuracy in its answers, and `written_chance` that of guessing.
    """
    evaluator, measures = held_out.evaluator, {}
    if (reason := nothing_decided(evaluator)) or evaluator.lookahead is None:
        return does_not_apply(reason)
    chances = evaluator.lookahead.position_chances(evaluator.shows != "nothing")
    guesses = evaluator.lookahead.position_chances(False)
    for position in evaluator.lookahead.decisive_positions:
        known = None if train is None else _at(train, position, confidence)
        fresh = _at(held_out, position, confidence)
        if fresh is None or (known is None and train is not None):
            measures[f"token_{position}"] = does_not_apply("decisive in none of these problems")
            continue
        unknown = does_not_apply(NO_TRAINING)
        measures[f"token_{position}"] = {
            "train": known or unknown,
            "test": fresh,
            "chance": chances[position],
            "gap": unknown if known is None else difference(known, fresh),
            "margin": _margins(train, held_out, position),
        }
        if evaluator.shows != "nothing" and evaluator.writes != "left_to_right":
            right = held_out.responses.free == held_out.truth
            written = share(right[:, position], held_out.decisive[:, position], confidence)
            measures[f"token_{position}"] |= {"written": written, "written_chance": guesses[position]}
    return measures


def _margins(train: Probe | None, held_out: Probe, position: int) -> dict[str, float]:
    """Return means over training problems, held-out ones, and held-out ones that are predicted wrong."""
    fresh = _margin(held_out, position)
    means = {} if train is None else {"train": _margin(train, position).mean()}
    means["test"] = fresh.mean()
    if (fresh < 0).any():
        means["test_wrong"] = fresh[fresh < 0].mean()
    return {name: float(mean) for name, mean in means.items() if np.isfinite(mean)}


def _margin(asked: Probe, position: int) -> Float[np.ndarray, " some"]:
    column = asked.evaluator.task.decisive_positions.index(position)
    return asked.responses.margin[asked.decisive[:, position], column]


def _at(asked: Probe, position: int, confidence: float) -> Measures | None:
    return share(asked.right[:, position], asked.decisive[:, position], confidence)


def snowball(asked: Probe, confidence: float) -> Measures:
    """Compare free answers with what errors that compound at a steady rate would give.

    Returns `free_exact`; `forced_product`, the product of forced accuracies per position; `forced` accuracies
    by position; `first_error`, counts by position of the first wrong symbol in order of generation; and two
    tests of whether first errors gather, `errors_at_decisions` and `errors_at_one_position`.
    """
    evaluator = asked.evaluator
    if evaluator.writes != "left_to_right":
        return does_not_apply(f"{evaluator.decoder.name} {_NO_ORDER[evaluator.writes]}")
    if evaluator.trained_positions_note:
        return does_not_apply(evaluator.trained_positions_note)
    if not evaluator.task.unique_answer:
        return does_not_apply(f"{evaluator.task} has several right answers: no token by itself is an error")
    right, exists = asked.responses.forced == asked.truth, evaluator.task.exists(asked.truth)
    exact = evaluator.task.score(asked.problems, asked.responses.free).exact
    first = first_errors(asked, exact)
    tokens = [f"token_{i}" for i in range(right.shape[1])]
    return {
        "free_exact": proportion(int(exact.sum()), len(exact), confidence),
        "forced_product": product_of_accuracies(right, confidence),
        "forced": {
            token: proportion(int(column[there].sum()), int(there.sum()), confidence)
            for token, column, there in zip(tokens, right.T, exists.T, strict=True)
            if there.any()
        },
        "first_error": dict(zip(tokens, first.sum(axis=0).tolist(), strict=True)),
        "errors_at_decisions": _errors_at_decisions(first, asked, confidence),
        "errors_at_one_position": errors_at_one_position(
            first, evaluator.order, confidence, evaluator.task.lengths(asked.truth)
        ),
    }


def first_errors(asked: Probe, accepted: Bool[np.ndarray, " count"]) -> Marks:
    """Mark the first symbol, in order of generation, in which an answer differs from the reference.

    Answers that the verifier accepted have none.
    """
    task, order = asked.evaluator.task, asked.evaluator.order
    wrong = task.in_order(asked.responses.free, order) != task.in_order(asked.truth, order)
    wrong &= ~accepted[:, None]
    first: Marks = in_order(wrong & (np.cumsum(wrong, axis=1) == 1), order, task.lengths(asked.truth))
    return first


def _errors_at_decisions(first: Marks, asked: Probe, confidence: float) -> Measures:
    if reason := nothing_decided(asked.evaluator):
        return does_not_apply(reason)
    lengths = asked.evaluator.task.lengths(asked.truth)
    return _gathering(first, asked.decisive, asked.evaluator.order, confidence, lengths)


def errors_at_one_position(
    first: Marks, order: Order, confidence: float, lengths: Lengths | None = None
) -> Measures:
    """Test the position at which first errors exceed most what a steady hazard expects.

    It is chosen among all, so its interval and p-value are corrected for their number (Bonferroni).
    """
    length = first.shape[1]
    each_confidence = 1 - (1 - confidence) / length
    found = [
        _gathering(first, np.broadcast_to(place, first.shape), order, each_confidence, lengths)
        for place in np.eye(length, dtype=np.bool_)
    ]
    if "observed" not in found[0]:
        return found[0]
    excess = [each["observed"]["value"] - each["expected"] for each in found]
    worst = int(np.argmax(excess))
    p_value = min(1.0, length * found[worst]["p_value"])
    return {"position": f"token_{worst}", **found[worst], "p_value": p_value}


def _gathering(
    first: Marks, places: Marks, order: Order, confidence: float, lengths: Lengths | None = None
) -> Measures:
    """Test whether first errors gather at `places`, against a hazard that is the same at every position.

    `expected` is the share of first errors that would fall there if each position failed at one rate,
    `odds_ratio` compares what is observed with it, `p_value` is one-sided, from the binomial test. Where
    answers vary in length, `lengths` says how many positions each could fail at.
    """
    from scipy import stats

    failed = first.any(axis=1)
    if not failed.any():
        return does_not_apply("no answer failed")
    rest = (~failed).sum() * first.shape[1] if lengths is None else lengths[~failed].sum()
    own = None if lengths is None else lengths[failed]
    first, places = first[failed], places[failed]
    hits = int((first & places).sum())
    exposure = in_order(first, order, own).argmax(axis=1).sum() + len(first) + rest
    expected = _expected_share(in_order(places, order, own), len(first) / exposure, own)
    observed = proportion(hits, len(first), confidence)
    return {
        "observed": observed,
        "expected": expected,
        "odds_ratio": odds_ratio(observed["value"], expected),
        "p_value": float(stats.binomtest(hits, len(first), expected, alternative="greater").pvalue),
    }


def _expected_share(places: Marks, hazard: float, lengths: Lengths | None) -> float:
    steps: Int[np.ndarray, " length"] = np.arange(places.shape[1])
    weights: Float[np.ndarray, " length"] = (
        (1 - hazard) ** steps if hazard < 1 else (steps == 0).astype(float)
    )
    if lengths is None:
        return float((places * weights).sum(axis=1).mean() / weights.sum())
    each = np.where(steps < lengths[:, None], weights, 0.0)
    return float(((places * each).sum(axis=1) / each.sum(axis=1)).mean())


def error_kinds(asked: Probe) -> Measures:
    """Count the free answers of each kind, as the task's verifier names them.

    Right ones are `correct`, of open-ended tasks `coherent`.
    """
    task = asked.evaluator.task
    counts = task.score(asked.problems, asked.responses.free).counts()
    names = {"correct": "coherent"} if task.of_a_set is not None else {}
    return {names.get(kind, kind): count for kind, count in counts.items()}


def probability(asked: Probe) -> Measures:
    """Say where the probability goes at each decision: means over problems where it is one."""
    if reason := nothing_decided(asked.evaluator):
        return does_not_apply(reason)
    measures, responses = {}, asked.responses
    for column, position in enumerate(asked.evaluator.task.decisive_positions):
        rows = asked.decisive[:, position]
        if not rows.any():
            measures[f"token_{position}"] = does_not_apply("decisive in none of these problems")
            continue
        true, choices, symbols = (
            float(each[rows, column].mean(dtype=np.float64))
            for each in (responses.on_true, responses.on_choices, responses.on_answers)
        )
        if math.isnan(true):
            measures[f"token_{position}"] = does_not_apply("the tokenizer joins symbols into one token")
            continue
        measures[f"token_{position}"] = {
            "true": true,
            "other_choices": choices,
            "other_answer_symbols": max(0.0, symbols - true - choices),
            "rest": max(0.0, 1 - symbols),
        }
    return measures
