"""An objective with a head: a further layer says the token after next, from the same hidden states.

unforced train examples/objective_with_heads.py:recipe --out runs/further
unforced study examples/objective_with_heads.py:comparison --out runs/comparison
unforced report runs/comparison --to report
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

import unforced as uf
from unforced.decoding.autoregressive import Autoregressive
from unforced.objectives.base import Objective
from unforced.objectives.losses import cross_entropy
from unforced.objectives.view import ANSWER, Term, View, count_of, lay_out
from unforced.study import Study, over_seeds


@dataclass(frozen=True)
class Further(View):
    """A next-token view that also says which tokens the head is trained on."""

    later: Tensor | None = None


class OneFurther(Objective):
    """Predicts two tokens at once in training. Source: arXiv 2404.19737, Sec. 2, with two heads."""

    name: Literal["one_further"] = "one_further"
    decoders: ClassVar[tuple[str, ...]] = ("autoregressive",)
    shows: ClassVar[Literal["prefix"]] = "prefix"
    default_decoder: ClassVar[Autoregressive] = Autoregressive()

    def build_heads(self, trunk):
        """One more layer like the model's."""
        return trunk.block()

    def view(self, batch, moment):
        """Feed the true answer; the head's targets are all but the first."""
        view = lay_out(batch, batch.answer[:, :-1], self.weights(batch))
        real = torch.ones_like(view.targets, dtype=torch.bool) if view.weights is None else view.weights
        later = real & (torch.arange(real.shape[1], device=real.device) > 0)
        terms = {"next": view.terms[ANSWER], "further": Term(count_of(view.targets, later), weight=0.5)}
        return Further(**{**vars(view), "terms": terms, "prompt": None}, later=later)  # all states are read

    def loss(self, model, heads, view):
        """Unembed the hidden states, and what the head makes of them."""
        hidden = model.hidden(view.inputs, padding=view.padding)
        ahead = heads(hidden, padding=view.padding)[:, view.query_positions][:, :-1]
        logits, further = model.logits(hidden[:, view.query_positions]), model.logits(ahead)
        return {
            "next": cross_entropy(logits, view.targets, view.weights),
            "further": cross_entropy(further, view.targets[:, 1:], view.later[:, 1:]),
        }


def recipe():
    """The quickstart's model and task."""
    return uf.recipe("quickstart.next_token").replace(objective=OneFurther())


def comparison():
    """A study: it and next-token prediction, over five seeds."""
    runs = {"next_token": recipe().replace(objective="next_token"), "one_further": recipe()}
    return Study("one_further", "arXiv 2404.19737, Sec. 2", over_seeds(runs, seeds=range(5)))
