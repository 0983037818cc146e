"""Labelled batches of transformers as batches of prompts and answers.

input_ids  = 1 7 9 .        labels  - 1 7 9 -        prompt  = on the left      answer  1 7 9 on the right
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from unforced.data.batch import Batch
from unforced.errors import UserError
from unforced.integrations.answer_collator import IGNORED


def answer_batch(inputs: Mapping[str, Tensor], mask_token: int, specials: Mapping[str, int]) -> Batch:
    """Move prompts to the right and answers to the left, wherever the batch is padded.

    inputs: `input_ids`, `labels` that are -100 except over the answer, and `attention_mask` (all real, if it
    is left out). mask_token, specials: as in Batch. Raises UserError if a row is no prompt and answer.
    """
    ids, labels = inputs["input_ids"], inputs["labels"]
    mask = inputs.get("attention_mask")
    real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
    labelled = labels != IGNORED
    place = torch.arange(ids.shape[1], device=ids.device)
    first, length = labelled.int().argmax(1, keepdim=True), labelled.sum(1, keepdim=True)
    before = (real & (place < first)).sum(1, keepdim=True)
    _check(ids, labels, real, place, first, length, before)
    widths = int(before.max()), int(length.max())
    from_left = torch.arange(widths[0], device=ids.device) - widths[0]
    from_right = torch.arange(widths[1], device=ids.device)
    return Batch(
        ids.gather(1, (first + from_left).clamp(min=0)),
        ids.gather(1, (first + from_right).clamp(max=ids.shape[1] - 1)),
        mask_token,
        _unless_all(from_left >= -before),
        _unless_all(from_right < length),
        specials=specials,
    )


def _check(
    ids: Int[Tensor, "batch time"],
    labels: Int[Tensor, "batch time"],
    real: Bool[Tensor, "batch time"],
    place: Int[Tensor, " time"],
    first: Int[Tensor, "batch 1"],
    length: Int[Tensor, "batch 1"],
    before: Int[Tensor, "batch 1"],
) -> None:
    labelled = labels != IGNORED
    if bool((length == 0).any()) or bool((before == 0).any()):
        raise UserError("labels: a row of a batch has no prompt or no answer; drop such rows from the data")
    if bool((labelled != (place >= first) & (place < first + length)).any()):
        raise UserError(
            f"labels: those of a row are {IGNORED} behind the answer's first token; a row has one prompt and "
            "one answer, so cut it into one row for each answer"
        )
    if bool(((real & (place < first)) != (place >= first - before) & (place < first)).any()):
        raise UserError("attention_mask: it is 0 within a prompt; pad rows on the left or on the right")
    if bool((ids != labels)[labelled].any()):
        raise UserError("labels: they are not the tokens at their own places; do not shift them")


def _unless_all(mask: Bool[Tensor, "batch time"]) -> Bool[Tensor, "batch time"] | None:
    """Return a mask of which tokens are real; None where all are."""
    return None if bool(mask.all()) else mask
