"""Leaping heads: offsets 1, k + 1, 2k + 1, ..., each with an adapter that starts as the identity.

inputs   ... =  1  7  9     stride 2
targets      1  7  9  2     next token
             9  2           offset 3
"""

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from pydantic import Field
from torch import nn

from unforced.models.base import SequenceModel, Trunk
from unforced.models.roles import set_role
from unforced.objectives.multi_token_heads.base import StatefulHeads, States, asked_at
from unforced.objectives.view import View, answer_states


class LeapHeads(StatefulHeads):
    """Each further head unembeds z + SiLU(V z + b), where z is the model's state; V and b start at zero.

    Source: arXiv 2505.17505 (L-MTP), whose public code gives each head a copy of the unembedding (here it is
    the model's own), weighs its loss .1 (here 1), and trains heads alone before it trains all.
    """

    name: Literal["leap"] = "leap"
    stride: int = Field(2, ge=1, description="from one offset to the next")

    @property
    def reads_prompt(self) -> Literal[False]:
        """They work where they are asked."""
        return False

    def offsets(self, horizon: int) -> tuple[int, ...]:
        """Return every `stride`-th offset."""
        return tuple(1 + self.stride * head for head in range(horizon))

    def advice(self, answer: int) -> str:
        """Name the largest stride of two heads."""
        return (
            f"with horizon=2, give heads.stride={answer - 1} at most"
            if answer > 1
            else super().advice(answer)
        )

    def build(self, trunk: Trunk, offsets: Sequence[int]) -> nn.Module:
        """Build an adapter for each further offset."""
        return nn.ModuleList(_adapter(trunk.width) for _ in offsets[1:])

    def states(
        self, model: SequenceModel, heads: nn.Module, view: View, offsets: Sequence[int]
    ) -> Sequence[States]:
        """Adapt the states of the positions where the heads are asked."""
        assert isinstance(heads, nn.ModuleList)
        first = asked_at(view, 1)
        states = answer_states(model, view)
        further = []
        for adapter, offset in zip(heads, offsets[1:], strict=True):
            own = states[:, : asked_at(view, offset).stop - first.start]
            further.append(own + F.silu(adapter(own)))
        return [states, *further]


def _adapter(width: int) -> nn.Linear:
    layer = nn.Linear(width, width)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    set_role(layer.weight, "matrix")
    return layer
