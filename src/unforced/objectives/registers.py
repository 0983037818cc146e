"""Registers between answer tokens, each of which predicts a token further on.

prompt     1,7|1,4|7,9|4,2/1,9=     answer  1 7 9
inputs     ... =  1  7              targets 1 7 9      next token
registers      R  R                         7 9        d = 2: the token after the next

A register R stands behind a token, at the position that predicts the register's target. It sees the token and
all before it; no other token and no other register sees it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from unforced.data.batch import Batch
from unforced.models.base import SequenceModel
from unforced.models.masks import token_positions
from unforced.objectives.auxiliary import AuxiliaryObjective, check_weights, next_token_view
from unforced.objectives.base import HeadLogits, Needs
from unforced.objectives.losses import cross_entropy
from unforced.objectives.moment import Moment
from unforced.objectives.schedule import Weight, weight_at
from unforced.objectives.view import NEXT_TOKEN, Term, View, answer_logits, count_of

REGISTER = "register"
"""The name of the special token, and of the term of the loss."""


@dataclass(frozen=True, kw_only=True)
class RegistersView(View):
    """A view with registers behind the answer's inputs.

    further_targets, further_weights: of the registers, whose states stand behind those that predict the next
    tokens at `query_positions`.
    """

    further_targets: Int[Tensor, "batch registers"]
    further_weights: Bool[Tensor, "batch registers"]


class Registers(AuxiliaryObjective):
    """Train on next tokens, and on tokens further on, which registers predict at a random offset.

    The loss is (1 - a) L_next_token + a L_register. An offset d is drawn for each row from {2, ..., d_max};
    the register behind token t predicts token t + d, at position t + d - 1. Registers are left out when
    answers are written.

    Source: arXiv 2505.10518, Sec. 3; https://github.com/nasosger/MuToR. There, d is drawn up to d_max for
    shorter answers, too, and registers whose target lies beyond the end idle; here, d is at most the length
    of the row's answer, so that each row has a target. Registers stand behind the sequence rather than
    between its tokens, which changes nothing: positions and mask alone say where they are.
    """

    name: Literal["registers"] = "registers"
    d_max: int | None = Field(None, ge=2, description="largest offset of a target (null: the whole answer)")
    weight: Weight = Field(0.5, description="a: of the registers' loss; that of the next token weighs 1 - a")

    @model_validator(mode="after")
    def _check(self) -> "Registers":
        least, most = sorted(weight_at(self.weight, progress) for progress in (0.0, 1.0))
        if most > 1:
            raise ValueError(
                f"weight: {most:g} is above 1, and the next token weighs what it leaves; give less than 1"
            )
        if least == 1:
            raise ValueError(
                "weight: 1 for the whole run leaves next tokens, by which answers are written, untrained; "
                "give less than 1, as in 0.9"
            )
        check_weights("weight", self.weight)
        return self

    @property
    def needs(self) -> Needs:
        """A mask, and a token for the registers."""
        return Needs(attention="mask", specials=(REGISTER,))

    def check(self, answer: int) -> None:
        """Raise ValueError if offsets reach beyond the answer."""
        if self.d_max is not None and self.d_max > answer:
            nearest = f"at most {answer}, or null" if answer > 1 else "null"
            raise ValueError(
                f"d_max: nothing stands {self.d_max} tokens behind a prompt where answers have {answer}; "
                f"give {nearest}"
            )

    def sequence_length(self, prompt: int, answer: int) -> int:
        """Return the length of prompt, answer and registers."""
        return prompt + 2 * (answer - 1)

    def view(self, batch: Batch, moment: Moment) -> RegistersView:
        """Put registers behind the inputs of next-token prediction, with an offset drawn for each row."""
        most = batch.answer_lengths.clamp(min=2, max=self.d_max)
        drawn = 2 + (moment.uniform(1) * (most - 1)).long()
        return self._lay_out(batch, torch.minimum(drawn, most), weight_at(self.weight, moment.progress))

    def _lay_out(self, batch: Batch, offset: Int[Tensor, "batch 1"], weight: float) -> RegistersView:
        """Return the view with these offsets; a is `weight`."""
        plain = next_token_view(self, batch, 1 - weight)
        last = batch.answer.shape[1] - 1
        places = torch.arange(last, device=offset.device) + offset - 1  # in the answer, of registers' targets
        within = places.clamp(max=last)
        counted = places <= last
        if plain.weights is not None:
            counted = counted & plain.weights.bool().gather(1, within)
        registers = torch.full_like(places, batch.specials[REGISTER])
        return RegistersView.of(
            plain,
            inputs=torch.cat([plain.inputs, registers], dim=1),
            query_positions=slice(batch.prompt.shape[1] - 1, plain.inputs.shape[1] + last),
            prompt=None,
            positions=_positions(plain, batch, places),
            padding=None if plain.padding is None else F.pad(plain.padding, (0, last), value=True),
            attention=_attention(plain, batch),
            terms={**plain.terms, REGISTER: Term(count_of(registers, counted), weight)},
            further_targets=batch.answer.gather(1, within),
            further_weights=counted,
        )

    def loss(
        self, model: SequenceModel, heads: nn.Module, view: View
    ) -> Mapping[str, Float[Tensor, " batch"]]:
        """Cross-entropy of the next tokens, and of the registers' targets."""
        assert isinstance(view, RegistersView)
        logits, answer = answer_logits(model, view), view.targets.shape[1]
        return {
            NEXT_TOKEN: cross_entropy(logits[:, :answer], view.targets, view.weights),
            REGISTER: cross_entropy(logits[:, answer:], view.further_targets, view.further_weights),
        }

    def head_logits(self, model: SequenceModel, heads: nn.Module, batch: Batch) -> Mapping[str, HeadLogits]:
        """Return what registers predict at each offset, in one pass for each."""
        length = batch.answer.shape[1]
        offsets = range(2, 1 + min(length, self.d_max or length))
        return {f"offset_{offset}": self._at_offset(model, batch, offset) for offset in offsets}

    def _at_offset(self, model: SequenceModel, batch: Batch, offset: int) -> HeadLogits:
        length = batch.answer.shape[1]
        view = self._lay_out(batch, torch.full_like(batch.answer[:, :1], offset), weight=1.0)
        further = answer_logits(model, view)[:, length : 2 * length + 1 - offset]
        predicts = torch.arange(length, device=batch.answer.device) >= offset - 1
        return HeadLogits(F.pad(further, (0, 0, offset - 1, 0)), batch.real_answer & predicts)


def _positions(
    plain: View, batch: Batch, places: Int[Tensor, "batch registers"]
) -> Int[Tensor, "batch time"]:
    """Return the positions of tokens, then of registers: where a target is predicted as the next token.

    A register without a target stands where the answer ends.
    """
    rows, steps = plain.inputs.shape
    usual = token_positions(plain.padding, steps, 0, places.device).expand(rows, -1)
    last = usual[:, batch.prompt.shape[1] - 1, None]
    return torch.cat([usual, last + torch.minimum(places, batch.answer_lengths)], dim=1)


def _attention(plain: View, batch: Batch) -> Bool[Tensor, "1 time time"]:
    """Let tokens see tokens up to themselves, and registers those up to where they stand, and themselves."""
    steps, first = plain.inputs.shape[1], batch.prompt.shape[1] - 1
    tokens = torch.arange(steps, device=plain.inputs.device)
    stands = torch.cat([tokens, tokens[first:-1]])
    keys = torch.arange(len(stands), device=plain.inputs.device)
    return ((keys <= stands[:, None]) & (keys < steps) | (keys == keys[:, None]))[None]
