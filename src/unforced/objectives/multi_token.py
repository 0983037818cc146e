"""Multi-token prediction: from each position, the next token and several further on.

prompt  1,7|1,4|7,9|4,2/1,9=     answer  1 7 9         horizon 3
inputs  ... =  1  7              targets 1 7 9         next_token
                                         7 9           offset_2
                                         9             offset_3
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from unforced.data.batch import Batch
from unforced.models.base import SequenceModel, Trunk
from unforced.objectives.auxiliary import AuxiliaryObjective, check_weights, next_token_view
from unforced.objectives.base import HeadLogits
from unforced.objectives.moment import Moment
from unforced.objectives.multi_token_heads.base import Heads
from unforced.objectives.multi_token_heads.parallel import ParallelHeads
from unforced.objectives.schedule import Schedule, Weight, weight_at
from unforced.objectives.view import NEXT_TOKEN, Term, View, count_of
from unforced.parts import Named


class MultiToken(AuxiliaryObjective):
    """Train on sum_k w_k sum_t -log p_k(x_(t+o_k) | x_<=t) over the answer: one head for each offset o_k.

    The head at offset 1 is the model itself, which decodes alone. Kinds of heads: `unforced list heads`. A
    curriculum is a schedule of the weights.

    Sources: those of the heads. They are for text, and count a target at every position; here, heads are
    asked where next-token prediction is, from the last prompt token on, and a target of a later head counts
    where it is a token of the answer, and at the positions to train. So later heads have fewer targets, and
    each loss is the mean over its own.
    """

    name: Literal["multi_token"] = "multi_token"
    heads: Named[Heads] = Field(ParallelHeads(), description="what predicts the tokens further on")
    horizon: int = Field(2, ge=2, description="tokens predicted at each position, the next one included")
    offset_weights: tuple[Weight, ...] | None = Field(
        None,
        min_length=1,
        description="of the losses but the next token's, in order; one is for all (null: those of the heads)",
    )

    @field_validator("offset_weights", mode="before")
    @classmethod
    def _read_one_for_all(cls, value: Any) -> Any:
        return (value,) if isinstance(value, float | int | Mapping | Schedule) else value

    @model_validator(mode="after")
    def _check_weights(self) -> "MultiToken":
        given, further = len(self.offset_weights or ()), self.horizon - 1
        if given not in (0, 1, further):
            offsets = "1 further offset" if further == 1 else f"{further} further offsets"
            wanted = "give one" if further == 1 else f"give one for all, or {further}"
            raise ValueError(
                f"offset_weights: there are {given} weights for the {offsets} of horizon "
                f"{self.horizon}; {wanted}"
            )
        if self.offset_weights is not None:
            check_weights("offset_weights", *self.offset_weights)
        return self

    @property
    def offsets(self) -> tuple[int, ...]:
        """How far ahead each head looks, from 1."""
        return self.heads.offsets(self.horizon)

    @property
    def names(self) -> tuple[str, ...]:
        """The terms of the loss, by head."""
        return NEXT_TOKEN, *(f"offset_{offset}" for offset in self.offsets[1:])

    def check(self, answer: int) -> None:
        """Raise ValueError if a head looks beyond answers of `answer` tokens."""
        if self.offsets[-1] <= answer:
            return
        fitting = [n for n in range(2, self.horizon) if self.heads.offsets(n)[-1] <= answer]
        advice = f"the largest is {fitting[-1]}" if fitting else self.heads.advice(answer)
        raise ValueError(
            f"horizon: {self.horizon} {self.heads.name} heads look {self.offsets[-1]} tokens ahead, beyond "
            f"answers of {answer} tokens; {advice}"
        )

    def build_heads(self, trunk: Trunk) -> nn.Module:
        """Build what the heads train beside the model."""
        return self.heads.build(trunk, self.offsets)

    def view(self, batch: Batch, moment: Moment) -> View:
        """Feed the true answer up to its last token; each offset has targets and a count of its own."""
        view = next_token_view(self, batch)
        weights = self.offset_weights or self.heads.further_weights(self.horizon)
        weights = weights * (self.horizon - 1) if len(weights) == 1 else weights
        terms = dict(view.terms)
        for name, offset, weight in zip(self.names[1:], self.offsets[1:], weights, strict=True):
            counted = None if view.weights is None else view.weights[:, offset - 1 :]
            count = count_of(view.targets[:, offset - 1 :], counted)
            terms[name] = Term(count, weight_at(weight, moment.progress))
        return replace(view, terms=terms, prompt=None if self.heads.reads_prompt else view.prompt)

    def loss(
        self, model: SequenceModel, heads: nn.Module, view: View
    ) -> Mapping[str, Float[Tensor, " batch"]]:
        """Cross-entropy of each head."""
        return dict(zip(self.names, self.heads.losses(model, heads, view, self.offsets), strict=True))

    def head_logits(self, model: SequenceModel, heads: nn.Module, batch: Batch) -> Mapping[str, HeadLogits]:
        """Return what each further head predicts; the first o - 1 tokens are out of reach at offset o."""
        found = self.heads.logits(model, heads, next_token_view(self, batch), self.offsets)
        place = torch.arange(batch.answer.shape[1], device=batch.answer.device)
        heads_of: dict[str, HeadLogits] = {}
        for name, offset, logits in zip(self.names[1:], self.offsets[1:], found[1:], strict=True):
            nothing = logits.new_zeros((len(batch), offset - 1, logits.shape[2]))
            heads_of[name] = HeadLogits(
                torch.cat([nothing, logits], dim=1), batch.real_answer & (place >= offset - 1)
            )
        return heads_of
