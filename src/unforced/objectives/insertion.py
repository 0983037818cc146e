"""Insertion: some of the answer's tokens are dropped, and each gap says which ones it lacks.

prompt  1,7|1,4|7,9|4,2/1,9=     answer   1 7 9     dropped  1 9
inputs  ... = 7                  targets  1 in the gap behind `=`, 9 in the gap behind 7; not complete
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from unforced.data.batch import Batch
from unforced.decoding.base import Decoder
from unforced.decoding.insertion import Inserting, joint_logits
from unforced.models.base import SequenceModel, Trunk
from unforced.objectives.base import Needs, Objective
from unforced.objectives.moment import Moment
from unforced.objectives.view import Term, View, answer_states, count_of

INSERT, STOP = "insert", "stop"
"""The names of the objective's terms."""
_HOW_MANY, _WHICH = 0, 1  # streams


@dataclass(frozen=True)
class InsertionView(View):
    """Prompt and surviving tokens, with the dropped ones as targets.

    The answer's tokens are the targets; dropped ones weigh 1 over their number. gaps: behind which of the
    states that are asked for (the prompt's last token, then the survivors) each token stands. complete:
    whether nothing was dropped, 1 or 0.
    """

    gaps: Int[Tensor, "batch answer"] | None = None
    complete: Float[Tensor, " batch"] | None = None


class Insertion(Objective):
    """Train on log p(gap, token | p, surviving tokens) of dropped tokens, and on whether there are any.

    Of the L tokens of an answer, n are dropped, n uniform in {0, ..., L}, any n of them. Survivors stand one
    behind the other, so that places tell nothing of what is missing. Every state from the prompt's last token
    on is a gap, to its right; one softmax runs over gaps and tokens:

        insert   mean over problems with n > 0 of -1/n sum_i log p(gap of r_i, r_i), i dropped
        stop     mean over problems of the binary cross-entropy of n = 0, by a linear head on the last state
                 of the prompt

    The end token of answers that vary in length is a token like any other.

    Source: arXiv 2505.05755 and its public code. Its tokens for class and beginning are left out: the last
    token of the prompt, which sees all as they do, stands for both. Its mean of the first term is over all
    problems.
    """

    decoders: ClassVar[tuple[str, ...]] = ("insertion",)
    name: Literal["insertion"] = "insertion"
    stop_weight: float = Field(1.0, gt=0, description="of the term `stop` in the loss")

    @property
    def needs(self) -> Needs:
        """Full attention: a gap is seen from either side."""
        return Needs(attention="full")

    @property
    def shows(self) -> Literal["parts"]:
        """What is not dropped."""
        return "parts"

    @property
    def default_decoder(self) -> Decoder:
        """Token by token, wherever the likeliest one stands."""
        return Inserting()

    def sequence_length(self, prompt: int, answer: int) -> int:
        """Return the length of prompt and answer."""
        return prompt + answer

    def build_heads(self, trunk: Trunk) -> nn.Module:
        """Build the head that says whether an answer is complete."""
        return nn.Linear(trunk.width, 1)

    def view(self, batch: Batch, moment: Moment) -> InsertionView:
        """Drop random tokens of the answer, and pack the others to the left."""
        dropped = _dropped(batch, moment)
        survives = ~dropped if batch.answer_mask is None else ~dropped & batch.answer_mask
        order = survives.int().argsort(dim=1, descending=True, stable=True)
        num_dropped, num_left = (each.sum(1, keepdim=True) for each in (dropped, survives))
        left = torch.arange(order.shape[1], device=order.device) < num_left
        packed = batch.answer.gather(1, order).masked_fill(~left, batch.mask_token)
        counted = self.weights(batch)
        counted = dropped if counted is None else dropped & counted
        weights = counted / num_dropped.clamp(min=1)
        real = torch.ones_like(batch.prompt, dtype=torch.bool)
        return InsertionView(
            torch.cat([batch.prompt, packed], dim=1),
            batch.answer,
            slice(batch.prompt.shape[1] - 1, batch.prompt.shape[1] + order.shape[1]),
            weights,
            padding=torch.cat([real if batch.prompt_mask is None else batch.prompt_mask, left], dim=1),
            attention="full",
            terms={
                INSERT: Term(count_of(batch.answer, weights)),
                STOP: Term(torch.ones_like(weights[:, 0]), self.stop_weight),
            },
            gaps=survives.cumsum(1) - survives.int(),
            complete=(num_dropped[:, 0] == 0).float(),
        )

    def loss(
        self, model: SequenceModel, heads: nn.Module, view: View
    ) -> Mapping[str, Float[Tensor, " batch"]]:
        """Cross-entropies of gaps and tokens, and of completeness."""
        assert isinstance(view, InsertionView)
        assert view.gaps is not None
        assert view.weights is not None
        assert view.complete is not None
        assert view.padding is not None
        states = answer_states(model, view)
        joint = joint_logits(model, states, view.padding[:, -states.shape[1] :])
        dropped = joint.gather(1, view.gaps * model.vocab_size + view.targets)
        nats = (joint.logsumexp(1, keepdim=True) - dropped).masked_fill(view.weights == 0, 0.0)
        stop = F.binary_cross_entropy_with_logits(
            heads(states[:, 0]).float()[:, 0], view.complete, reduction="none"
        )
        return {INSERT: (nats * view.weights).sum(1), STOP: stop}


def _dropped(batch: Batch, moment: Moment) -> Bool[Tensor, "batch answer"]:
    """Draw how many tokens of each answer are dropped, uniformly, and which."""
    number = moment.uniform(batch.answer.shape[1], stream=_WHICH)
    lengths: Tensor | int = batch.answer.shape[1]
    if batch.answer_mask is not None:
        number = number.masked_fill(~batch.answer_mask, 2.0)  # behind all others
        lengths = batch.answer_mask.sum(1, keepdim=True)
    num_dropped = (moment.uniform(1, stream=_HOW_MANY) * (lengths + 1)).floor()
    return number.argsort(dim=1).argsort(dim=1) < num_dropped
