"""An objective of one's own: a blend of next-token and teacherless training, each averaged over its targets.

unforced train examples/objective.py:recipe objective.weight=0.3 --out runs/blend
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

import unforced as uf
from unforced.decoding.autoregressive import Autoregressive
from unforced.objectives.base import Objective
from unforced.objectives.losses import answer_loss
from unforced.objectives.next_token import NextToken
from unforced.objectives.teacherless import Teacherless
from unforced.objectives.view import ANSWER, Term, View


@dataclass(frozen=True)
class Both(View):
    """The view of next-token prediction, and that of teacherless training."""

    teacherless: View | None = None


class Blend(Objective):
    """Adds next-token and teacherless losses. Source: arXiv 2504.15266, Sec. 3."""

    name: Literal["blend"] = "blend"
    decoders: ClassVar[tuple[str, ...]] = ("autoregressive", "one_pass")
    shows: ClassVar[Literal["prefix"]] = "prefix"
    default_decoder: ClassVar[Autoregressive] = Autoregressive()
    weight: float = Field(0.5, gt=0, lt=1, description="of the teacherless loss")

    def view(self, batch, moment):
        """Lay the batch out both ways; a weight for the mean of each loss."""
        positions = {"train_positions": self.train_positions}
        forced, masked = (kind(**positions).view(batch, moment) for kind in (NextToken, Teacherless))
        count = forced.terms[ANSWER].count
        terms = {"next_token": Term(count, 1 - self.weight), "teacherless": Term(count, self.weight)}
        return Both(**{**vars(forced), "terms": terms}, teacherless=masked)

    def loss(self, model, heads, view):
        """Ask the model twice."""
        losses = {"next_token": answer_loss(model, view), "teacherless": answer_loss(model, view.teacherless)}
        return {name: loss[ANSWER] for name, loss in losses.items()}


def recipe():
    """The quickstart's model and task."""
    return uf.recipe("quickstart.next_token").replace(objective=Blend())
