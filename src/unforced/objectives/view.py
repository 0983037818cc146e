"""Views: a batch laid out for a model, and how padding is kept out of it."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unforced.data.batch import Batch
from unforced.models.base import SequenceModel
from unforced.models.masks import Attention, QueryPositions

ANSWER = "answer"
"""The name of the term that is the cross-entropy of the answer."""
NEXT_TOKEN = "next_token"
"""The name of the term that is the loss of `next_token`, in an objective that has others with it."""


AnyView = TypeVar("AnyView", bound="View")


@dataclass(frozen=True)
class Term:
    """How one addend of a loss is averaged; known from the view, before the forward pass.

    count: the targets of each row, or the sum of their weights. The term's mean is the sum of its losses over
    the sum of its counts, over all rows of the optimiser step. weight: of that mean in the loss.
    """

    count: Float[Tensor, " batch"]
    weight: float = 1.0


@dataclass(frozen=True)
class View:
    """What the model reads, where it is asked, what it should say there, and how the loss is averaged.

    An objective with more to carry (targets of several heads, pairs, a noise level) extends it. weights: of
    the targets; None: all weigh 1. terms: those of the objective's loss, by name. prompt: how many of the
    first inputs are the batch's prompts as they are; None: the inputs are not prompts with something behind,
    or the loss asks for other states than `answer_states` gives. states: gives the states at the query
    positions where they are computed with those of other views.
    """

    inputs: Int[Tensor, "batch time"]
    targets: Int[Tensor, "batch answer"]
    query_positions: QueryPositions
    weights: Float[Tensor, "batch answer"] | Bool[Tensor, "batch answer"] | None = None
    positions: Int[Tensor, "batch time"] | None = None
    padding: Bool[Tensor, "batch time"] | None = None
    attention: Attention = "causal"
    terms: Mapping[str, Term] = field(default_factory=dict)
    prompt: int | None = None
    states: Callable[[], Tensor] | None = None

    @classmethod
    def of(cls: type["AnyView"], view: "View", **more: Any) -> "AnyView":
        """Return a view of this class with the fields of another one, as far as it has them, and `more`."""
        shared = {each.name for each in fields(cls)} & {each.name for each in fields(view)}
        return cls(**{name: getattr(view, name) for name in shared} | more)

    def map(self, function: Callable[[Tensor], Tensor]) -> "View":
        """Apply `function` to every tensor, also to those of a subclass and of the terms."""
        return replace(self, **{each.name: _map(getattr(self, each.name), function) for each in fields(self)})


def _map(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Term):
        return replace(value, count=function(value.count))
    if isinstance(value, View):
        return value.map(function)
    if isinstance(value, Mapping):
        return {key: _map(each, function) for key, each in value.items()}
    return type(value)(_map(each, function) for each in value) if type(value) in (list, tuple) else value


@dataclass(frozen=True)
class StackedView:
    """Views of several runs that ask for the same computation.

    like: that of one run. tensors: those of all, in the order in which `map` meets them; each has an axis of
    runs in front.
    """

    like: View
    tensors: tuple[Tensor, ...]

    @classmethod
    def of(cls, views: Sequence[View]) -> "StackedView":
        """Put views of equal signatures side by side."""
        return cls(views[0], tuple(map(torch.stack, zip(*map(tensors_of, views), strict=True))))

    def map(self, function: Callable[[Tensor], Tensor]) -> "StackedView":
        """Apply `function` to every tensor."""
        return replace(self, tensors=tuple(map(function, self.tensors)))

    def one(self, tensors: Iterable[Tensor]) -> View:
        """Return a view like that of one run, with other tensors."""
        return like(self.like, tensors)


def tensors_of(view: View | StackedView) -> list[Tensor]:
    """Return the tensors of a view, in the order in which `map` meets them."""
    tensors: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    view.map(note)
    return tensors


def like(view: View, tensors: Iterable[Tensor]) -> View:
    """Return a view with other tensors, given in the order in which `map` meets them."""
    given = iter(tensors)
    return view.map(lambda _: next(given))


def signature(value: Any) -> Hashable:
    """Describe a view, or a part of one, but for what its tensors hold and for its terms' weights.

    Whether a weight is zero counts. Views of equal signatures ask for the same computation.
    """
    if isinstance(value, Tensor):
        return value.shape, value.dtype
    if isinstance(value, Term):
        return signature(value.count), value.weight == 0
    if isinstance(value, StackedView):
        return signature(value.like), signature(value.tensors)
    if isinstance(value, View):
        parts = ((each.name, signature(getattr(value, each.name))) for each in fields(value))
        return type(value), *parts
    if isinstance(value, Mapping):
        return tuple((key, signature(part)) for key, part in value.items())
    if type(value) in (list, tuple):
        return tuple(signature(part) for part in value)
    return repr(value)


def lay_out(
    batch: Batch,
    answer_inputs: Int[Tensor, "batch inputs"],
    weights: Float[Tensor, "batch answer"] | Bool[Tensor, "batch answer"] | None = None,
) -> View:
    """Put `answer_inputs` behind the prompts and ask for the answer from the last prompt token on.

    Padding on the left of prompts is not attended to; padding on the right of answers has weight 0.
    `weights` says how much each answer token weighs (real ones 1, if None). The one term is ANSWER.
    """
    inputs, prompt = torch.cat([batch.prompt, answer_inputs], dim=1), batch.prompt.shape[1]
    query_positions = slice(prompt - 1, inputs.shape[1])
    weights = batch.answer_mask if weights is None else weights
    terms = {ANSWER: Term(count_of(batch.answer, weights))}
    if batch.prompt_mask is None:
        return View(inputs, batch.answer, query_positions, weights, terms=terms, prompt=prompt)
    real = torch.cat([batch.prompt_mask, torch.ones_like(answer_inputs, dtype=torch.bool)], dim=1)
    return View(inputs, batch.answer, query_positions, weights, padding=real, terms=terms, prompt=prompt)


def count_of(
    targets: Int[Tensor, "batch answer"],
    weights: Float[Tensor, "batch answer"] | Bool[Tensor, "batch answer"] | None,
) -> Float[Tensor, " batch"]:
    """Sum the weights of each row's targets; None: all weigh 1."""
    if weights is None:
        return torch.full((len(targets),), float(targets.shape[1]), device=targets.device)
    return weights.sum(1, dtype=torch.float32)


def answer_logits(model: SequenceModel, view: View) -> Float[Tensor, "batch answer vocab"]:
    """Return the logits at the positions that a view asks about."""
    return model.logits(answer_states(model, view))


def answer_states(model: SequenceModel, view: View) -> Float[Tensor, "batch answer width"]:
    """Return the final hidden states at the positions that a view asks about."""
    if view.states is not None:
        return view.states()
    return model.hidden(
        view.inputs,
        positions=view.positions,
        padding=view.padding,
        attention=view.attention,
        query_positions=view.query_positions,
    )
