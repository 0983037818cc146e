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
from unforced.decoding.canvas import check_block, lay_out_canvas
from unforced.decoding.noise import gumbel
from unforced.models.base import Cache, SequenceModel


class Iterative(AnyOrderDecoder):
    """Starts from mask tokens alone and writes some at each step; what is written stays.

    A step reads the prompt and the answer so far with full attention, and writes the likeliest token at those
    masked places that `order` puts first; of equals, the first place. Each step writes as many tokens, or one
    more later on. The mask token itself is never written. A random order is a function of the seed, the
    problem's number and the place: neither the batch nor its size changes an answer.

    In blocks, one is filled in after the other. Prompt and blocks written so far see nothing of the next one,
    so that they are read once.

    Source: confidence, arXiv 2202.04200, Sec. 3.2, and arXiv 2410.14157; margin, arXiv 2502.06768. The second
    one may mask tokens again, and adds noise to its confidence; here neither.
    """

    name: Literal["iterative"] = "iterative"
    order: Literal["confidence", "margin", "random"] = Field(
        "confidence",
        description="what is written first: probable tokens, those far ahead of the second, or any",
    )
    steps: int | None = Field(None, ge=1, description="passes over a block (null: one per token)")
    block_size: int | None = Field(
        None,
        ge=2,
        description="tokens of a block, written one after the other (null: as trained; without a run, the "
        "whole answer)",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="decides a random order")

    @property
    def continues(self) -> bool:
        """Not in blocks, which in training begin where the answer does."""
        return self.block_size is None

    @property
    def samples(self) -> bool:
        """In a random order: what is written first decides what is likely behind it."""
        return self.order == "random"

    def check(self, answer: int) -> None:
        """Refuse blocks beyond the answer, and more steps than tokens of a block."""
        check_block(self.block_size, answer)
        tokens = self.block_size or answer
        if self.steps is not None and self.steps > tokens:
            of_what = "an answer" if self.block_size is None else "a block"
            raise ValueError(
                f"steps: {self.steps} are more than the {tokens} tokens of {of_what}; give up to {tokens}, "
                "or null for one per token"
            )

    def write(
        self, model: SequenceModel, heads: nn.Module, prompts: Prompts, cache: Cache | None = None
    ) -> Written:
        """Fill in the answers. `cache` is of no use: it was read with causal attention."""
        room = prompts.room
        size = min(self.block_size or room, room)
        context = _Whole(model, prompts) if size == room else _Blocks(model, prompts)
        parts: list[Written] = []
        step = 0
        for start in range(0, room, size):
            places = slice(start, min(start + size, room))
            parts.append(self._fill(context, prompts, places, step))
            step += self._steps(places.stop - start)
            if places.stop < room:
                context.extend(parts[-1].tokens)
        tokens, when = ([getattr(part, name) for part in parts] for name in ("tokens", "step"))
        return Written(torch.cat(tokens, dim=1), torch.cat(when, dim=1))

    def _steps(self, tokens: int) -> int:
        return min(self.steps or tokens, tokens)

    def _fill(self, context: "_Context", prompts: Prompts, places: slice, first_step: int) -> Written:
        """Fill in a block, which stands at these places of an answer."""
        count = places.stop - places.start
        tokens = prompts.tokens.new_full((len(prompts), count), prompts.mask_token)
        when, masked = torch.zeros_like(tokens), torch.ones_like(tokens, dtype=torch.bool)
        steps = self._steps(count)
        for step in range(steps):
            logits = without(prompts.mask_token, context.logits(tokens))
            num_written = (step + 1) * count // steps - step * count // steps
            written = _first(self._priority(logits, prompts, places), masked, num_written)
            tokens = torch.where(written, logits.argmax(-1), tokens)
            when, masked = when.masked_fill(written, first_step + step), masked & ~written
        return Written(tokens, when)

    def _priority(
        self, logits: Float[Tensor, "batch block vocab"], prompts: Prompts, places: slice
    ) -> Float[Tensor, "batch block"]:
        """Say which places come first: those with the largest numbers."""
        if self.order == "random":
            numbers = torch.arange(places.start, places.stop, device=logits.device)[None]
            return gumbel(self.seed, prompts.numbers, 0, numbers)
        probable = logits.softmax(-1).topk(2).values
        return probable[..., 0] if self.order == "confidence" else probable[..., 0] - probable[..., 1]

    def teacher_forced(
        self, model: SequenceModel, heads: nn.Module, batch: Batch, cache: Cache | None = None
    ) -> Logits:
        """Mask each token and all behind it in its block, in a pass for each place of a block."""
        answer = batch.answer.shape[1]
        block = min(self.block_size or answer, answer)
        logits = batch.prompt.new_empty((*batch.answer.shape, model.vocab_size), dtype=torch.float32)
        for place in range(block):
            open_ = torch.arange(answer, device=batch.answer.device) % block >= place
            hiding = batch.answer.masked_fill(open_, batch.mask_token)
            canvas = lay_out_canvas(batch.prompt, batch.prompt_mask, batch.answer, hiding, self.block_size)
            asked = slice(canvas.asked.start + place, canvas.asked.stop, block)
            logits[:, place::block] = model.logits(canvas.states(model, asked)).float()
        return logits


def _first(
    priority: Float[Tensor, "batch room"], masked: Bool[Tensor, "batch room"], count: int
) -> Bool[Tensor, "batch room"]:
    """Mark the `count` masked places of highest priority in each row; of equals, the first ones."""
    order = priority.masked_fill(~masked, -torch.inf).argsort(dim=1, descending=True, stable=True)
    return torch.zeros_like(masked).scatter(1, order[:, :count], True)


class _Whole:
    """The prompts; a block is the whole answer, and the prompt sees it, so that each pass reads both."""

    def __init__(self, model: SequenceModel, prompts: Prompts) -> None:
        self.model, self.prompts = model, prompts

    def logits(self, block: Int[Tensor, "batch block"]) -> Float[Tensor, "batch block vocab"]:
        """Return the logits of a block's tokens."""
        canvas = lay_out_canvas(self.prompts.tokens, self.prompts.mask, block, block, None)
        return self.model.logits(canvas.states(self.model, canvas.asked))

    def extend(self, block: Int[Tensor, "batch block"]) -> None:
        """Go on behind a block: there is none."""


class _Blocks:
    """The prompts and the blocks written so far, in a cache: they see nothing of the blocks to come."""

    def __init__(self, model: SequenceModel, prompts: Prompts) -> None:
        self.model, self.real = model, prompts.mask
        self.cache = model.new_cache(len(prompts), prompts.tokens.shape[1] + prompts.room)
        self.model.hidden(
            prompts.tokens,
            padding=self.real,
            attention="full",
            cache=self.cache,
            query_positions=slice(-1, None),
        )

    def logits(self, block: Int[Tensor, "batch block"]) -> Float[Tensor, "batch block vocab"]:
        """Return the logits of a block's tokens."""
        real = self._with(block)
        hidden = self.model.hidden(block, padding=real, attention="full", cache=self.cache.fork())
        return self.model.logits(hidden)

    def extend(self, block: Int[Tensor, "batch block"]) -> None:
        """Go on behind a block."""
        self.real = self._with(block)
        self.model.hidden(
            block, padding=self.real, attention="full", cache=self.cache, query_positions=slice(-1, None)
        )

    def _with(self, block: Int[Tensor, "batch block"]) -> Bool[Tensor, "batch real"] | None:
        """Say which tokens are real, with a block behind the others."""
        if self.real is None:
            return None
        return torch.cat([self.real, torch.ones_like(block, dtype=torch.bool)], dim=1)


_Context = _Whole | _Blocks
