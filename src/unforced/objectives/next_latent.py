"""Next-latent prediction (NextLat): a final state and the tokens that follow predict the states to come.

prompt  1,7|1,4|7,9|4,2/1,9=     answer  1 7 9
inputs  ... =  1  7              targets 1 7 9
latent  state(=) and 1 should give state(1); that and 7 should give state(7), two steps on
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.func import functional_call

from unforced.data.batch import Batch
from unforced.models.base import SequenceModel, Trunk
from unforced.objectives.auxiliary import AuxiliaryObjective, check_weights, next_token_view
from unforced.objectives.base import HeadLogits
from unforced.objectives.losses import cross_entropy
from unforced.objectives.moment import Moment
from unforced.objectives.schedule import Weight, weight_at
from unforced.objectives.view import NEXT_TOKEN, Term, View

LATENT, KL = "latent", "kl"
"""The terms that compare predicted states with true ones: by their features, and by what they say."""
States = Float[Tensor, "batch time width"]
FewerStates = Float[Tensor, "batch _ width"]


@dataclass(frozen=True, kw_only=True)
class LatentView(View):
    """The view of next-token prediction, and which states are to be predicted.

    ahead: of the sequence's last states, those that count when predicted 1, 2, ... steps ahead. KL counts the
    last ones of them, which predict the answer.
    """

    ahead: Bool[Tensor, "batch steps states"]


class NextLatent(AuxiliaryObjective):
    """Train on next tokens, and on final states that follow from the one before and the next token.

    L = L_next_token + a/d sum_i SmoothL1(sg h_{t+i}, g_{t+i}) + b/d sum_i KL(sg p(h_{t+i}) || p(g_{t+i})),
    where g_t = h_t and g_{t+i} = g_{t+i-1} + f(LN[g_{t+i-1}; E(x_{t+i})]) for i = 1 ... d. f has three
    layers, sg stops the gradient, and KL leaves the unembedding p as it is. Smooth L1 counts states of the
    prompt, too, KL only those that predict the answer. Source: arXiv 2511.05963v4, Eq. 3-5 and 9, App. C.
    Differences: the last layer of f starts at zero, so that a state at first predicts itself; the state that
    has read the whole answer is no target; one mean over positions and steps, not a mean of means.
    """

    name: Literal["next_latent"] = "next_latent"
    horizon: int | None = Field(
        None, ge=1, description="steps d that are rolled out (null: answer tokens - 2, at least 1)"
    )
    latent_weight: Weight = Field(1.0, description="weight a of Smooth L1: a number or a schedule")
    kl_weight: Weight = Field(1.0, description="weight b of KL: a number or a schedule")
    dynamics_width: float = Field(
        0.5, gt=0, description="width of the hidden layers of f, as a share of its input's, 2 x the model's"
    )
    prompt_states: bool = Field(True, description="count states of the prompt in Smooth L1, too")

    @model_validator(mode="after")
    def _check(self) -> "NextLatent":
        check_weights("latent_weight, kl_weight", self.latent_weight, self.kl_weight)
        return self

    def check(self, answer: int) -> None:
        """Refuse a horizon that reaches further than the answer."""
        if self.horizon is not None and self.horizon > answer:
            raise ValueError(
                f"horizon: {self.horizon} steps are more than the {answer} tokens of an answer; give "
                f"{answer} at most, or null for {max(1, answer - 2)}"
            )

    def for_answers(self, answer: int) -> "NextLatent":
        """Fill in the steps that are rolled out."""
        return self.model_copy(update={"horizon": self._steps(answer)})

    def build_heads(self, trunk: Trunk) -> nn.Module:
        """Build f and the layer norm before it."""
        return Dynamics(trunk.width, max(1, round(2 * trunk.width * self.dynamics_width)))

    def view(self, batch: Batch, moment: Moment) -> LatentView:
        """Feed the true answer up to its last token, and say which states are to be predicted."""
        plain, weights = next_token_view(self, batch), self.weights(batch)
        in_prompt, in_answer = _reached(batch, self._steps(batch.answer.shape[1]))
        if weights is not None:
            in_answer = in_answer & weights[:, None]
        if not self.prompt_states:  # some are still needed to start from
            in_prompt = torch.zeros_like(in_prompt[:, :, -in_prompt.shape[1] :])
        ahead = torch.cat([in_prompt, in_answer], dim=2)
        latent, kl = (each.sum((1, 2), dtype=torch.float32) for each in (ahead, in_answer))
        terms = {
            **plain.terms,
            LATENT: Term(latent, weight_at(self.latent_weight, moment.progress)),
            KL: Term(kl, weight_at(self.kl_weight, moment.progress)),
        }
        return LatentView.of(plain, terms=terms, ahead=ahead, prompt=None)  # states of it are read, too

    def loss(
        self, model: SequenceModel, heads: nn.Module, view: View
    ) -> Mapping[str, Float[Tensor, " batch"]]:
        """Cross-entropy of the answer, and the two distances of predicted states from true ones."""
        assert isinstance(view, LatentView)
        length = view.targets.shape[1]
        tokens, states = _read(model, view, view.ahead.shape[2])
        logits = model.logits(states[:, -length:])
        predicted = _roll_out(heads, tokens, states, view.ahead.shape[1])
        return {
            NEXT_TOKEN: cross_entropy(logits, view.targets, view.weights),
            LATENT: _latent_loss(predicted, states.detach(), view.ahead),
            KL: _kl_loss(model, predicted, logits.detach(), view.ahead),
        }

    def head_logits(self, model: SequenceModel, heads: nn.Module, batch: Batch) -> Mapping[str, HeadLogits]:
        """Return what states say of the answer that are predicted 1, 2, ... steps ahead."""
        length, steps = batch.answer.shape[1], self._steps(batch.answer.shape[1])
        view = next_token_view(self, batch)
        tokens, states = _read(model, view, view.inputs.shape[1])
        in_answer = _reached(batch, steps)[1]
        found = {}
        for step, predicted in enumerate(_roll_out(heads, tokens, states, steps)):
            logits = model.logits(predicted[:, -length:])
            logits = F.pad(logits, (0, 0, length - logits.shape[1], 0))
            found[f"step_{step + 1}"] = HeadLogits(logits, in_answer[:, step])
        return found

    def _steps(self, answer: int) -> int:
        return self.horizon or max(1, answer - 2)


class Dynamics(nn.Module):
    """A step from a state to the next one, given the next token's embedding; at first, it changes nothing."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * width)
        self.first = nn.Linear(2 * width, hidden, bias=False)
        self.second = nn.Linear(hidden, hidden, bias=False)
        self.last = nn.Linear(hidden, width, bias=False)
        nn.init.zeros_(self.last.weight)

    def forward(self, states: States, tokens: States) -> States:
        """Return the next states."""
        inputs = self.norm(torch.cat([states, tokens], dim=2))
        return states + self.last(F.gelu(self.second(F.gelu(self.first(inputs)))))


class _Unembedding(nn.Module):
    """A model's logits as a module's output."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, hidden: States) -> Float[Tensor, "batch time vocab"]:
        return self.model.logits(hidden)


def frozen_logits(model: SequenceModel, hidden: States) -> Float[Tensor, "batch time vocab"]:
    """Unembed hidden states by weights that get no gradient from it; the states do."""
    module = _Unembedding(model)
    frozen = {name: parameter.detach() for name, parameter in module.named_parameters()}
    logits: Tensor = functional_call(module, frozen, (hidden,))
    return logits


def _reached(
    batch: Batch, steps: int
) -> tuple[Bool[Tensor, "batch steps before"], Bool[Tensor, "batch steps answer"]]:
    """Say which real states can be predicted 1, 2, ... steps ahead: those with a real one to start from.

    Return those before the last prompt token, and those that predict the answer.
    """
    prompt = (
        torch.ones_like(batch.prompt, dtype=torch.bool) if batch.prompt_mask is None else batch.prompt_mask
    )
    starts = torch.cat([prompt, torch.ones_like(batch.answer[:, 1:], dtype=torch.bool)], dim=1)
    shifted = [F.pad(starts, (step, 0))[:, : starts.shape[1]] for step in range(1, steps + 1)]
    reached = torch.stack(shifted, dim=1) & starts[:, None]
    before = batch.prompt.shape[1] - 1
    return reached[:, :, :before], reached[:, :, before:]


def _read(model: SequenceModel, view: View, time: int) -> tuple[States, States]:
    """Return the embeddings and the final states of the last `time` inputs."""
    tokens = model.embed(view.inputs, padding=view.padding)
    first = tokens.shape[1] - time
    wanted = slice(first, None) if first else None
    return tokens[:, first:], model.hidden(tokens, padding=view.padding, query_positions=wanted)


def _roll_out(dynamics: nn.Module, tokens: States, states: States, steps: int) -> list[FewerStates]:
    """Predict states 1, 2, ... `steps` steps ahead, given the true tokens.

    Return, for each number of steps, the last states of the sequence: all that have one to start from.
    """
    predicted = [states]
    for step in range(1, steps + 1):
        predicted.append(dynamics(predicted[-1][:, :-1], tokens[:, step:]))
    return predicted[1:]


def _latent_loss(
    predicted: Sequence[FewerStates], states: States, ahead: Bool[Tensor, "batch steps time"]
) -> Float[Tensor, " batch"]:
    """Sum the Smooth L1 distances, each a mean over features, of predicted from true states."""
    total = torch.zeros(len(states), device=states.device)
    for step, each in enumerate(predicted):
        last = each.shape[1]
        distances = F.smooth_l1_loss(each.float(), _last(states, last).float(), reduction="none").mean(2)
        total = total + distances.masked_fill(~_last(ahead[:, step], last), 0.0).sum(1)
    return total


def _kl_loss(
    model: SequenceModel,
    predicted: Sequence[FewerStates],
    logits: Float[Tensor, "batch answer vocab"],
    ahead: Bool[Tensor, "batch steps time"],
) -> Float[Tensor, " batch"]:
    """Sum the divergences of the answer's distributions from those of predicted states, in nats."""
    of_answer = [each[:, -logits.shape[1] :] for each in predicted]
    lengths = [each.shape[1] for each in of_answer]  # less than the answer's where the prompt is short
    counted = torch.cat([_last(ahead[:, step], length) for step, length in enumerate(lengths)], dim=1)
    true = logits.float().log_softmax(2)
    true = torch.cat([_last(true, length) for length in lengths], dim=1)
    said = frozen_logits(model, torch.cat(of_answer, dim=1)).float().log_softmax(2)
    nats = (true.exp() * (true - said)).sum(2)
    return nats.masked_fill(~counted, 0.0).sum(1)


def _last(x: Shaped[Tensor, "batch time ..."], count: int) -> Shaped[Tensor, "batch count ..."]:
    return x[:, x.shape[1] - count :]
