"""Transfer layers: the states, with the true next token added, are carried over to each further offset.

inputs   ... =  1           next token  W h_t
                            offset 2    W T_2(h_t + kappa E(1))
                            offset 3    W T_3(h_t + kappa E(1))
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from unforced.models.base import SequenceModel, Trunk
from unforced.models.masks import Padding, QueryPositions
from unforced.objectives.multi_token_heads.base import Hidden, StatefulHeads, States, asked_at, linear_map
from unforced.objectives.view import View, answer_states


class TransferHeads(StatefulHeads):
    """Each further head is a map of the model's states, to which the next true token is added.

    W T_k(h_t + kappa E(x_(t+1))), with a T_k for each offset and one learnt kappa. T_k is a linear map, or
    layers like the model's own. kappa starts at 1, of which the source says nothing.
    Source: arXiv 2509.23186, Sec. 3.2 and 4, which calls the added token next-token injection (NTI).
    """

    name: Literal["transfer"] = "transfer"
    layers: int = Field(0, ge=0, description="layers of each transfer (0: a linear map)")
    injects: Literal["next_token", "nothing"] = Field(
        "next_token", description="what is added to the states: the embedded next token, or nothing"
    )

    @property
    def reads_prompt(self) -> bool:
        """Layers attend to the prompt; linear maps work where they are asked."""
        return self.layers > 0

    def build(self, trunk: Trunk, offsets: Sequence[int]) -> nn.Module:
        """Build a transfer for each further offset, and kappa."""
        return _Transfers(trunk, self.layers, len(offsets) - 1, injects=self.injects == "next_token")

    def states(
        self, model: SequenceModel, heads: nn.Module, view: View, offsets: Sequence[int]
    ) -> Sequence[States]:
        """Read prompt and answer once; a linear map works only where it is asked."""
        assert isinstance(heads, _Transfers)
        first = asked_at(view, 1)
        inputs = model.embed(view.inputs, padding=view.padding)
        states = model.hidden(inputs, padding=view.padding) if self.layers else answer_states(model, view)
        model_states = states[:, first] if self.layers else states
        skipped = 0 if self.layers else first.start  # of the steps before `states`
        carried = heads.inject(states[:, :-1], inputs[:, skipped + 1 :])
        padding = None if view.padding is None else view.padding[:, :-1]
        further = []
        for transfer, offset in zip(heads.transfers, offsets[1:], strict=True):
            asked = asked_at(view, offset)
            asked = slice(asked.start - skipped, asked.stop - skipped)
            further.append(transfer(carried, padding, asked))
        return [model_states, *further]


class _Transfers(nn.Module):
    def __init__(self, trunk: Trunk, layers: int, count: int, injects: bool) -> None:
        super().__init__()
        self.kappa = nn.Parameter(torch.ones(())) if injects else None
        self.transfers = nn.ModuleList(
            _Layers(trunk, layers) if layers else _Linear(trunk.width) for _ in range(count)
        )

    def inject(self, states: Hidden, next_tokens: Hidden) -> Hidden:
        """Add the embedded next tokens to the states."""
        return states if self.kappa is None else states + self.kappa * next_tokens


class _Linear(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.map = linear_map(width, width)

    def forward(self, states: Hidden, padding: Padding | None, asked: slice) -> States:
        return self.map(states[:, asked])


class _Layers(nn.Module):
    def __init__(self, trunk: Trunk, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(trunk.block() for _ in range(layers))

    def forward(self, states: Hidden, padding: Padding | None, asked: QueryPositions) -> States:
        for layer in self.layers:
            is_last = layer is self.layers[-1]
            states = layer(states, padding=padding, query_positions=asked if is_last else None)
        return states
