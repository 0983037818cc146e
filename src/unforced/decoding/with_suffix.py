"""Decoding token by token from a prefix and an empty suffix.

prompt  1,7|1,4|7,9|4,2/1,9=     answer   1 7 9         S: the empty suffix
prefix  ... =  1  7              written  1 7 9
suffix  S
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from unforced.decoding.base import Logits
from unforced.decoding.left_to_right import LeftToRightDecoder, Output
from unforced.models.base import SequenceModel


class SuffixHeads(nn.Module, ABC):
    """Heads that read suffixes, and predict from the states of a prefix and of a suffix."""

    @abstractmethod
    def read_nothing(self, specials: Mapping[str, int]) -> Float[Tensor, "1 1 width"]:
        """Return the state of the empty suffix."""

    @abstractmethod
    def next_logits(
        self,
        model: SequenceModel,
        prefix: Float[Tensor, "batch chosen width"],
        suffix: Float[Tensor, "#batch #chosen width"],
    ) -> Logits:
        """Return the logits of the token behind each prefix, given its state and that of a suffix."""


class WithSuffix(LeftToRightDecoder):
    """Writes token by token, from what the model says of the prefix, and the heads of the empty suffix.

    The empty suffix is read once. Source: arXiv 2410.23506, Sec. 2.
    """

    needs_heads: ClassVar[bool] = True
    name: Literal["with_suffix"] = "with_suffix"

    def output(self, model: SequenceModel, heads: nn.Module, specials: Mapping[str, int]) -> Output:
        """Join the states with that of the empty suffix."""
        assert isinstance(heads, SuffixHeads)
        empty = heads.read_nothing(specials)
        return lambda hidden, tokens: heads.next_logits(model, hidden, empty)
