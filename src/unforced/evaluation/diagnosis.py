"""A whole diagnosis: every diagnostic on one evaluator, what it learned when, and the verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from unforced.errors import UserError
from unforced.evaluation.by_position import after_error, by_heart, positions
from unforced.evaluation.creativity import forms_of, measures, recited
from unforced.evaluation.diagnostics import (
    NO_TRAINING,
    clever_hans,
    does_not_apply,
    error_kinds,
    indecipherable_token,
    nothing_decided,
    probability,
    snowball,
)
from unforced.evaluation.evaluator import Evaluator
from unforced.evaluation.head_accuracy import head_accuracy
from unforced.evaluation.learning import grokking, learned
from unforced.evaluation.probe import Probe, probe
from unforced.evaluation.reliance import reliance
from unforced.evaluation.set_verdict import judge_set
from unforced.evaluation.statistics import CONFIDENCE, Estimate, problems_needed, proportion, share
from unforced.evaluation.verdict import MARGIN, Evidence, judge
from unforced.evaluation.writing import accuracy_by_steps, writing_order
from unforced.tasks.base import Problems, Task
from unforced.tasks.sampling import split_size
from unforced.wording import typed


def diagnose(
    evaluator: Evaluator,
    train: Problems | None,
    held_out: Problems,
    confidence: float = CONFIDENCE,
    all_of_training: bool = False,
) -> dict[str, Any]:
    """Diagnose a evaluator from problems that it was trained on and problems that it was not.

    train: None where nobody says which those were; then what depends on them does not apply, and the verdict
    is reached without them or is inconclusive. all_of_training: `train` is the whole training set, so that
    its accuracy needs no interval.
    Returns JSON values: `verdict` and a section per diagnostic; docs/metrics.md defines each number. Some
    sections are there only for certain objectives and decoders (RARER of the glossary).
    Raises UserError if there are too few held-out problems for the confidence, and the task has more.
    """
    check_enough(len(held_out), confidence, evaluator.task)
    known = None if train is None else probe(evaluator, train, counterfactuals=False)
    fresh = probe(evaluator, held_out)
    fitted = None if known is None else _exact(known, confidence)
    as_trained = None if known is None else _as_trained(known, confidence)
    if fitted and as_trained and all_of_training:
        fitted, as_trained = (
            each | {"low": each["value"], "high": each["value"]} for each in (fitted, as_trained)
        )
    unknown = does_not_apply(NO_TRAINING)
    as_trained_test = _as_trained(fresh, confidence)
    is_open = evaluator.task.of_a_set is not None
    sections = {
        "exact": {
            "train": fitted or unknown,
            "test": _exact(fresh, confidence),
            "as_trained": does_not_apply(nothing_decided(evaluator))
            if is_open
            else {"train": as_trained or unknown, "test": as_trained_test},
        },
        "clever_hans": clever_hans(fresh, confidence),
        "indecipherable_token": indecipherable_token(known, fresh, confidence),
        "snowball": snowball(fresh, confidence),
        "error_kinds": error_kinds(fresh),
        "probability": probability(fresh),
    }
    rarer = {
        "writing_order": writing_order(evaluator, held_out, confidence),
        "decoding_steps": accuracy_by_steps(evaluator, held_out, confidence),
        "heads": head_accuracy(evaluator, held_out, confidence),
        **_without_counterfactuals(known, fresh, confidence, all_of_training),
    }
    sections |= {name: measures for name, measures in rarer.items() if measures is not None}
    evidence = Evidence(
        what="right at the positions trained" if evaluator.trained_positions_note else "whole answers",
        problems=len(fresh),
        all_of_them=len(fresh) == split_size(evaluator.task, "test"),
        test_exact=sections["exact"]["test"],
        train_exact=fitted,
        as_trained=as_trained or as_trained_test,
        decoder=str(evaluator.decoder),
        clever_hans=sections["clever_hans"],
        decisions=sections["indecipherable_token"],
        snowball=sections["snowball"],
        reliance=sections.get("reliance", {}),
        after_error=sections.get("after_error", {}),
    )
    new = None if known is None else creative(known, fresh, confidence)
    if new is not None:
        sections["creativity"] = new
    verdict = judge(evidence) if new is None or fitted is None else judge_set(new, fitted, confidence)
    problems = {"train": 0 if known is None else len(known), "test": len(fresh)}
    found = {"verdict": verdict.as_dict(), "confidence": confidence, "problems": problems}
    return found | evaluator.decoded() | sections


def _without_counterfactuals(
    known: Probe | None, fresh: Probe, confidence: float, all_of_training: bool
) -> dict[str, Any]:
    """Measure what stands for counterfactuals where a task has none; nothing where it has."""
    task = fresh.evaluator.task
    if task.lookahead is not None or task.of_a_set is not None:
        return {}
    return {
        "positions": positions(fresh, confidence),
        "by_heart": does_not_apply(NO_TRAINING)
        if known is None
        else by_heart(known, fresh, confidence, all_of_training),
        "reliance": reliance(fresh.evaluator, fresh.problems, confidence),
        "after_error": after_error(fresh, confidence),
    }


def creative(known: Probe, fresh: Probe, confidence: float) -> dict[str, Any] | None:
    """Say how much is new of the answers to held-out problems; None where a task is not open-ended.

    Of a model that was trained elsewhere, what it was trained on are the training problems given.
    """
    evaluator, free = fresh.evaluator, known.responses.free
    task = evaluator.task
    if task.of_a_set is None:
        return None
    if evaluator.trained_forms is None:
        evaluator = replace(evaluator, trained_forms=partial(forms_of, task, known.truth))
    found = evaluator.creativity(
        fresh.problems, fresh.responses.free, task.score(fresh.problems, fresh.responses.free)
    )
    assert found is not None
    said = recited(task, known.problems, free, task.score(known.problems, free).exact)
    by_heart = share(said, np.ones_like(said), confidence)
    return measures(found, by_heart or does_not_apply("no training problem asks for one's own"), confidence)


def check_enough(count: int, confidence: float, task: Task) -> None:
    """Raise UserError unless `count` problems can carry a verdict at this confidence, or are all."""
    needed, size = problems_needed(confidence, MARGIN / 2), split_size(task, "test")
    if count < needed and (size is None or count < size):
        enough = f"{typed('count', needed)} or more"
        if size is not None and size < needed:
            enough = f"{typed('count', size)}, all there are"
        raise UserError(
            f"{count} held-out problems are too few for a verdict at confidence {confidence:g}, which takes "
            f"{needed} (intervals of ±{100 * MARGIN / 2:g} points): use {enough}; "
            "accuracies can be measured on any number with `unforced evaluate`"
        )


def history(
    evaluator: Evaluator, held_out: Problems, lines: Sequence[Mapping[str, Any]], stream: bool
) -> dict[str, Any]:
    """Say what a run learned when, from the lines of its metrics.jsonl; a `stream` has no set to fit."""
    task, mode, positions = evaluator.task, evaluator.trained_mode, evaluator.objective.train_positions
    reason = "a stream of fresh problems has no training set to fit" if stream else nothing_decided(evaluator)
    late = (
        does_not_apply(reason) if reason else grokking(lines, _chances(evaluator, held_out), mode, positions)
    )
    if task.of_a_set is not None:
        return {"learned": does_not_apply(nothing_decided(evaluator)), "grokking": late}
    found = learned(lines, task.answer_length if task.unique_answer else 0, mode, positions)
    if "order" in found and not task.unique_answer:
        found["order"] = does_not_apply(f"{task} has several right answers: no token by itself is right")
    return {"learned": found, "grokking": late}


def _chances(evaluator: Evaluator, problems: Problems) -> dict[int, float]:
    """Return the accuracy without lookahead of decisive positions, over all problems that have them."""
    ahead = evaluator.lookahead
    if ahead is None:
        return {}
    having = evaluator.task.exists(evaluator.task.answers(problems)).sum(axis=0)
    share = ahead.decisive(problems).sum(axis=0) / np.maximum(having, 1)
    chances = ahead.position_chances(evaluator.shows != "nothing")
    return {i: float(share[i] * chances[i] + 1 - share[i]) for i in ahead.decisive_positions if having[i]}


def _exact(asked: Probe, confidence: float) -> Estimate:
    """Count whole free answers; where the loss counts some positions alone, predictions right at those."""
    if asked.evaluator.objective.train_positions is not None:
        return _as_trained(asked, confidence)
    exact = asked.evaluator.task.score(asked.problems, asked.responses.free).exact
    return proportion(int(exact.sum()), len(exact), confidence)


def _as_trained(asked: Probe, confidence: float) -> Estimate:
    """Count the problems in which every position that is trained is right on the inputs of training."""
    positions = asked.evaluator.objective.train_positions
    right = asked.right if positions is None else asked.right[:, list(positions)]
    return proportion(int(right.all(axis=1).sum()), len(right), confidence)
