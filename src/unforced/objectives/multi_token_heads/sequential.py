"""Sequential heads: each goes on from the states of the one before it and the next true token.

inputs   ... =  1  7           next token  W h_t                                   from ... =
                               offset 2    W g_1(h_t, E(1))        = W h^1_t       from ... =  1
                               offset 3    W g_2(h^1_t, E(7))                      from ... =  1  7
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from unforced.models.base import SequenceModel, Trunk
from unforced.models.masks import Padding, QueryPositions
from unforced.objectives.multi_token_heads.base import Hidden, StatefulHeads, States, asked_at, linear_map
from unforced.objectives.schedule import Schedule, Weight
from unforced.objectives.view import View


class SequentialHeads(StatefulHeads):
    """Each further head is a layer on the states of the head before it and the next true token.

    h^k_t = layer_k(M_k [norm h^(k-1)_t; norm E(x_(t+k))]), unembedded behind a norm; h^0 = h. The embedding E
    and the unembedding are the model's. The losses at the D further offsets weigh lambda / D, with lambda .3,
    and .1 from two thirds of training on.
    Source: arXiv 2412.19437 (DeepSeek-V3), Sec. 2.2 and 4.2. Norms are those of the layers, not RMSNorm.
    """

    name: Literal["sequential"] = "sequential"

    def further_weights(self, horizon: int) -> tuple[Weight, ...]:
        """Return lambda / D for each offset; it falls within a hundredth of the run."""
        depths = horizon - 1
        return (Schedule(first=0.3 / depths, last=0.1 / depths, begin=0.67, end=0.68),) * depths

    def build(self, trunk: Trunk, offsets: Sequence[int]) -> nn.Module:
        """Build norms, a projection and a layer for each further offset."""
        return nn.ModuleList(_Depth(trunk) for _ in offsets[1:])

    def states(
        self, model: SequenceModel, heads: nn.Module, view: View, offsets: Sequence[int]
    ) -> Sequence[States]:
        """Read prompt and answer once, then head by head; the last one works only where it is asked."""
        assert isinstance(heads, nn.ModuleList)
        embedded = model.embed(view.inputs, padding=view.padding)
        states = model.hidden(embedded, padding=view.padding)
        found = [states[:, asked_at(view, 1)]]
        for depth, (head, offset) in enumerate(zip(heads, offsets[1:], strict=True), start=1):
            steps, asked, is_last = embedded.shape[1] - depth, asked_at(view, offset), depth == len(heads)
            assert isinstance(head, _Depth)
            padding = None if view.padding is None else view.padding[:, :steps]
            states = head(states[:, :steps], embedded[:, depth:], padding, asked if is_last else None)
            found.append(head.final_norm(states if is_last else states[:, asked]))
        return found


class _Depth(nn.Module):
    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.state_norm, self.token_norm, self.final_norm = (nn.LayerNorm(trunk.width) for _ in range(3))
        self.projection = linear_map(2 * trunk.width, trunk.width)
        self.layer = trunk.block()

    def forward(
        self, states: Hidden, tokens: Hidden, padding: Padding | None, query_positions: QueryPositions | None
    ) -> States:
        """Return the states of this depth, before `final_norm`. tokens: embedded, one for each state."""
        joined = torch.cat([self.state_norm(states), self.token_norm(tokens)], dim=-1)
        return self.layer(self.projection(joined), padding=padding, query_positions=query_positions)
