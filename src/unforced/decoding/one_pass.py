"""Decoding in one pass.

prompt  1,7|1,4|7,9|4,2/1,9=     answer   1 7 9
inputs  ... =  $  $              written  1 7 9
"""

from typing import Literal

from torch import nn

from unforced.data.batch import Batch, Prompts
from unforced.decoding.base import Logits, ParallelDecoder, behind_prompts, next_token_logits
from unforced.models.base import Cache, SequenceModel


class OnePass(ParallelDecoder):
    """Writes the whole answer at once, behind the prompt and a mask token for each answer token but the last.

    Source: arXiv 2403.06963, Sec. 5; arXiv 2311.13581.
    """

    name: Literal["one_pass"] = "one_pass"

    def logits(
        self, model: SequenceModel, heads: nn.Module, prompts: Prompts, cache: Cache | None = None
    ) -> Logits:
        """Feed mask tokens."""
        masked = prompts.tokens.new_full((len(prompts), prompts.room - 1), prompts.mask_token)
        return behind_prompts(model, prompts.tokens, prompts.mask, masked, cache)

    def teacher_forced(
        self, model: SequenceModel, heads: nn.Module, batch: Batch, cache: Cache | None = None
    ) -> Logits:
        """Feed the true answer."""
        return next_token_logits(model, batch, cache)
