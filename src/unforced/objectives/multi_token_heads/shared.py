"""One head for all offsets: the model's prediction is scored against each of the next tokens.

inputs   ... =  1  7
targets      1  7  9      next token, weight 1
             7  9         offset 2, weight .5, falls to 0
             9            offset 3, weight .25, falls to 0 earlier
"""

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unforced.models.base import SequenceModel, Trunk
from unforced.objectives.multi_token_heads.base import Heads, Logits
from unforced.objectives.schedule import Schedule, Weight
from unforced.objectives.view import View, answer_logits


class SharedHead(Heads):
    """The model's own logits are scored against the next n tokens: no head has parameters.

    The loss at offset k weighs 2^(1-k), and falls to 0 between (n-k)/n and (n-k+1)/n of training, the
    furthest one first; in the last n-th of it, the next token alone is trained.
    Source: the records of KellerJordan/modded-nanogpt on GitHub from 2025-12-22 on, where n is 3.
    """

    name: Literal["shared"] = "shared"

    @property
    def reads_prompt(self) -> Literal[False]:
        """It is the model, asked for the answer."""
        return False

    def further_weights(self, horizon: int) -> tuple[Weight, ...]:
        """Return weights that fall to 0 one after the other."""
        return tuple(
            Schedule(
                first=2.0 ** (1 - k), last=0.0, begin=(horizon - k) / horizon, end=(horizon - k + 1) / horizon
            )
            for k in range(2, horizon + 1)
        )

    def build(self, trunk: Trunk, offsets: Sequence[int]) -> nn.Module:
        """Build nothing."""
        return nn.Identity()

    def logits(
        self, model: SequenceModel, heads: nn.Module, view: View, offsets: Sequence[int]
    ) -> Sequence[Logits]:
        """Return the model's logits for each offset."""
        logits = answer_logits(model, view)
        return [logits[:, : logits.shape[1] - offset + 1] for offset in offsets]

    def losses(
        self, model: SequenceModel, heads: nn.Module, view: View, offsets: Sequence[int]
    ) -> Sequence[Float[Tensor, " batch"]]:
        """Normalise the logits once, and look up those of all targets at once."""
        logits, count = answer_logits(model, view).float(), len(offsets)
        counted = view.targets.new_ones(view.targets.shape).bool() if view.weights is None else view.weights
        targets, counted = (
            F.pad(each, (0, count - 1)).unfold(1, count, 1) for each in (view.targets, counted)
        )
        nats = logits.logsumexp(-1, keepdim=True) - logits.gather(2, targets)
        return nats.masked_fill(counted == 0, 0.0).sum(1).unbind(1)
