"""Parallel heads: a layer for each offset, all of them on the same states.

states   h_3 at =        next token  W h_3           1
                         offset 2    W f_2(h_<=3)    7
                         offset 3    W f_3(h_<=3)    9
"""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from unforced.models.base import SequenceModel, Trunk
from unforced.models.masks import Padding, QueryPositions
from unforced.objectives.multi_token_heads.base import Hidden, StatefulHeads, States, asked_at
from unforced.objectives.view import View


class ParallelHeads(StatefulHeads):
    """Each further head is one layer on the model's final states, a norm, and the model's unembedding.

    Source: arXiv 2404.19737, Sec. 2. There the heads stand on the states before the model's last layer, which
    is head 1, and share its final norm; here the whole model is head 1, so that the other heads are one layer
    deeper, and each has a norm of its own. So any model can be given heads, and its decoding stays as it is.
    """

    name: Literal["parallel"] = "parallel"

    def build(self, trunk: Trunk, offsets: Sequence[int]) -> nn.Module:
        """Build a layer and a norm for each further offset."""
        return nn.ModuleList(_Head(trunk) for _ in offsets[1:])

    def states(
        self, model: SequenceModel, heads: nn.Module, view: View, offsets: Sequence[int]
    ) -> Sequence[States]:
        """Read prompt and answer once; each head's layer attends to all of it, up to its position."""
        assert isinstance(heads, nn.ModuleList)
        states = model.hidden(view.inputs, padding=view.padding)
        further = [
            head(states, view.padding, asked_at(view, offset))
            for head, offset in zip(heads, offsets[1:], strict=True)
        ]
        return [states[:, asked_at(view, 1)], *further]


class _Head(nn.Module):
    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.layer, self.norm = trunk.block(), nn.LayerNorm(trunk.width)

    def forward(self, states: Hidden, padding: Padding | None, query_positions: QueryPositions) -> States:
        return self.norm(self.layer(states, padding=padding, query_positions=query_positions))
