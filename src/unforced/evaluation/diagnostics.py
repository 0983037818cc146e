"""The diagnostics: which tokens fail, and by which mechanism. Pure functions of what a subject answered.

Source: arXiv 2403.06963, Sec. 3 (snowballing against training failure) and 4 (Clever Hans cheat,
indecipherable token). Its code measures neither mechanism; the measures are ours, defined in docs/metrics.md.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from unforced.evaluation.probe import Probe
from unforced.evaluation.statistics import difference, product_of_accuracies, proportion, share
from unforced.tasks.base import Marks, in_order

Measures = dict[str, Any]


def does_not_apply(reason: str) -> Measures:
    """Say that there is nothing to measure, and why."""
    return {"does_not_apply": reason}


def clever_hans(asked: Probe, confidence: float) -> Measures:
    """Measure how far the true answer so far gives away the rest, whatever the plan.

    Returns `cheat_accuracy`, `wrong_arm_following`, `goal_blindness`; docs/metrics.md defines them.
    """
    subject = asked.subject
    if not subject.reads_answers:
        reason = (
            f"{subject.objective.name} is not trained on the true answer so far: it has no cheat to learn"
        )
    elif subject.order == "reversed":
        reason = "with the answer reversed, what the cheat would give away comes before the decision"
    else:
        return {
            "cheat_accuracy": _cheat_accuracy(asked, confidence),
            "wrong_arm_following": _following(asked, confidence),
            "goal_blindness": goal_blindness(asked, confidence),
        }
    return does_not_apply(reason) | {"goal_blindness": goal_blindness(asked, confidence)}


def _cheat_accuracy(asked: Probe, confidence: float) -> Measures:
    missed, given_away = (np.any(m, axis=1) for m in (asked.followers & ~asked.right, asked.followers))
    found = share(~missed, given_away, confidence)
    return found or does_not_apply("no answer position follows from the true answer before it")


def _following(asked: Probe, confidence: float) -> Measures:
    found = share(asked.answered.completed, asked.answered.fed > 0, confidence)
    return found or does_not_apply("the task has no wrong answer that a wrong decision entails")


def goal_blindness(asked: Probe, confidence: float) -> Measures:
    """Measure which predictions stay as they are when the prompt asks for something else."""
    if not asked.other_truths.shape[1]:
        return does_not_apply("the task has no other question to put in the prompt")
    order = asked.subject.order
    truth = asked.truth[:, None, :]
    differs = np.stack(
        [in_order(each, order) for each in (asked.other_truths != truth).transpose(1, 0, 2)], axis=1
    )
    after = np.cumsum(differs, axis=2) - differs > 0
    first = differs & ~after
    generated = [in_order(each, order) for each in (asked.followers, asked.answered.trained)]
    followers, before = (each[:, None, :] for each in generated)
    moved = np.stack([in_order(each, order) for each in asked.answered.moved.transpose(1, 0, 2)], axis=1)
    measures = {"decisions": share(moved == before, first, confidence)}
    if asked.subject.reads_answers and order == "forward":
        measures["followers"] = share(moved == before, after & followers, confidence)
    nothing = does_not_apply("no such position in these problems")
    return {name: found or nothing for name, found in measures.items()}


def indecipherable_token(train: Probe, held_out: Probe, confidence: float) -> Measures:
    """Compare each decisive token on training problems, on held-out ones, and at chance.

    Accuracy is taken on the inputs of training. `gap` is what memorising gains: train minus held-out.
    """
    task, measures = held_out.subject.task, {}
    for position in task.decisive_positions:
        found = [_at(asked, position, confidence) for asked in (train, held_out)]
        if found[0] is None or found[1] is None:
            measures[f"token_{position}"] = does_not_apply("decisive in none of these problems")
            continue
        measures[f"token_{position}"] = {
            "train": found[0],
            "test": found[1],
            "chance": task.position_chances[position],
            "gap": difference(found[0], found[1]),
        }
    return measures


def _at(asked: Probe, position: int, confidence: float) -> Measures | None:
    return share(asked.right[:, position], asked.decisive[:, position], confidence)


def snowball(asked: Probe, confidence: float) -> Measures:
    """Compare free answers with what errors that compound at a steady rate would give.

    Returns `free_exact`; `forced_product`, the product of forced accuracies per position; `forced` accuracies
    by position; `first_error`, counts by position of the first wrong symbol in order of generation; and
    `errors_at_decisions`, the test of whether first errors gather at decisions.
    """
    if not asked.subject.reads_answers:
        return does_not_apply(f"{asked.subject.objective.name} does not read its own answer")
    right = asked.answered.forced == asked.truth
    wrong = asked.answered.free != asked.truth
    length = right.shape[1]
    exact = asked.subject.task.score(asked.problems, asked.answered.free).exact
    counts = _first_errors(wrong, asked).sum(axis=0).tolist()
    return {
        "free_exact": proportion(int(exact.sum()), len(exact), confidence),
        "forced_product": product_of_accuracies(right, confidence),
        "forced": {
            f"token_{i}": proportion(int(right[:, i].sum()), len(right), confidence) for i in range(length)
        },
        "first_error": {f"token_{i}": counts[i] for i in range(length)},
        "errors_at_decisions": _errors_at_decisions(wrong, asked, confidence),
    }


def _first_errors(wrong: Marks, asked: Probe) -> Marks:
    """Mark the first wrong symbol of each answer, in order of generation."""
    generated = in_order(wrong, asked.subject.order)
    first = generated & (np.cumsum(generated, axis=1) == 1)
    return in_order(first, asked.subject.order)


def _errors_at_decisions(wrong: Marks, asked: Probe, confidence: float) -> Measures:
    """Test whether first errors gather at decisions, against a hazard that is the same at every position.

    `expected` is the share of first errors that would fall on decisions if each position failed at one rate,
    `p_value` is one-sided, from the binomial test.
    """
    failed = wrong.any(axis=1)
    if not failed.any():
        return does_not_apply("no answer failed")
    order = asked.subject.order
    first = _first_errors(wrong, asked)[failed]
    decisive = asked.decisive[failed]
    hits = int((first & decisive).sum())
    exposure = in_order(first, order).argmax(axis=1).sum() + len(first) + (~failed).sum() * wrong.shape[1]
    expected = _expected_share(in_order(decisive, order), len(first) / exposure)
    test = stats.binomtest(hits, len(first), expected, alternative="greater")
    return {
        "observed": proportion(hits, len(first), confidence),
        "expected": expected,
        "p_value": float(test.pvalue),
    }


def _expected_share(decisive: Bool[np.ndarray, "count length"], hazard: float) -> float:
    steps: Int[np.ndarray, " length"] = np.arange(decisive.shape[1])
    weights: Float[np.ndarray, " length"] = (
        (1 - hazard) ** steps if hazard < 1 else (steps == 0).astype(float)
    )
    return float((decisive * weights).sum(axis=1).mean() / weights.sum())


def error_kinds(asked: Probe) -> Measures:
    """Count the free answers of each kind, as the task's verifier names them."""
    return dict(asked.subject.task.score(asked.problems, asked.answered.free).counts())


def probability(asked: Probe) -> Measures:
    """Say where the probability goes at each decision: means over problems where it is one."""
    measures = {}
    answered = asked.answered
    for column, position in enumerate(asked.subject.task.decisive_positions):
        rows = asked.decisive[:, position]
        if not rows.any():
            measures[f"token_{position}"] = does_not_apply("decisive in none of these problems")
            continue
        true, options, symbols = (
            float(each[rows, column].mean(dtype=np.float64))
            for each in (answered.on_true, answered.on_options, answered.on_answers)
        )
        measures[f"token_{position}"] = {
            "true": true,
            "other_options": options,
            "other_answer_symbols": max(0.0, symbols - true - options),
            "rest": max(0.0, 1 - symbols),
        }
    return measures
