"""How far predictions rely on the true answer so far: it is hidden, or another answer's is put in its place.

    true     ... =  P  a  r  i  s        predictions of  a r i s
    hidden   ... =  $  $  $  $           of the same, from the prompt (and places) alone
    swapped  ... =  R  o  m  e           of the same, or do they go on with Rome?

A mask token hides where training shows it; where it does not, each token gives way to one of another answer
at the same place (of a shorter one, counted on from its beginning): what was never read in training would
measure surprise. Tokens are those of the codec, in order of generation.
"""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from unforced.data.batch import Batch
from unforced.decoding.modes import MOST_ASKED
from unforced.evaluation.evaluator import Evaluator, columns
from unforced.evaluation.statistics import mean_of, share
from unforced.tasks.base import Marks, Problems

Measures = dict[str, Any]
Tokens = Int[Tensor, "batch answer"]


def reliance(evaluator: Evaluator, problems: Problems, confidence: float) -> Measures:
    """Measure accuracy behind the first token with the true answer so far, without it, and with another's.

    Returns `hidden`, `swapped` (accuracies of the true tokens), their `..._gap` to the same tokens given the
    true answer, and `follows`: how often a prediction goes on with the answer that was put in.
    """
    if evaluator.shows == "nothing":
        name = evaluator.objective.name
        return {"does_not_apply": f"{name} is not trained on the true answer so far: it cannot rely on it"}
    if evaluator.trained_positions_note:
        return {"does_not_apply": evaluator.trained_positions_note}
    some = problems.take(slice(min(len(problems), MOST_ASKED)))
    asked = columns(evaluator, some, lambda batch: _ask(evaluator, batch))
    given, hidden, is_hidden, swapped, is_swapped, followed, differs = asked
    if not is_hidden.any() or not is_swapped.any():
        return {"does_not_apply": "no answer has a second token, or all answers are the same"}
    measures: Measures = {
        "hidden_by": "the mask token" if evaluator.shows == "parts" else "tokens of other answers",
        "given": share(given, is_hidden, confidence),
    }
    for name, right, among in (("hidden", hidden, is_hidden), ("swapped", swapped, is_swapped)):
        measures[name] = share(right, among, confidence)
        measures[f"{name}_gap"] = mean_of(_lost(given, right, among), confidence)
    follows = share(followed, is_swapped & differs, confidence)
    return measures | {"follows": follows or {"does_not_apply": "all answers go on with the same tokens"}}


def _lost(given: Marks, right: Marks, among: Marks) -> Any:
    """Return the share of tokens that each problem loses."""
    rows = among.any(axis=1)
    return ((given * 1.0 - right) * among).sum(axis=1)[rows] / among.sum(axis=1)[rows]


def _ask(evaluator: Evaluator, batch: Batch) -> tuple[Any, ...]:
    """Predict each token given the true ones before it, hidden ones, and those of the next problem."""
    true, inner = batch.answer, _inner(batch)
    other, other_inner = true.roll(1, 0), inner.roll(1, 0)
    strange, moved = _in_place(evaluator, batch, inner), torch.where(other_inner, other, true)
    given, hidden, swapped = (
        evaluator.forced_logits(replace(batch, answer=answer)).argmax(-1) for answer in (true, strange, moved)
    )
    real = batch.real_answer
    reaches = ~_any_before(~other_inner)
    found = (
        given == true,
        hidden == true,
        real & _any_before(strange != true),
        swapped == true,
        real & reaches & _any_before(other != true),
        swapped == other,
        (other != true) & real.roll(1, 0),
    )
    return tuple(each.numpy(force=True) for each in found)


def _inner(batch: Batch) -> Bool[Tensor, "batch answer"]:
    """Mark the real tokens of answers, but for the one that ends them."""
    real = batch.real_answer
    return real if batch.end is None else real & (batch.answer != batch.end)


def _in_place(evaluator: Evaluator, batch: Batch, inner: Bool[Tensor, "batch answer"]) -> Tokens:
    """Replace tokens of answers by the mask token, or each by one of another answer at the same place."""
    if evaluator.shows == "parts":
        return torch.where(inner, batch.mask_token, batch.answer)
    count, device = len(batch), inner.device
    if count == 1:
        return batch.answer
    row = torch.arange(count, device=device)[:, None]
    place = torch.arange(batch.answer.shape[1], device=device)[None]
    other = (row + 1 + place % (count - 1)) % count  # never the row itself
    theirs = (~inner).int().argsort(dim=1, stable=True)  # places, those with a token first
    tokens = batch.answer[other, theirs[other, place % inner.sum(1).clamp(min=1)[other]]]
    return torch.where(inner, tokens, batch.answer)


def _any_before(marks: Bool[Tensor, "batch answer"]) -> Bool[Tensor, "batch answer"]:
    """Say of each place whether any place before it is marked."""
    return marks.int().cumsum(1) - marks.int() > 0
