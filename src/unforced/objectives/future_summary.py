"""Future summary prediction (FSP), bag of words: a head says which tokens come after the next one.

prompt  1,7|1,4|7,9|4,2/1,9=     answer  1 7 9
inputs  ... =  1  7              targets 1 7 9
bag     at `=`  {7, 9}           after 1  {9}           after 7  nothing, which is not counted
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
from unforced.models.base import SequenceModel, Trunk
from unforced.objectives.auxiliary import AuxiliaryObjective, check_weights, next_token_loss, next_token_view
from unforced.objectives.moment import Moment
from unforced.objectives.schedule import Weight, weight_at
from unforced.objectives.upcoming import check_window, scores_of_tokens, upcoming
from unforced.objectives.view import Term, View, answer_states

FUTURE = "future"
"""The name of the term that is the binary cross-entropy of bags."""


@dataclass(frozen=True, kw_only=True)
class SummaryView(View):
    """The view of next-token prediction, with the bag of what comes after the next token.

    later: the tokens 2, 3, ... steps ahead of each position but the last. in_bag: those that make up its bag,
    each once.
    """

    later: Int[Tensor, "batch positions window"]
    in_bag: Bool[Tensor, "batch positions window"]


class FutureSummary(AuxiliaryObjective):
    """Train on next tokens, and on the bag of those that come after the next: binary cross-entropy.

    The bag at t is {x_{t+2}, ..., x_{t+window}}, and a head has a logit for each token of the vocabulary.
    Source: arXiv 2510.14751, Eq. 7, 9, 10, the hand-crafted summary. Differences: all tokens v weigh the
    same, where the source may weigh them by tf-idf; the head is a linear map; positions with an empty bag,
    the last one among them, are not counted.
    """

    name: Literal["future_summary"] = "future_summary"
    window: int | None = Field(
        None, ge=2, description="how many tokens ahead the bag reaches (null: to the end of the answer)"
    )
    weight: Weight = Field(1.0, description="weight of the bags' cross-entropy: a number or a schedule")

    @model_validator(mode="after")
    def _check(self) -> "FutureSummary":
        check_weights("weight", self.weight)
        return self

    def check(self, answer: int) -> None:
        """Refuse a window that reaches further than the answer, and answers of one token."""
        if answer < 2:
            raise ValueError(f"window: an answer of {answer} token has none after the next; train next_token")
        check_window(self.window, answer)

    def build_heads(self, trunk: Trunk) -> nn.Module:
        """Build the map from a state to the logits of its bag."""
        return scores_of_tokens(trunk)

    def view(self, batch: Batch, moment: Moment) -> SummaryView:
        """Feed the true answer up to its last token, and put what comes after the next one into a bag."""
        plain, counted = next_token_view(self, batch), self.weights(batch)
        window = None if self.window is None else self.window - 1
        later, in_bag = upcoming(batch.answer[:, 1:], None if counted is None else counted[:, 1:], window)
        bags = in_bag.any(2).sum(1, dtype=torch.float32)
        terms = {**plain.terms, FUTURE: Term(bags, weight_at(self.weight, moment.progress))}
        return SummaryView.of(plain, terms=terms, later=later, in_bag=in_bag)

    def loss(
        self, model: SequenceModel, heads: nn.Module, view: View
    ) -> Mapping[str, Float[Tensor, " batch"]]:
        """Cross-entropy of the answer, and of the bags."""
        assert isinstance(view, SummaryView)
        hidden = answer_states(model, view)
        bags = bag_cross_entropy(heads(hidden[:, :-1]), view.later, view.in_bag)
        return {**next_token_loss(model, hidden, view), FUTURE: bags}


def bag_cross_entropy(
    logits: Float[Tensor, "batch positions vocab"],
    tokens: Int[Tensor, "batch positions window"],
    in_bag: Bool[Tensor, "batch positions window"],
) -> Float[Tensor, " batch"]:
    """Sum the binary cross-entropies of all tokens over the positions with a bag, in nats.

    A token that is not in the bag costs softplus(z), one that is softplus(-z) = softplus(z) - z.
    """
    logits = logits.float()
    present = logits.gather(2, tokens).masked_fill(~in_bag, 0.0).sum(2)
    nats = F.softplus(logits).sum(2) - present
    return nats.masked_fill(~in_bag.any(2), 0.0).sum(1)
