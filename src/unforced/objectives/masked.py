"""Masked diffusion: random tokens of the answer are hidden, and each is predicted where it stands.

prompt  1,7|1,4|7,9|4,2/1,9=     answer  1 7 9
inputs  ... = 1 $ $              targets . 7 9      at a rate of 2/3, say
inputs  ... = 1 7   $ 7   $      targets 1 . 9      block_size=2: see decoding/canvas.py
inputs  ... = 1 7                targets 1 7 9      block_size=1: next-token prediction
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from unforced.data.batch import Batch
from unforced.decoding.autoregressive import Autoregressive
from unforced.decoding.base import Decoder
from unforced.decoding.canvas import Canvas, canvas_length, check_block, in_blocks, lay_out_canvas
from unforced.decoding.iterative import Iterative
from unforced.models.base import SequenceModel
from unforced.objectives.base import Needs, Objective
from unforced.objectives.losses import token_losses
from unforced.objectives.moment import Moment
from unforced.objectives.view import Term, View, count_of

MASKED = "masked"
"""The name of the objective's one term."""
_LEAST_RATE = 1e-3
_LEVELS = 20
_ALPHA = 0.25
_RATES, _MASKS = 0, 1  # streams


class Masked(Objective):
    """Train on log p(r_i | p, blocks before that of r_i, what is not hidden in its block), for hidden r_i.

    A block is the whole answer by default. Each token of a block is hidden with a probability t, which is
    drawn per problem and block: t = .001 + .999 u, where u is uniform in [0, 1) and spread evenly over the
    rows of a batch and the blocks of each. With CE_i the cross-entropy of hidden token i, and sums over all
    rows of the step, the loss is

        plain    sum CE_i / hidden tokens
        mdlm     sum CE_i / t / answer tokens: a bound on the log-likelihood of the answer, per token
        linear   sum w CE_i / hidden tokens, with t = (k + 1) / 20 and w = 1 - k / 20, for k = floor(20 u)
        mgdm     sum w alpha (1 - exp(-CE_i))^gamma CE_i / hidden tokens, with t and w as in linear

    The prompt sees itself fully; if there are several blocks, it sees none, and they see no later one. A
    block of one token is always hidden (t = 1, w = 1), which is next-token prediction, in training and in
    decoding; mgdm, whose factor would make it another loss, is refused there.

    Where answers vary in length, what stands behind their end is `end` again, up to the longest. It is hidden
    and counted as all else is, since a decoder that writes in any order may begin there; but no block counts
    that lies wholly behind the end.

    Source: plain, MLM-U of arXiv 2406.05183; mdlm, arXiv 2406.07524; linear and mgdm, arXiv 2410.14157 and
    its code (alpha = 1/4; the gradient passes through the factor; its w is 20 times as large); blocks, arXiv
    2503.09573. Evenly spread rates: arXiv 2107.00630. The second one and the fourth make mask tokens
    impossible, the third predicts a token one place before its own; here neither.
    """

    decoders: ClassVar[tuple[str, ...]] = ("iterative", "autoregressive")
    name: Literal["masked"] = "masked"
    weighting: Literal["plain", "mdlm", "linear", "mgdm"] = Field(
        "plain", description="what hidden tokens weigh, by the share that is hidden and by their loss"
    )
    block_size: int | None = Field(
        None,
        ge=1,
        description="tokens of a block; blocks are written one by one (null: the whole answer)",
    )
    gamma: float = Field(1.0, ge=1, description="power of mgdm's factor, which favours tokens of high loss")

    @model_validator(mode="after")
    def _check(self) -> "Masked":
        if self.gamma != 1 and self.weighting != "mgdm":
            raise ValueError(f"gamma: the weighting {self.weighting} has none; drop it, or take mgdm")
        if self.block_size == 1 and self.weighting == "mgdm":
            raise ValueError(
                "weighting: mgdm scales each token's loss, and blocks of 1 are next-token prediction; take "
                "plain, or block_size=2"
            )
        return self

    @property
    def needs(self) -> Needs:
        """Attention to either side, within a block; a mask, even if a block is as long as the answer."""
        if self.block_size == 1:
            return Needs()
        return Needs(attention="full" if self.block_size is None else "mask")

    @property
    def shows(self) -> Literal["prefix", "parts"]:
        """What is not hidden; before a block of one token, all."""
        return "prefix" if self.block_size == 1 else "parts"

    @property
    def default_decoder(self) -> Decoder:
        """The surest tokens first; `decoding` sets the blocks."""
        return Autoregressive() if self.block_size == 1 else Iterative()

    def fits(self, decoder: Decoder) -> bool:
        """Whether it is the decoder of such blocks, or one that names the objective."""
        return decoder.name == self.default_decoder.name or self.name in decoder.objectives

    def decoding(self, decoder: Decoder | None = None) -> Decoder:
        """Let `iterative` write in the blocks of training. Raises ValueError if it has others."""
        decoder = super().decoding(decoder)
        if not isinstance(decoder, Iterative) or decoder.block_size == self.block_size:
            return decoder
        if decoder.block_size is None:
            return decoder.model_copy(update={"block_size": self.block_size})
        if self.block_size is None:
            trained, choice = "one block, the whole answer", "drop it"
        else:
            trained, choice = f"blocks of {self.block_size}", f"drop it or give {self.block_size}"
        raise ValueError(f"block_size: {decoder.block_size}, but training had {trained}; {choice}")

    def check(self, answer: int) -> None:
        """Refuse blocks beyond the answer."""
        check_block(self.block_size, answer)

    def sequence_length(self, prompt: int, answer: int) -> int:
        """Return the length of a canvas."""
        return canvas_length(prompt, answer, self.block_size)

    def view(self, batch: Batch, moment: Moment) -> View:
        """Hide random tokens of the answer, and ask for each where it stands."""
        answer, counted = _filled(batch), self._counted(batch)
        rate, weight = self._noise(moment, answer.shape[1])
        hidden = moment.uniform(answer.shape[1], stream=_MASKS) < rate
        asked = hidden if counted is None else hidden & counted
        hiding = answer.masked_fill(hidden, batch.mask_token)
        canvas = lay_out_canvas(batch.prompt, batch.prompt_mask, answer, hiding, self.block_size)
        return View(
            canvas.inputs,
            answer,
            canvas.asked,
            asked * weight,
            canvas.positions,
            canvas.padding,
            canvas.attention,
            {MASKED: Term(count_of(answer, counted if self.weighting == "mdlm" else asked))},
        )

    def loss(
        self, model: SequenceModel, heads: nn.Module, view: View
    ) -> Mapping[str, Float[Tensor, " batch"]]:
        """Cross-entropy of the hidden tokens, by their weights."""
        assert view.weights is not None
        answer = view.targets.shape[1]
        canvas = Canvas(
            view.inputs, view.positions, view.padding, view.attention, answer, self.block_size or answer
        )
        logits = model.logits(canvas.states(model, canvas.asked))
        nats = token_losses(logits, view.targets, view.weights > 0)
        if self.weighting == "mgdm":
            nats = _ALPHA * (-torch.expm1(-nats)) ** self.gamma * nats
        return {MASKED: (view.weights * nats).sum(1)}

    def _counted(self, batch: Batch) -> Bool[Tensor, "batch answer"] | None:
        """Say which tokens the loss counts where they are hidden (None: all); some are behind an end."""
        counted = self.weights(batch)
        if counted is None or batch.end is None or self.train_positions is not None:
            return counted
        blocks = in_blocks(counted, self.block_size)
        return blocks.any(2, keepdim=True).expand_as(blocks).flatten(1)[:, : counted.shape[1]]

    def _noise(self, moment: Moment, answer: int) -> tuple[Tensor, Tensor]:
        """Draw the rate at which each token is hidden; return it, and what hidden tokens weigh."""
        block = self.block_size or answer
        share = _shares(moment, -(-answer // block)).repeat_interleave(block, dim=1)[:, :answer]
        if block == 1:
            return torch.ones_like(share), torch.ones_like(share)
        if self.weighting in ("linear", "mgdm"):
            level = (share * _LEVELS).floor().clamp(max=_LEVELS - 1)
            return (level + 1) / _LEVELS, 1 - level / _LEVELS
        rate = 1 - (1 - _LEAST_RATE) * (1 - share)
        return rate, 1 / rate if self.weighting == "mdlm" else torch.ones_like(rate)


def _shares(moment: Moment, num_blocks: int) -> Float[Tensor, "batch blocks"]:
    """Draw uniform numbers from [0, 1), spread evenly over the rows of a step and the blocks of each."""
    of_step = replace(moment, rows=slice(0, 1)).uniform(1, stream=_RATES)
    row = moment.row_numbers
    of_step = of_step.repeat_interleave(len(row) // len(of_step), dim=0)  # one for each run
    block = torch.arange(num_blocks, device=moment.device)
    return (of_step + row[:, None] / moment.batch_size + block / num_blocks) % 1


def _filled(batch: Batch) -> Int[Tensor, "batch answer"]:
    """Return answers of one length: the rest is `end`, or mask tokens where there is no such token."""
    if batch.answer_mask is None:
        return batch.answer
    return batch.answer.masked_fill(~batch.answer_mask, batch.mask_token if batch.end is None else batch.end)
