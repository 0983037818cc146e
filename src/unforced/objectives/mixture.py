"""A mixture of objectives: several views of the same batch, whose losses are added up by weights.

prompt  1,7|1,4|7,9|4,2/1,9=     answer  1 7 9
inputs  ... =  1  7              targets 1 7 9      next_token, weight 0.5
inputs  ... =  $  $              targets 1 7 9      teacherless, weight 0.5
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from unforced.data.batch import Batch
from unforced.decoding.base import Decoder
from unforced.decoding.modes import Shows
from unforced.models.base import SequenceModel, Trunk
from unforced.objectives.base import HeadLogits, Needs, Objective
from unforced.objectives.moment import Moment
from unforced.objectives.next_token import NextToken
from unforced.objectives.schedule import Schedule, Weight, is_ever_positive, weight_at
from unforced.objectives.shared_prompt import with_shared_prompts
from unforced.objectives.teacherless import Teacherless
from unforced.objectives.view import View
from unforced.parts import Config, Named

_ATTENTION: tuple[Literal["causal", "full", "mask"], ...] = (
    "causal",
    "full",
    "mask",
)  # each has those before
_SHOWS: tuple[Shows, ...] = ("nothing", "parts", "prefix")


class MixturePart(Config):
    """An objective of a mixture, and its weight. An objective alone, or its name, weighs 1."""

    objective: Named[Objective] = Field(description="what is trained")
    weight: Weight = Field(1.0, description="of its terms; a number, or a schedule (first, last, begin, end)")

    @model_validator(mode="before")
    @classmethod
    def _read_objective(cls, value: Any) -> Any:
        alone = "name" in value if isinstance(value, Mapping) else not isinstance(value, cls)
        return {"objective": value} if alone else value


def _default_parts() -> tuple[MixturePart, ...]:
    return tuple(MixturePart(objective=each, weight=0.5) for each in (NextToken(), Teacherless()))


@dataclass(frozen=True)
class MixtureView(View):
    """The views of a mixture's parts; its own fields are those of the first, but for the terms."""

    parts: tuple[View, ...] = ()


class Mixture(Objective):
    """Train on sum_k w_k(t) L_k: the losses of the parts on the same batch, by weights that may change.

    A term of a part has the part's name before its own, and its weight times that of the part. Weights are
    not normalised. `train_positions` applies to the parts that state none. Parts draw their noise
    independently.

    Source: arXiv 2504.15266, whose models without teacher forcing are trained on both. There a problem is in
    the training set several times, as the one or the other, in ratios from 1:1 to 1:3 that differ by task;
    here each row of a batch has both, by weights, so that the prompts of a step are the same for both.
    """

    name: Literal["mixture"] = "mixture"
    parts: tuple[MixturePart, ...] = Field(
        default_factory=_default_parts, min_length=1, description="what is added up, and by which weights"
    )

    @model_validator(mode="after")
    def _check(self) -> "Mixture":
        for place, part in enumerate(self.parts):
            if not is_ever_positive(part.weight):
                line = "0 for the whole run; drop the part, or give a weight above 0"
                raise ValueError(f"parts.{place}.weight: {line}")
        for begin, end in _weightless(self.parts):
            raise ValueError(
                f"parts: from progress {begin:g} to {end:g} all weights are 0; give a part a weight above 0, "
                "as in 1"
            )
        return self

    @property
    def objectives(self) -> Mapping[str, Objective]:
        """The parts' objectives by the parts' names: next_token; next_token_2 where it is a second one."""
        counts: Counter[str] = Counter()
        found = {}
        for part in self.parts:
            kind = part.objective.name
            counts[kind] += 1
            found[kind if counts[kind] == 1 else f"{kind}_{counts[kind]}"] = self._positioned(part.objective)
        return found

    def _positioned(self, objective: Objective) -> Objective:
        """Let the positions to train be those of the mixture, if the part has none."""
        if self.train_positions is None or objective.train_positions is not None:
            return objective
        return objective.model_copy(update={"train_positions": self.train_positions})

    @property
    def needs(self) -> Needs:
        """All that the parts need."""
        needs = [part.objective.needs for part in self.parts]
        attention = max((each.attention for each in needs), key=_ATTENTION.index)
        return Needs(attention, tuple(dict.fromkeys(special for each in needs for special in each.specials)))

    @property
    def shows(self) -> Shows:
        """The most that a part shows."""
        return max((part.objective.shows for part in self.parts), key=_SHOWS.index)

    @property
    def default_decoder(self) -> Decoder:
        """That of the first part."""
        return self.parts[0].objective.default_decoder

    def fits(self, decoder: Decoder) -> bool:
        """Whether a decoder fits one of the parts."""
        return self.name in decoder.objectives or any(part.objective.fits(decoder) for part in self.parts)

    def decoding(self, decoder: Decoder | None = None) -> Decoder:
        """Fill in the settings that the first part decides whose training had those that are given."""
        if decoder is None:
            return self.parts[0].objective.decoding()
        refused = None
        for part in self.parts:
            if part.objective.fits(decoder):
                try:
                    return part.objective.decoding(decoder)
                except ValueError as error:
                    refused = refused or error
        if refused is not None:
            raise refused
        return decoder

    def check(self, answer: int) -> None:
        """Check each part, and that `train_positions` are those of the parts together."""
        for place, part in enumerate(self.parts):
            try:
                part.objective.check(answer)
            except ValueError as error:
                raise ValueError(f"parts.{place}.objective.{error}") from None
        positions = _trained_positions(self)
        if positions != (None if self.train_positions is None else {*self.train_positions}):
            raise ValueError(
                f"train_positions: the parts together train {sorted(positions or ()) or 'all'}; give these"
            )

    def for_answers(self, answer: int) -> "Mixture":
        """Fill in what depends on the longest answer in each part."""
        parts = [
            part.model_copy(update={"objective": part.objective.for_answers(answer)}) for part in self.parts
        ]
        return self.model_copy(update={"parts": tuple(parts)})

    def sequence_length(self, prompt: int, answer: int) -> int:
        """Return the longest of the parts', and of a prompt with the answers of plain parts behind it."""
        lengths = [part.objective.sequence_length(prompt, answer) for part in self.parts]
        plain = prompt + answer - 1
        return max(*lengths, prompt + (answer - 1) * lengths.count(plain))

    def build_heads(self, trunk: Trunk) -> nn.ModuleList:
        """Build the heads of each part."""
        return nn.ModuleList(part.objective.build_heads(trunk) for part in self.parts)

    def heads_for(self, decoder: Decoder, heads: nn.Module) -> nn.Module:
        """Return those of the first part that the decoder fits."""
        for part, of_part in zip(self.parts, heads.children(), strict=True):
            if part.objective.fits(decoder):
                return part.objective.heads_for(decoder, of_part)
        return heads

    def view(self, batch: Batch, moment: Moment) -> MixtureView:
        """Lay the batch out for each part."""
        views, terms = [], {}
        for place, (name, objective) in enumerate(self.objectives.items()):
            view = objective.view(batch, moment.part(place))
            weight = weight_at(self.parts[place].weight, moment.progress)
            views.append(view)
            for key, term in view.terms.items():
                terms[f"{name}.{key}"] = replace(term, weight=weight * term.weight)
        return MixtureView.of(views[0], parts=tuple(views), terms=terms, prompt=None)

    def loss(
        self, model: SequenceModel, heads: nn.Module, view: View
    ) -> Mapping[str, Float[Tensor, " batch"]]:
        """Return the losses of all parts."""
        assert isinstance(view, MixtureView)
        views = with_shared_prompts(model, view.parts)
        parts = zip(self.objectives.items(), heads.children(), views, strict=True)
        return {
            f"{name}.{key}": rows
            for (name, objective), of_part, part in parts
            for key, rows in objective.loss(model, of_part, part).items()
        }

    def head_logits(self, model: SequenceModel, heads: nn.Module, batch: Batch) -> Mapping[str, HeadLogits]:
        """Return what the heads of all parts predict."""
        parts = zip(self.objectives.items(), heads.children(), strict=True)
        return {
            f"{name}.{key}": logits
            for (name, objective), of_part in parts
            for key, logits in objective.head_logits(model, of_part, batch).items()
        }


def _weightless(parts: tuple[MixturePart, ...]) -> list[tuple[float, float]]:
    """Return the first span of progress in which all weights are 0, if there is one."""
    schedules = [part.weight for part in parts if isinstance(part.weight, Schedule)]
    turns = sorted({0.0, 1.0, *(s.begin for s in schedules), *(s.end for s in schedules)})
    spans = pairwise(turns)  # in each of which weights are linear
    return [span for span in spans if not any(weight_at(part.weight, sum(span) / 2) for part in parts)][:1]


def _trained_positions(objective: Objective) -> set[int] | None:
    """Return the answer positions that an objective counts; None: all."""
    if not isinstance(objective, Mixture):
        return None if objective.train_positions is None else {*objective.train_positions}
    found: set[int] = set()
    for part in objective.objectives.values():
        positions = _trained_positions(part)
        if positions is None:
            return None
        found |= positions
    return found
