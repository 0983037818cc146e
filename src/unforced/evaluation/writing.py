"""How decoders that choose their order write: in which order, and how well in fewer steps.

    answer  1 7 9      written  1 at step 0, 9 at step 1, 7 at step 2      rank correlation with the path: 0.5

Functions return None where the question does not arise.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from unforced.data.codec import SymbolCodec
from unforced.decoding.any_order import AnyOrderDecoder
from unforced.decoding.base import Decoder
from unforced.decoding.modes import MOST_REPEATED, MOST_STEP_COUNTS
from unforced.evaluation.evaluator import Evaluator, answers, columns
from unforced.evaluation.statistics import mean_of, proportion
from unforced.tasks.base import Problems


def writing_order(evaluator: Evaluator, problems: Problems, confidence: float) -> dict[str, Any] | None:
    """Measure when a decoder writes what.

    Returns `correlation`, of the step with the position on the path, mean over problems, and `step`, the mean
    step from 1 at which each answer position is written.
    """
    decoder = evaluator.decoder
    if not isinstance(decoder, AnyOrderDecoder):
        return None
    heads = evaluator.heads_for(decoder)

    def ask(batch: Any) -> tuple[Any, Any]:
        written = decoder.write(evaluator.model, heads, batch.prompts)
        return written.tokens.numpy(force=True), written.step.numpy(force=True)

    tokens, step = columns(evaluator, problems, ask)
    codec = evaluator.codec
    real = tokens != codec.mask_token  # which fills up what was left unwritten
    if codec.end is not None:
        real &= np.cumsum(tokens == codec.end, axis=1) == 0
    found = rank_correlations(step, real)
    found = (found if evaluator.order == "forward" else -found)[~np.isnan(found)]
    if not len(found):
        return {"does_not_apply": f"{decoder} writes all of an answer in one step"}
    measures: dict[str, Any] = {"correlation": mean_of(found, confidence)}
    if isinstance(codec, SymbolCodec):  # else a symbol may take several tokens
        measures["step"] = _steps(evaluator, step, real)
    return measures


def rank_correlations(
    step: Int[np.ndarray, "count length"], real: Bool[np.ndarray, "count length"]
) -> Float[np.ndarray, " count"]:
    """Return Spearman's correlation of step and place in each row, over real entries.

    NaN where there are fewer than two of them, or all have the same step. Equal steps share a mean rank.
    """
    pairs = real[:, None] & real[:, :, None]
    earlier = (step[:, None] < step[:, :, None]) & pairs
    equal = (step[:, None] == step[:, :, None]) & pairs
    ranks = earlier.sum(axis=2) + (equal.sum(axis=2) - 1) / 2
    count = real.sum(axis=1)
    centred = np.where(real, ranks - (count[:, None] - 1) / 2, 0.0)
    places = np.where(real, np.cumsum(real, axis=1) - (count[:, None] + 1) / 2, 0.0)
    spread = np.sqrt((centred**2).sum(axis=1) * (places**2).sum(axis=1))
    products = (centred * places).sum(axis=1)
    return np.divide(products, spread, out=np.full(len(step), np.nan), where=spread > 0)


def _steps(
    evaluator: Evaluator, step: Int[np.ndarray, "count length"], real: Bool[np.ndarray, "count length"]
) -> dict[str, float]:
    place = np.broadcast_to(np.arange(step.shape[1]), step.shape)
    if evaluator.order == "reversed":
        place = real.sum(axis=1, keepdims=True) - 1 - place
    at = {position: real & (place == position) for position in range(evaluator.task.answer_length)}
    return {f"token_{i}": float(step[marks].mean()) + 1 for i, marks in at.items() if marks.any()}


def accuracy_by_steps(evaluator: Evaluator, problems: Problems, confidence: float) -> dict[str, Any] | None:
    """Answer again with other numbers of decoding steps; return whole answers right, by the verifier."""
    others = _with_steps(evaluator.decoder, evaluator.codec.answer_length)
    if not others:
        return None
    some = problems.take(slice(min(len(problems), MOST_REPEATED)))
    measures = {}
    for steps, decoder in others.items():
        other = replace(evaluator, decoder=decoder)
        exact = evaluator.task.score(some, answers(other, some, other.free)).exact
        measures[f"steps_{steps}"] = proportion(int(exact.sum()), len(exact), confidence)
    return measures


def _with_steps(decoder: Decoder, answer: int) -> dict[int, Decoder]:
    """Return the decoder with numbers of steps up to one per token that fit it, spread over all of these."""
    if "steps" not in type(decoder).model_fields:
        return {}
    found = {n: each for n in range(1, answer + 1) if (each := _fitting(decoder, n, answer)) is not None}
    counts, most = list(found), min(len(found), MOST_STEP_COUNTS)
    kept = [counts[round(i)] for i in np.linspace(0, len(counts) - 1, most)] if most else []
    return {n: found[n] for n in kept}


def _fitting(decoder: Decoder, steps: int, answer: int) -> Decoder | None:
    other = decoder.model_copy(update={"steps": steps})
    try:
        other.check(answer)
    except ValueError:
        return None
    return other
