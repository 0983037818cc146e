"""Next-token prediction with teacher forcing.

prompt  1,7|1,4|7,9|4,2/1,9=     answer  1 7 9
inputs  ... =  1  7              targets 1 7 9
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from unforced.data.batch import Batch
from unforced.decoding.autoregressive import Autoregressive
from unforced.decoding.base import Decoder
from unforced.models.base import SequenceModel
from unforced.objectives.base import Objective
from unforced.objectives.losses import answer_loss
from unforced.objectives.moment import Moment
from unforced.objectives.view import View, lay_out


class NextToken(Objective):
    """Train on sum_i log p(r_i | p, r_<i), the answer alone.

    Source: arXiv 2403.06963, Sec. 2, Eq. 2.
    """

    decoders: ClassVar[tuple[str, ...]] = ("autoregressive",)
    name: Literal["next_token"] = "next_token"

    @property
    def shows(self) -> Literal["prefix"]:
        """All of the answer before a token."""
        return "prefix"

    def view(self, batch: Batch, moment: Moment) -> View:
        """Feed the true answer up to its last token."""
        return lay_out(batch, batch.answer[:, :-1], self.weights(batch))

    def loss(
        self, model: SequenceModel, heads: nn.Module, view: View
    ) -> Mapping[str, Float[Tensor, " batch"]]:
        """Cross-entropy of the answer."""
        return answer_loss(model, view)

    @property
    def default_decoder(self) -> Decoder:
        """Token by token, greedily."""
        return Autoregressive()
