"""Decoding token by token, by the first of several tokens that heads predict jointly.

prompt  1,7|1,4|7,9|4,2/1,9=     answer   1 7 9
inputs  ... =  1  7              written  1 7 9
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from unforced.decoding.base import Logits
from unforced.decoding.left_to_right import LeftToRightDecoder, Output
from unforced.models.base import SequenceModel


class JointHeads(nn.Module, ABC):
    """Heads that predict several tokens from a state, each given those before it."""

    @abstractmethod
    def next_logits(
        self,
        model: SequenceModel,
        hidden: Float[Tensor, "batch chosen width"],
        tokens: Int[Tensor, "batch chosen"],
    ) -> Logits:
        """Return the logits of the first: of the token behind each of `tokens`, whose states are `hidden`."""


class Joint(LeftToRightDecoder):
    """Writes token by token, from left to right: the first of the tokens that the heads predict jointly.

    Source: arXiv 2503.21801; the code of arXiv 2511.05963, which decodes such models so.
    """

    needs_heads: ClassVar[bool] = True
    name: Literal["joint"] = "joint"

    def output(self, model: SequenceModel, heads: nn.Module, specials: Mapping[str, int]) -> Output:
        """Ask the heads for the next token."""
        assert isinstance(heads, JointHeads)
        return lambda hidden, tokens: heads.next_logits(model, hidden, tokens)
