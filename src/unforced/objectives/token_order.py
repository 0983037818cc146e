"""Token order prediction (TOP): a second unembedding ranks the tokens to come by how soon each one comes.

prompt  1,7|1,4|7,9|4,2/1,9=     answer  1 7 9
inputs  ... =  1  7              targets 1 7 9
order   at `=`  1 > 7 > 9        after 1  7 > 9        after 7  9
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from unforced.data.batch import Batch
from unforced.models.base import SequenceModel, Trunk
from unforced.objectives.auxiliary import AuxiliaryObjective, check_weights, next_token_loss, next_token_view
from unforced.objectives.base import HeadLogits
from unforced.objectives.moment import Moment
from unforced.objectives.schedule import Weight, weight_at
from unforced.objectives.upcoming import check_window, scores_of_tokens, upcoming
from unforced.objectives.view import Term, View, answer_states

ORDER = "order"
"""The name of the term that is the ranking loss, and of the head that ranks."""


@dataclass(frozen=True, kw_only=True)
class OrderView(View):
    """The view of next-token prediction, with a distribution over the tokens that come after each position.

    upcoming: the tokens 1, 2, ..., `window` steps ahead. shares: their probabilities; 0 where a token stands
    nearer already, and behind the answer.
    """

    upcoming: Int[Tensor, "batch answer window"]
    shares: Float[Tensor, "batch answer window"]


class TokenOrder(AuxiliaryObjective):
    """Train on next tokens, and on the order of those to come: CE(softmax(y_t), log-softmax(U h_t)).

    y[t,v] = W - d, if token v comes next d <= W steps ahead (d = 1 is the next token), else -inf. U is an
    unembedding of its own. Source: arXiv 2508.19228, Eq. 9 and Algorithm 1. Differences: only answer tokens
    are ranked, at the positions that predict one; and the token that is read at t may be ranked at t, if it
    comes again, as in the authors' kernel, but not in their Algorithm 1.
    """

    name: Literal["token_order"] = "token_order"
    window: int | None = Field(
        None, ge=1, description="how many tokens ahead are ranked (null: to the end of the answer)"
    )
    weight: Weight = Field(1.0, description="weight of the ranking loss: a number or a schedule")

    @model_validator(mode="after")
    def _check(self) -> "TokenOrder":
        check_weights("weight", self.weight)
        return self

    def check(self, answer: int) -> None:
        """Refuse a window that reaches further than the answer."""
        check_window(self.window, answer)

    def build_heads(self, trunk: Trunk) -> nn.Module:
        """Build the unembedding that ranks."""
        return scores_of_tokens(trunk)

    def view(self, batch: Batch, moment: Moment) -> OrderView:
        """Feed the true answer up to its last token, and rank what comes after each position."""
        plain = next_token_view(self, batch)
        tokens, ranked = upcoming(batch.answer, self.weights(batch), self.window)
        count = ranked.any(2).sum(1, dtype=torch.float32)
        terms = {**plain.terms, ORDER: Term(count, weight_at(self.weight, moment.progress))}
        return OrderView.of(plain, terms=terms, upcoming=tokens, shares=shares_of(ranked))

    def loss(
        self, model: SequenceModel, heads: nn.Module, view: View
    ) -> Mapping[str, Float[Tensor, " batch"]]:
        """Cross-entropy of the answer, and of the rankings."""
        assert isinstance(view, OrderView)
        hidden = answer_states(model, view)
        order = sparse_cross_entropy(heads(hidden), view.upcoming, view.shares)
        return {**next_token_loss(model, hidden, view), ORDER: order}

    def head_logits(self, model: SequenceModel, heads: nn.Module, batch: Batch) -> Mapping[str, HeadLogits]:
        """Return the scores of each position, of which that of the next token should be highest."""
        scores = heads(answer_states(model, next_token_view(self, batch)))
        return {ORDER: HeadLogits(scores, torch.ones_like(batch.answer, dtype=torch.bool))}


def shares_of(ranked: Bool[Tensor, "batch answer window"]) -> Float[Tensor, "batch answer window"]:
    """Return softmax(W - d) over the tokens that are ranked, d = 1, 2, ...; 0 for others."""
    distances = torch.arange(ranked.shape[2], dtype=torch.float32, device=ranked.device)
    scores = torch.where(ranked, -distances, -torch.inf)
    return scores.softmax(2).masked_fill(~ranked, 0.0)


def sparse_cross_entropy(
    logits: Float[Tensor, "batch answer vocab"],
    tokens: Int[Tensor, "batch answer window"],
    shares: Float[Tensor, "batch answer window"],
) -> Float[Tensor, " batch"]:
    """Sum the cross-entropy of distributions that are given by the shares of some tokens, in nats.

    A token without a share adds 0, also where the logits hold it impossible.
    """
    logits = logits.float()
    scores = logits.gather(2, tokens).masked_fill(shares == 0, 0.0)
    return (shares.sum(2) * logits.logsumexp(2) - (shares * scores).sum(2)).sum(1)
