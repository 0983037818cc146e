"""Masked diffusion: random tokens of the answer are hidden, and each is predicted where it stands.

prompt  1,7|1,4|7,9|4,2/1,9=     answer  1 7 9
inputs  ... = 1 $ $              targets . 7 9      at a rate of 2/3, say
inputs  ... = 1 7 $              targets . . 9      at a rate of 1/3
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from unforced.data.batch import Batch
from unforced.decoding.base import Decoder
from unforced.decoding.iterative import Iterative
from unforced.models.base import SequenceModel
from unforced.objectives.base import Needs, Objective
from unforced.objectives.losses import token_losses
from unforced.objectives.moment import Moment
from unforced.objectives.view import Term, View, answer_logits, count_of

MASKED = "masked"
"""The name of the objective's one term."""
_LEAST_RATE = 1e-3
_LEVELS = 20
_ALPHA = 0.25
_RATES, _MASKS = 0, 1  # streams


class Masked(Objective):
    """Train on log p(r_i | p, the answer tokens that are not hidden), for each hidden token i.

    Each answer token is hidden with a probability t, which is drawn per problem: t = .001 + .999 u, where u
    is uniform in [0, 1) and spread evenly over the rows of a batch. With CE_i the cross-entropy of hidden
    token i, and sums over all rows of the step, the loss is

        plain    sum CE_i / hidden tokens
        mdlm     sum CE_i / t / answer tokens: a bound on the log-likelihood of the answer, per token
        linear   sum w CE_i / hidden tokens, with t = (k + 1) / 20 and w = 1 - k / 20, for k = floor(20 u)
        mgdm     sum w alpha (1 - exp(-CE_i))^gamma CE_i / hidden tokens, with t and w as in linear

    Where answers vary in length, what stands behind their end is `end` again, up to the longest: it is hidden
    and counted as all else is, since a decoder that writes in any order may begin there.

    Source: plain, MLM-U of arXiv 2406.05183; mdlm, arXiv 2406.07524; linear and mgdm, arXiv 2410.14157 and
    its code (alpha = 1/4; the gradient passes through the factor; its w is 20 times as large). Evenly spread
    rates: arXiv 2107.00630. The second one makes mask tokens impossible, the third predicts a token one place
    before its own; here neither.
    """

    decoders: ClassVar[tuple[str, ...]] = ("iterative",)
    name: Literal["masked"] = "masked"
    weighting: Literal["plain", "mdlm", "linear", "mgdm"] = Field(
        "plain", description="what hidden tokens weigh, by the share that is hidden and by their loss"
    )
    gamma: float = Field(1.0, ge=1, description="power of mgdm's factor, which favours tokens of high loss")

    @model_validator(mode="after")
    def _check(self) -> "Masked":
        if self.gamma != 1 and self.weighting != "mgdm":
            raise ValueError(f"gamma: the weighting {self.weighting} has none; drop it, or take mgdm")
        return self

    @property
    def needs(self) -> Needs:
        """Full attention: a token is predicted from those on either side."""
        return Needs(attention="full")

    @property
    def shows(self) -> Literal["parts"]:
        """What is not hidden."""
        return "parts"

    @property
    def default_decoder(self) -> Decoder:
        """Token by token, the surest first."""
        return Iterative()

    def sequence_length(self, prompt: int, answer: int) -> int:
        """Return the length of prompt and answer."""
        return prompt + answer

    def view(self, batch: Batch, moment: Moment) -> View:
        """Hide random tokens of the answer, and ask for each where it stands."""
        answer, counted = _canvas(batch), self._counted(batch)
        rate, weight = self._noise(_shares(moment))
        hidden = moment.uniform(answer.shape[1], stream=_MASKS) < rate
        asked = hidden if counted is None else hidden & counted
        weights = asked * weight
        count = count_of(answer, counted if self.weighting == "mdlm" else asked)
        inputs = torch.cat([batch.prompt, answer.masked_fill(hidden, batch.mask_token)], dim=1)
        padding = None
        if batch.prompt_mask is not None:
            padding = torch.cat([batch.prompt_mask, torch.ones_like(hidden)], dim=1)
        return View(
            inputs,
            answer,
            slice(batch.prompt.shape[1], None),
            weights,
            padding=padding,
            attention="full",
            terms={MASKED: Term(count)},
        )

    def loss(
        self, model: SequenceModel, heads: nn.Module, view: View
    ) -> Mapping[str, Float[Tensor, " batch"]]:
        """Cross-entropy of the hidden tokens, by their weights."""
        assert view.weights is not None
        nats = token_losses(answer_logits(model, view), view.targets, view.weights > 0)
        if self.weighting == "mgdm":
            nats = _ALPHA * (-torch.expm1(-nats)) ** self.gamma * nats
        return {MASKED: (view.weights * nats).sum(1)}

    def _counted(self, batch: Batch) -> Bool[Tensor, "batch answer"] | None:
        """Say which tokens the loss counts, where they are hidden; None: all, with those behind an end."""
        filled = batch.end is not None and self.train_positions is None
        return None if filled else self.weights(batch)

    def _noise(self, share: Float[Tensor, "batch 1"]) -> tuple[Tensor, Tensor]:
        """Return rates of hiding, and what hidden tokens weigh, by shares that are uniform in [0, 1)."""
        if self.weighting in ("linear", "mgdm"):
            level = (share * _LEVELS).floor()
            return (level + 1) / _LEVELS, 1 - level / _LEVELS
        rate = _LEAST_RATE + (1 - _LEAST_RATE) * share
        return rate, 1 / rate if self.weighting == "mdlm" else torch.ones_like(rate)


def _shares(moment: Moment) -> Float[Tensor, "batch 1"]:
    """Draw numbers that are uniform in [0, 1), for each row, and spread evenly over the rows of a step."""
    of_step = replace(moment, rows=slice(0, 1)).uniform(1, stream=_RATES)
    row = torch.arange(*moment.rows.indices(moment.batch_size), device=moment.device)
    return (of_step + row[:, None] / moment.batch_size) % 1


def _canvas(batch: Batch) -> Int[Tensor, "batch answer"]:
    """Return answers of one length: the rest is `end`, or mask tokens where there is no such token."""
    if batch.answer_mask is None:
        return batch.answer
    return batch.answer.masked_fill(~batch.answer_mask, batch.mask_token if batch.end is None else batch.end)
