"""Decoding by insertion: at each step, one token into one gap.

prompt  1,7|1,4|7,9|4,2/1,9=     answer   1 7 9
inputs  ... =                    written  9
inputs  ... = 9                  written  1 9
inputs  ... = 1 9                written  1 7 9
"""

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from unforced.data.batch import Batch, Prompts
from unforced.decoding.any_order import AnyOrderDecoder, Written, without
from unforced.decoding.base import Logits
from unforced.models.base import Cache, SequenceModel


class Inserting(AnyOrderDecoder):
    """Inserts the likeliest token into the likeliest gap, until the head says that the answer is complete.

    A step reads the prompt and the answer so far with full attention. The mask token is never inserted. An
    answer that is complete before it is full is filled up with the end token or, where all answers have the
    same length, with mask tokens, which are no symbols.

    Source: arXiv 2505.05755 and its public code, which samples gaps and tokens; here the likeliest is taken.
    """

    needs_heads: ClassVar[bool] = True
    name: Literal["insertion"] = "insertion"
    max_steps: int | None = Field(
        None, ge=1, description="insertions at the most (null: as an answer has tokens)"
    )
    stop_at: float = Field(0.9, gt=0, le=1, description="probability of completeness that ends writing")

    def check(self, answer: int) -> None:
        """Refuse more insertions than tokens."""
        if self.max_steps is not None and self.max_steps > answer:
            raise ValueError(
                f"max_steps: {self.max_steps} are more than the {answer} tokens of an answer; give up to "
                f"{answer}, or null"
            )

    def write(
        self, model: SequenceModel, heads: nn.Module, prompts: Prompts, cache: Cache | None = None
    ) -> Written:
        """Write answers. `cache` is of no use: what the model thinks of the prompt depends on them."""
        room = prompts.room
        steps = min(self.max_steps or room, room)
        filling = prompts.mask_token if prompts.end is None else prompts.end
        tokens = prompts.tokens.new_full((len(prompts), room), filling)
        when = torch.full_like(tokens, -1)
        length, going = torch.zeros_like(tokens[:, :1]), torch.ones_like(tokens[:, :1], dtype=torch.bool)
        for step in range(steps):
            states, is_gap = _read(model, prompts, tokens, length)
            joint = joint_logits(model, states, is_gap, prompts.mask_token)
            going = going & (heads(states[:, 0]).float().sigmoid() < self.stop_at)
            best = joint.argmax(1, keepdim=True)
            gap, token = best // model.vocab_size, best % model.vocab_size
            tokens = torch.where(going, _inserted(tokens, gap, token), tokens)
            when = torch.where(going, _inserted(when, gap, torch.full_like(gap, step)), when)
            length = length + going.int()
        return Written(tokens, when)

    def teacher_forced(
        self, model: SequenceModel, heads: nn.Module, batch: Batch, cache: Cache | None = None
    ) -> Logits:
        """Ask for each token in the last gap, behind the true ones before it, in a pass for each position."""
        logits = []
        for i in range(batch.answer.shape[1]):
            before, real = batch.answer[:, :i], batch.prompt_mask
            if real is not None:
                real = torch.cat([real, torch.ones_like(before, dtype=torch.bool)], dim=1)
            states = model.hidden(
                torch.cat([batch.prompt, before], dim=1),
                padding=real,
                attention="full",
                query_positions=slice(-1, None),
            )
            logits.append(model.logits(states))
        return torch.cat(logits, dim=1)


def joint_logits(
    model: SequenceModel,
    states: Float[Tensor, "batch gaps width"],
    is_gap: Bool[Tensor, "batch gaps"],
    never: int | None = None,
) -> Float[Tensor, "batch pairs"]:
    """Return the logits of every token in every gap, gap by gap: minus infinity where there is none.

    never: a token that is impossible.
    """
    logits = model.logits(states).float()
    logits = logits if never is None else without(never, logits)
    return logits.masked_fill(~is_gap[..., None], -torch.inf).flatten(1)


def _read(
    model: SequenceModel, prompts: Prompts, tokens: Int[Tensor, "batch room"], length: Int[Tensor, "batch 1"]
) -> tuple[Float[Tensor, "batch gaps width"], Bool[Tensor, "batch gaps"]]:
    """Read prompts and the first tokens of answers; return the states of gaps, and which gaps there are."""
    real = torch.ones_like(prompts.tokens, dtype=torch.bool) if prompts.mask is None else prompts.mask
    there = torch.arange(tokens.shape[1], device=tokens.device) < length
    padding = torch.cat([real, there], dim=1)
    first = prompts.tokens.shape[1] - 1
    states = model.hidden(
        torch.cat([prompts.tokens, tokens], dim=1),
        padding=padding,
        attention="full",
        query_positions=slice(first, padding.shape[1]),
    )
    return states, padding[:, first:]


def _inserted(
    row: Int[Tensor, "batch room"], place: Int[Tensor, "batch 1"], value: Int[Tensor, "batch 1"]
) -> Int[Tensor, "batch room"]:
    """Insert a value into each row; what stands there and behind moves on, and the last one out."""
    index = torch.arange(row.shape[1], device=row.device).expand_as(row)
    moved = row.gather(1, index - (index > place).int())
    return torch.where(index == place, value, moved)
