"""Several views of a batch read in one pass: the prompt once, and behind it what each view has there.

prompt  1,7|1,4|7,9|4,2/1,9=     answer  1 7 9
inputs  ... =  1  7  $  $        targets 1 7 9 of one view, 1 7 9 of the other

Both stand at the same positions, and no token attends to one of another view. So the states are those of two
passes, at little more than the cost of one where prompts are longer than answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unforced.models.base import SequenceModel
from unforced.models.masks import token_positions
from unforced.objectives.view import View


def with_shared_prompts(model: SequenceModel, views: Sequence[View]) -> list[View]:
    """Give views of one batch states that are computed together, when the first is asked for.

    This concerns views of prompts with something behind, read causally; others stay as they are. So do all,
    where the model has no attention of the kind "mask", or no room for the sequence.
    """
    reading = _Reading(model, [view for view in views if _is_plain(view)])
    if len(reading.views) < 2 or "mask" not in model.attends or reading.length > model.trunk().max_length:
        return list(views)
    number = iter(range(len(views)))
    return [
        replace(view, states=partial(reading.states_of, next(number))) if _is_plain(view) else view
        for view in views
    ]


def _is_plain(view: View) -> bool:
    if view.prompt is None or view.attention != "causal" or view.positions is not None:
        return False
    return view.query_positions == slice(view.prompt - 1, view.inputs.shape[1])


@dataclass(frozen=True)
class _Reading:
    """Plain views that a model reads in one pass."""

    model: SequenceModel
    views: Sequence[View]

    @property
    def prompt(self) -> int:
        return self.views[0].prompt or 0

    @property
    def behind(self) -> list[int]:
        """How many tokens each view has behind the prompt."""
        return [view.inputs.shape[1] - self.prompt for view in self.views]

    @property
    def length(self) -> int:
        return self.prompt + sum(self.behind) if self.views else 0

    def states_of(self, index: int) -> Float[Tensor, "batch answer width"]:
        """Return the states at the query positions of a view."""
        return self._states[index]

    @cached_property
    def _states(self) -> list[Float[Tensor, "batch answer width"]]:
        views, device = self.views, self.views[0].inputs.device
        embedded = [self.model.embed(view.inputs, padding=view.padding) for view in views]
        places = [token_positions(view.padding, view.inputs.shape[1], 0, device) for view in views]
        padding = [view.padding for view in views if view.padding is not None]
        hidden = self.model.hidden(
            self._joined(embedded),
            positions=self._joined(places),
            padding=self._joined(padding) if padding else None,
            attention=self._attention(device),
            query_positions=slice(self.prompt - 1, None),
        )
        last, *answers = hidden.split([1, *self.behind], dim=1)
        return [torch.cat([last, answer], dim=1) for answer in answers]

    def _joined(self, of_views: Sequence[Tensor]) -> Tensor:
        """Put what belongs to the tokens of each view in the order in which all are read."""
        first, *others = of_views
        return torch.cat([first, *(each[:, self.prompt :] for each in others)], dim=1)

    def _attention(self, device: torch.device) -> Bool[Tensor, "1 time key"]:
        """Let each token attend to those before it that belong to the prompt or to its own view."""
        counts = enumerate((self.prompt, *self.behind))
        owner = torch.cat([torch.full((count,), index, device=device) for index, count in counts])
        return ((owner == 0) | (owner[:, None] == owner)).tril()[None]
