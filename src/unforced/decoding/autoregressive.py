"""Decoding token by token, by the model alone.

prompt  1,7|1,4|7,9|4,2/1,9=     answer   1 7 9
inputs  ... =  1  7              written  1 7 9
"""

from collections.abc import Mapping
from typing import Literal

from torch import nn

from unforced.decoding.left_to_right import LeftToRightDecoder, Output
from unforced.models.base import SequenceModel


class Autoregressive(LeftToRightDecoder):
    """Writes token by token, from left to right: each is the model's input for the next."""

    name: Literal["autoregressive"] = "autoregressive"

    def output(self, model: SequenceModel, heads: nn.Module, specials: Mapping[str, int]) -> Output:
        """Unembed the states."""
        return lambda hidden, tokens: model.logits(hidden)
