"""Decoding by filling in a masked answer, the surest tokens first.

prompt  1,7|1,4|7,9|4,2/1,9=     answer   1 7 9
inputs  ... = $ $ $              written  1 . 9     steps=2
inputs  ... = 1 $ 9              written  1 7 9
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from unforced.data.batch import Batch, Prompts
from unforced.decoding.any_order import AnyOrderDecoder, Written, without
from unforced.decoding.base import Logits
from unforced.decoding.noise import gumbel
from unforced.models.base import Cache, SequenceModel
from unforced.models.masks import QueryPositions


class Iterative(AnyOrderDecoder):
    """Starts from mask tokens alone and writes some at each step; what is written stays.

    A step reads the prompt and the answer so far with full attention, and writes the likeliest token at those
    masked places that `order` puts first; of equals, the first place. Each step writes as many tokens, or one
    more later on. The mask token itself is never written. A random order is a function of the seed, the
    problem's number and the place: neither the batch nor its size changes an answer.

    Source: confidence, arXiv 2202.04200, Sec. 3.2, and arXiv 2410.14157; margin, arXiv 2502.06768. The second
    one may mask tokens again, and adds noise to its confidence; here neither.
    """

    name: Literal["iterative"] = "iterative"
    order: Literal["confidence", "margin", "random"] = Field(
        "confidence",
        description="what is written first: probable tokens, those far ahead of the second, or any",
    )
    steps: int | None = Field(None, ge=1, description="passes over an answer (null: one per token)")
    seed: int = Field(0, ge=0, lt=2**63, description="decides a random order")

    def check(self, answer: int) -> None:
        """Refuse more steps than tokens."""
        if self.steps is not None and self.steps > answer:
            raise ValueError(
                f"steps: {self.steps} are more than the {answer} tokens of an answer; give up to {answer}, "
                "or null for one per token"
            )

    def write(
        self, model: SequenceModel, heads: nn.Module, prompts: Prompts, cache: Cache | None = None
    ) -> Written:
        """Fill in the answers. `cache` is of no use: what the model thinks of the prompt depends on them."""
        room = prompts.room
        tokens = prompts.tokens.new_full((len(prompts), room), prompts.mask_token)
        when, masked = torch.zeros_like(tokens), torch.ones_like(tokens, dtype=torch.bool)
        steps = min(self.steps or room, room)
        for step in range(steps):
            logits = without(prompts.mask_token, in_place(model, prompts.tokens, prompts.mask, tokens))
            num_written = (step + 1) * room // steps - step * room // steps
            written = _first(self._priority(logits, prompts), masked, num_written)
            tokens = torch.where(written, logits.argmax(-1), tokens)
            when, masked = when.masked_fill(written, step), masked & ~written
        return Written(tokens, when)

    def _priority(
        self, logits: Float[Tensor, "batch room vocab"], prompts: Prompts
    ) -> Float[Tensor, "batch room"]:
        """Say which places come first: those with the largest numbers."""
        if self.order == "random":
            places = torch.arange(logits.shape[1], device=logits.device)[None]
            return gumbel(self.seed, prompts.numbers, 0, places)
        probable = logits.softmax(-1).topk(2).values
        return probable[..., 0] if self.order == "confidence" else probable[..., 0] - probable[..., 1]

    def teacher_forced(
        self, model: SequenceModel, heads: nn.Module, batch: Batch, cache: Cache | None = None
    ) -> Logits:
        """Mask each token and all behind it, in a pass for each position."""
        first, logits = batch.prompt.shape[1], []
        for i in range(batch.answer.shape[1]):
            answer = batch.answer.clone()
            answer[:, i:] = batch.mask_token
            asked = slice(first + i, first + i + 1)
            logits.append(in_place(model, batch.prompt, batch.prompt_mask, answer, asked))
        return torch.cat(logits, dim=1)


def _first(
    priority: Float[Tensor, "batch room"], masked: Bool[Tensor, "batch room"], count: int
) -> Bool[Tensor, "batch room"]:
    """Mark the `count` masked places of highest priority in each row; of equals, the first ones."""
    order = priority.masked_fill(~masked, -torch.inf).argsort(dim=1, descending=True, stable=True)
    return torch.zeros_like(masked).scatter(1, order[:, :count], True)


def in_place(
    model: SequenceModel,
    prompt: Int[Tensor, "batch prompt"],
    real: Bool[Tensor, "batch prompt"] | None,
    answer: Int[Tensor, "batch answer"],
    asked: QueryPositions | None = None,
) -> Float[Tensor, "batch asked vocab"]:
    """Return the logits of each answer token where it stands, with full attention.

    real: which prompt tokens are no padding (all, if None). asked: time steps (those of the answer, if None).
    """
    inputs = torch.cat([prompt, answer], dim=1)
    if real is not None:
        real = torch.cat([real, torch.ones_like(answer, dtype=torch.bool)], dim=1)
    asked = slice(prompt.shape[1], None) if asked is None else asked
    return model.logits(model.hidden(inputs, padding=real, attention="full", query_positions=asked))
