"""Belief state Transformer: from a prefix and a suffix, the tokens next to both of them.

prompt  1,7|1,4|7,9|4,2/1,9=     answer  1 7 9         S: the empty suffix

prefix         suffix            next   previous
... 1,9=       7 9               1      1
... 1,9=         9               1      7
... 1,9=           S             1      9
... 1,9= 1       9               7      7
... 1,9= 1         S             7      9
... 1,9= 1 7       S             9      9

forward        1,7|1,4|7,9|4,2/1,9=  1  7          backward       S  9  7
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
from unforced.decoding.base import Decoder, Logits
from unforced.decoding.with_suffix import SuffixHeads, WithSuffix
from unforced.models.base import SequenceModel, Trunk
from unforced.models.masks import QueryPositions, select
from unforced.models.roles import set_role
from unforced.objectives.base import HeadLogits, Needs, Objective
from unforced.objectives.losses import cross_entropy
from unforced.objectives.moment import Moment
from unforced.objectives.schedule import Weight, weight_at
from unforced.objectives.view import Term, View, answer_states, count_of, lay_out

NEXT, PREVIOUS = "next", "previous"
_EMPTY_SUFFIX = "empty_suffix"

Pairs = Int[Tensor, " pairs"] | Int[Tensor, "batch pairs"]
States = Float[Tensor, "batch chosen width"]


@dataclass(frozen=True, kw_only=True)
class BeliefStateView(View):
    """A view with pairs of a prefix and a suffix of the answer.

    reversed_answer: the empty suffix's token, then the answer from its last token back to its second.
    prefixes, suffixes: of each pair, how many answer tokens each holds; the same of each row, or its own.
    """

    reversed_answer: Int[Tensor, "batch answer"]
    prefixes: Pairs
    suffixes: Pairs
    next_targets: Int[Tensor, "batch pairs"]
    previous_targets: Int[Tensor, "batch pairs"]
    next_weights: Bool[Tensor, "batch pairs"]
    previous_weights: Bool[Tensor, "batch pairs"]


class BeliefStateHeads(SuffixHeads):
    """A second model, which reads suffixes backward, and what joins its states B to the first one's, F.

    With a = LeakyReLU(W_F F + W_B B + c): the first model says the next token at F + U a, the second one the
    previous token at B + V a. U and V start at zero.
    """

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        width = trunk.width
        self.backward_model = trunk.twin()
        self.of_prefix = nn.Linear(width, width)
        self.of_suffix = nn.Linear(width, width, bias=False)
        self.to_next, self.to_previous = (nn.Linear(width, width, bias=False) for _ in range(2))
        nn.init.zeros_(self.of_prefix.bias)
        for part in (self.of_prefix, self.of_suffix):
            nn.init.normal_(part.weight, std=(2 * width) ** -0.5)
        for part in (self.to_next, self.to_previous):
            nn.init.zeros_(part.weight)
        for part in (self.of_prefix, self.of_suffix, self.to_next, self.to_previous):
            set_role(part.weight, "matrix")

    def read(self, reversed_answer: Int[Tensor, "batch time"]) -> States:
        """Return the states of suffixes: of the empty one, then of one token more each."""
        return self.backward_model.hidden(reversed_answer)

    def read_nothing(self, specials: Mapping[str, int]) -> Float[Tensor, "1 1 width"]:
        """Return the state of the empty suffix."""
        device = self.of_prefix.weight.device
        return self.read(torch.full((1, 1), specials[_EMPTY_SUFFIX], device=device))

    def next_logits(
        self,
        model: SequenceModel,
        prefix: States,
        suffix: Float[Tensor, "#batch #chosen width"],
    ) -> Logits:
        """Return the logits of the token behind each prefix."""
        joined = F.leaky_relu(self.of_prefix(prefix) + self.of_suffix(suffix))
        return model.logits(prefix + self.to_next(joined))

    def pair_logits(
        self,
        model: SequenceModel,
        states: tuple[Float[Tensor, "batch prefix width"], Float[Tensor, "batch suffix width"]],
        prefixes: QueryPositions,
        suffixes: QueryPositions,
    ) -> tuple[Logits, Logits]:
        """Return the logits of the token behind each pair's prefix, and of the one before its suffix.

        states: of all prefixes, and of all suffixes; each is joined to others only after W.
        """
        prefix, suffix = states
        joined = F.leaky_relu(
            select(self.of_prefix(prefix), prefixes) + select(self.of_suffix(suffix), suffixes)
        )
        return (
            model.logits(select(prefix, prefixes) + self.to_next(joined)),
            self.backward_model.logits(select(suffix, suffixes) + self.to_previous(joined)),
        )


class BeliefState(Objective):
    """Train on the tokens next to a prefix and to a suffix, each given states F and B of both.

    The loss is -log p(x_(t+1) | F, B) - w log p(x_(t+k-1) | F, B), with F of x_1..x_t and B of x_(t+k)..x_T.
    F is the model's state of the prefix, from the last prompt token on; B the state of a suffix of the
    answer, the empty one included, which a second model reads backward. All pairs count that leave a token
    between the two (k >= 2); where they leave one alone, it is both the next and the previous one. Each
    model reads a row once.

    Source: arXiv 2410.23506. There, pairs are of the whole text; here, suffixes are within the answer. Its
    head is a linear map, LeakyReLU, and a linear map to two vocabularies (Fig. 13, as x-transformers'
    `belief_state_wrapper` has it); here, states go past these maps, to the unembedding of each model. As in
    its authors' later code (that of arXiv 2511.05963), a budget of pairs spares those with the empty suffix,
    which decoding is made of; there, the two models share an embedding.
    """

    decoders: ClassVar[tuple[str, ...]] = ("with_suffix",)
    name: Literal["belief_state"] = "belief_state"
    pairs: int | None = Field(
        None, ge=1, description="pairs with a suffix, drawn per problem and step (null: all)"
    )
    weight: Weight = Field(1.0, description="w: of the previous token's loss; that of the next weighs 1")

    @property
    def needs(self) -> Needs:
        """A token that stands for the empty suffix."""
        return Needs(specials=(_EMPTY_SUFFIX,))

    @property
    def shows(self) -> Literal["prefix"]:
        """All of the answer before a token; in the pairs with a suffix, some of what follows, too."""
        return "prefix"

    @property
    def default_decoder(self) -> Decoder:
        """From prefixes and the empty suffix."""
        return WithSuffix()

    def check(self, answer: int) -> None:
        """Raise ValueError if there are fewer pairs than the budget."""
        most = answer * (answer - 1) // 2
        if self.pairs is not None and self.pairs > most:
            nearest = f"at most {most}, or null" if most else "null"
            raise ValueError(
                f"pairs: answers of {answer} tokens have {most} pairs of a prefix and a suffix, not "
                f"{self.pairs}; give {nearest}"
            )

    def build_heads(self, trunk: Trunk) -> BeliefStateHeads:
        """Build the second model, and what joins the states."""
        return BeliefStateHeads(trunk)

    def view(self, batch: Batch, moment: Moment) -> BeliefStateView:
        """Feed the answer to both models, and pair what they will have read."""
        lengths = batch.answer_lengths
        prefixes, suffixes = self._draw(batch, lengths, moment)
        before = lengths - 1 - suffixes  # the place of the token before each suffix
        there = before >= prefixes
        next_weights, previous_weights = (
            there & self._counted(batch, places) for places in (prefixes, before)
        )
        weight = weight_at(self.weight, moment.progress)
        return BeliefStateView.of(
            lay_out(batch, batch.answer[:, :-1], self.weights(batch)),
            reversed_answer=_reversed(batch, lengths),
            prefixes=prefixes,
            suffixes=suffixes,
            next_targets=_at(batch.answer, prefixes),
            previous_targets=_at(batch.answer, before),
            next_weights=next_weights,
            previous_weights=previous_weights,
            terms={
                NEXT: Term(count_of(before, next_weights)),
                PREVIOUS: Term(count_of(before, previous_weights), weight),
            },
        )

    def _draw(self, batch: Batch, lengths: Int[Tensor, "batch 1"], moment: Moment) -> tuple[Pairs, Pairs]:
        """Return the pairs with the empty suffix, then others: how many tokens their two parts hold.

        These are ordered by the tokens of both, so that those of a shorter answer come first.
        """
        size, device = batch.answer.shape[1], batch.answer.device
        both, suffixes = torch.tril_indices(size - 1, size - 1, device=device) + 1
        alone = torch.arange(size, device=device)
        if self.pairs is None or self.pairs >= len(both):
            return torch.cat([alone, both - suffixes]), torch.cat([torch.zeros_like(alone), suffixes])
        lots = moment.uniform(len(both)).masked_fill(both >= lengths, -1.0)
        chosen = lots.topk(self.pairs).indices
        alone = alone.expand(len(batch), -1)
        return (
            torch.cat([alone, (both - suffixes)[chosen]], dim=1),
            torch.cat([torch.zeros_like(alone), suffixes[chosen]], dim=1),
        )

    def _counted(self, batch: Batch, places: Pairs) -> Bool[Tensor, "batch pairs"]:
        """Say whether the loss counts the answer tokens at these places."""
        weights = self.weights(batch)
        if weights is None:
            weights = torch.ones_like(batch.answer, dtype=torch.bool)
        return _at(weights, places)

    def loss(
        self, model: SequenceModel, heads: nn.Module, view: View
    ) -> Mapping[str, Float[Tensor, " batch"]]:
        """Cross-entropy of the token behind each prefix, and of the token before each suffix."""
        assert isinstance(view, BeliefStateView)
        assert isinstance(heads, BeliefStateHeads)
        states = answer_states(model, view), heads.read(view.reversed_answer)
        following, previous = heads.pair_logits(model, states, view.prefixes, view.suffixes)
        return {
            NEXT: cross_entropy(following, view.next_targets, view.next_weights),
            PREVIOUS: cross_entropy(previous, view.previous_targets, view.previous_weights),
        }

    def head_logits(self, model: SequenceModel, heads: nn.Module, batch: Batch) -> Mapping[str, HeadLogits]:
        """Return what is said of each token from the prompt and all of the answer behind the token."""
        assert isinstance(heads, BeliefStateHeads)
        lengths, size = batch.answer_lengths, batch.answer.shape[1]
        view = lay_out(batch, batch.answer[:, :0])
        states = answer_states(model, view), heads.read(_reversed(batch, lengths))
        suffixes = (lengths - 1 - torch.arange(size, device=lengths.device)).clamp(min=0)
        _, previous = heads.pair_logits(model, states, torch.zeros_like(suffixes), suffixes)
        return {PREVIOUS: HeadLogits(previous, batch.real_answer)}


def _reversed(batch: Batch, lengths: Int[Tensor, "batch 1"]) -> Int[Tensor, "batch answer"]:
    """Return the empty suffix's token, then answers from the last token back to the second."""
    nothing = torch.full_like(batch.answer[:, :1], batch.specials[_EMPTY_SUFFIX])
    places = lengths - torch.arange(1, batch.answer.shape[1], device=lengths.device)
    return torch.cat([nothing, torch.where(places > 0, _at(batch.answer, places), nothing)], dim=1)


def _at(rows: Tensor, places: Pairs) -> Tensor:
    """Return what stands at some places of each row; at its ends, for places beyond."""
    return select(rows, places.clamp(0, rows.shape[1] - 1))
