"""Teacherless training: the whole answer at once, from the prompt and mask_token tokens.

prompt  1,7|1,4|7,9|4,2/1,9=     answer  1 7 9
inputs  ... =  $  $              targets 1 7 9
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unforced.data.batch import Batch
from unforced.decoding.base import Decoder
from unforced.decoding.one_pass import OnePass
from unforced.models.base import SequenceModel
from unforced.objectives.base import Objective
from unforced.objectives.losses import answer_loss
from unforced.objectives.moment import Moment
from unforced.objectives.view import View, lay_out


class Teacherless(Objective):
    """Train on sum_i log p(r_i | p, $_<i): the whole answer from the prompt alone.

    Source: arXiv 2403.06963, Sec. 5; arXiv 2311.13581.
    """

    decoders: ClassVar[tuple[str, ...]] = ("one_pass", "autoregressive")
    name: Literal["teacherless"] = "teacherless"

    @property
    def shows(self) -> Literal["nothing"]:
        """The prompt alone."""
        return "nothing"

    def view(self, batch: Batch, moment: Moment) -> View:
        """Feed a mask_token for every answer token but the last."""
        return lay_out(batch, _dummies(batch), self.weights(batch))

    def loss(
        self, model: SequenceModel, heads: nn.Module, view: View
    ) -> Mapping[str, Float[Tensor, " batch"]]:
        """Cross-entropy of the answer."""
        return answer_loss(model, view)

    @property
    def default_decoder(self) -> Decoder:
        """All at once, from the same inputs."""
        return OnePass()


def _dummies(batch: Batch) -> Int[Tensor, "batch inputs"]:
    return torch.full_like(batch.answer[:, :-1], batch.mask_token)
