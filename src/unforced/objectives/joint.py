"""Joint multi-token prediction: several tokens from one state, each given the true ones between.

prompt  1,7|1,4|7,9|4,2/1,9=     answer  1 7 9         horizon 3

state at       given             targets
... =          =  1  7           1 7 9
... =  1       1  7              7 9
... =  1  7    7                 9

What is given goes past the model: one layer of attention mixes it into the state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from unforced.data.batch import Batch
from unforced.decoding.base import Decoder, Logits
from unforced.decoding.joint import Joint, JointHeads
from unforced.models.base import SequenceModel, Trunk
from unforced.models.kernels.attention import causal_bias, math_attention
from unforced.models.kernels.precision import full_precision, matmul_dtype
from unforced.models.kernels.rotary import rotations, split_heads
from unforced.models.roles import set_role
from unforced.objectives.base import HeadLogits, Objective
from unforced.objectives.losses import token_losses
from unforced.objectives.moment import Moment
from unforced.objectives.schedule import Weight, weight_at
from unforced.objectives.view import Term, View, answer_states, count_of, lay_out

_ROTARY_BASE = 10_000.0


@dataclass(frozen=True, kw_only=True)
class JointView(View):
    """A view with the tokens that stand at the query positions, and the pairs of an offset and a target.

    offsets, places: of each pair, how many tokens behind its state's own next token the target is, and where
    in the answer. They are ordered by offset.
    """

    read: Int[Tensor, "batch answer"]
    offsets: Int[Tensor, " pairs"]
    places: Int[Tensor, " pairs"]


class Fetch(JointHeads):
    """Mixes tokens into a state: o_i = h + A_i, with A the output of a layer of causal attention.

    The layer reads LN(g h + E(x)) for the token that the state has read last, then for those behind it, with
    rotary positions; its output map starts at zero, and g at 0.1.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = next(heads for heads in (4, 2, 1) if width % (2 * heads) == 0 or heads == 1)
        self.share = nn.Parameter(torch.tensor([0.1]))
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, 3 * width, bias=False)
        self.to_state = nn.Linear(width, width, bias=False)
        nn.init.normal_(self.projection.weight, std=width**-0.5)
        nn.init.zeros_(self.to_state.weight)
        for part in (self.projection, self.to_state):
            set_role(part.weight, "matrix")

    def mixed(
        self, hidden: Float[Tensor, "... width"], embedded: Float[Tensor, "... width"]
    ) -> Float[Tensor, "... width"]:
        """Return what the layer reads of a state and a token."""
        return self.norm(self.share * hidden + embedded)

    def forward(
        self, hidden: Float[Tensor, "states width"], embedded: Float[Tensor, "states slots width"]
    ) -> Float[Tensor, "states slots width"]:
        """Attend from each slot to those up to it; the output map is yet to be applied."""
        slots, width = embedded.shape[1:]
        projected = self.projection(self.mixed(hidden[:, None], embedded))
        turn = None
        if width // self.heads % 2 == 0:
            places = torch.arange(slots, device=hidden.device)[None]
            turn = rotations(places, width // self.heads, _ROTARY_BASE)
        dtype = matmul_dtype(projected)
        query, key, value = split_heads(projected, 3, self.heads, turn, rotated=2, dtype=dtype)
        with full_precision(hidden.device):
            attended = math_attention(query, key, value, causal_bias(slots, 0, hidden.device))
        return attended.transpose(1, 2).flatten(2)

    def next_logits(
        self,
        model: SequenceModel,
        hidden: Float[Tensor, "batch chosen width"],
        tokens: Int[Tensor, "batch chosen"],
    ) -> Logits:
        """Return the logits of the next token: the first slot attends to itself alone, so to its value."""
        of_value = self.projection.weight[-hidden.shape[-1] :]
        fetched = F.linear(self.mixed(hidden, _embed(model, tokens)), of_value)
        return model.logits(hidden + self.to_state(fetched))


class JointPrediction(Objective):
    """Train on several tokens from each state, each given the true tokens between.

    The loss is sum_(i<n) w_i mean_t -log p(x_(t+i) | h_(t-1), x_t, ..., x_(t+i-1)) over the answer. The
    tokens between are mixed in by one layer of attention behind the model (`Fetch`), which unembeds the
    result. So a state must hold what only the prompt tells of the tokens further on. w_0 is 1, the others are
    w / (n - 1).

    Source: arXiv 2503.21801, whose D is n - 1, and the code of arXiv 2511.05963 by some of its authors: 4
    heads, g = 0.1 at first, w = 1. There, learnt biases stand for positions in the layer, a further norm
    behind it, and the next token's output goes without the state; here, positions are rotary, so that heads
    fit any horizon, and all outputs are o_i = h + A_i.
    """

    decoders: ClassVar[tuple[str, ...]] = ("joint",)
    name: Literal["joint"] = "joint"
    horizon: int | None = Field(
        None, ge=2, description="n: tokens predicted from a state, the next included (null: the whole answer)"
    )
    weight: Weight = Field(1.0, description="w: of the mean loss of the tokens behind the next")

    @property
    def shows(self) -> Literal["prefix"]:
        """All of the answer before a token."""
        return "prefix"

    @property
    def default_decoder(self) -> Decoder:
        """Token by token, by the first of the tokens that are predicted."""
        return Joint()

    def check(self, answer: int) -> None:
        """Raise ValueError if the horizon is beyond the answer."""
        if self.horizon is not None and self.horizon > answer:
            nearest = f"at most {answer}, or null" if answer > 1 else "null"
            raise ValueError(
                f"horizon: {self.horizon} tokens are more than answers of {answer} have; give {nearest}"
            )

    def build_heads(self, trunk: Trunk) -> Fetch:
        """Build the layer of attention."""
        return Fetch(trunk.width)

    def view(self, batch: Batch, moment: Moment) -> JointView:
        """Feed the true answer up to its last token; each offset has targets and a count of its own."""
        plain = lay_out(batch, batch.answer[:, :-1], self.weights(batch))
        length = batch.answer.shape[1]
        horizon = length if self.horizon is None else min(self.horizon, length)
        weights = [1.0] + [weight_at(self.weight, moment.progress) / (horizon - 1)] * (horizon - 1)
        terms = {}
        for offset, weight in enumerate(weights):
            counted = None if plain.weights is None else plain.weights[:, offset:]
            terms[f"offset_{offset + 1}"] = Term(count_of(plain.targets[:, offset:], counted), weight)
        offsets, places = torch.triu_indices(horizon, length, device=batch.answer.device)
        read = torch.cat([batch.prompt[:, -1:], batch.answer[:, :-1]], dim=1)
        return JointView.of(plain, read=read, offsets=offsets, places=places, terms=terms)

    def loss(
        self, model: SequenceModel, heads: nn.Module, view: View
    ) -> Mapping[str, Float[Tensor, " batch"]]:
        """Cross-entropy at each offset."""
        assert isinstance(view, JointView)
        logits, places = _logits(model, heads, view), view.places
        weights = None if view.weights is None else view.weights[:, places]
        nats = token_losses(logits, view.targets[:, places], weights)
        return {name: part.sum(1) for name, part in _by_offset(nats, view).items()}

    def head_logits(self, model: SequenceModel, heads: nn.Module, batch: Batch) -> Mapping[str, HeadLogits]:
        """Return what is predicted at each further offset, given the true tokens between."""
        view = self.view(batch, Moment(len(batch)))
        place = torch.arange(batch.answer.shape[1], device=batch.answer.device)
        parts = list(_by_offset(_logits(model, heads, view), view).items())
        return {
            name: HeadLogits(F.pad(logits, (0, 0, ahead, 0)), batch.real_answer & (place >= ahead))
            for ahead, (name, logits) in enumerate(parts)
            if ahead
        }


def _logits(model: SequenceModel, heads: nn.Module, view: JointView) -> Float[Tensor, "batch pairs vocab"]:
    """Return the logits of each pair's target."""
    assert isinstance(heads, Fetch)
    hidden, horizon = answer_states(model, view), len(view.terms)
    windows = F.pad(_embed(model, view.read), (0, 0, 0, horizon - 1)).unfold(1, horizon, 1).mT
    fetched = heads(hidden.flatten(0, 1), windows.flatten(0, 1)).unflatten(0, hidden.shape[:2])
    states = view.places - view.offsets
    return model.logits(hidden[:, states] + heads.to_state(fetched[:, states, view.offsets]))


def _by_offset(of_pairs: Tensor, view: JointView) -> dict[str, Tensor]:
    """Split what pairs have into that of each offset, by term."""
    length = view.targets.shape[1]
    return dict(
        zip(view.terms, of_pairs.split([length - each for each in range(len(view.terms))], 1), strict=True)
    )


def _embed(model: SequenceModel, tokens: Int[Tensor, "batch time"]) -> Float[Tensor, "batch time width"]:
    """Embed each token by itself."""
    return model.embed(tokens.flatten()[:, None])[:, 0].unflatten(0, tokens.shape)
