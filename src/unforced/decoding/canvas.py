"""Answers laid out block by block: hidden tokens are predicted from their block and those before it.

prompt  1,7|1,4|7,9|4,2/1,9=     answer  1 7 9     hidden  1 . 9
one block    ... = $ 7 $         all tokens see each other, and each is asked where it stands
blocks of 2  ... = 1 7   $ 7 $   true blocks, all but the last; then each block with its hidden tokens, which
                                 sees itself and the true ones before it
blocks of 1  ... = 1 7           a hidden token by itself sees no more than the one before it, which is asked
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from unforced.models.base import SequenceModel
from unforced.models.masks import Attention


@dataclass(frozen=True)
class Canvas:
    """Prompt and answer as a model reads them, and where it is asked for each answer token.

    answer: tokens of an answer; block: tokens of a block. The others are arguments of `SequenceModel.hidden`.
    """

    inputs: Int[Tensor, "batch time"]
    positions: Int[Tensor, "#batch time"] | None
    padding: Bool[Tensor, "batch time"] | None
    attention: Attention
    answer: int
    block: int

    @property
    def asked(self) -> slice:
        """The time steps that are asked for the answer tokens."""
        length = self.inputs.shape[1]
        return slice(length - self.answer, length)

    def states(self, model: SequenceModel, asked: slice) -> Float[Tensor, "batch asked width"]:
        """Return the hidden states at some time steps."""
        several = isinstance(self.attention, Tensor)
        return model.hidden(
            self._embedded(model) if several else self.inputs,
            positions=self.positions,
            padding=self.padding,
            attention=self.attention,
            query_positions=asked,
        )

    def _embedded(self, model: SequenceModel) -> Float[Tensor, "batch time width"]:
        """Embed each block with hidden tokens behind the true token before it, which stands elsewhere."""
        first = self.asked.start
        true, hiding = self.inputs[:, :first], self.inputs[:, first:]
        padding = None if self.padding is None else self.padding[:, :first]
        before = true[:, first - true_tokens(self.answer, self.block) - 1 :: self.block]
        rows = torch.cat([before[..., None], in_blocks(hiding, self.block)], dim=2)
        blocks = model.embed(rows.flatten(0, 1))[:, 1:].unflatten(0, rows.shape[:2]).flatten(1, 2)
        return torch.cat([model.embed(true, padding=padding), blocks[:, : self.answer]], dim=1)


def check_block(block: int | None, answer: int) -> None:
    """Raise ValueError for blocks that are longer than an answer."""
    if block is not None and block > answer:
        raise ValueError(
            f"block_size: {block} is beyond the {answer} tokens of an answer; give up to {answer}, or null "
            "for the whole answer"
        )


def true_tokens(answer: int, block: int | None) -> int:
    """Count the answer tokens before the last block."""
    return 0 if block is None else (answer - 1) // block * block


def in_blocks(
    tokens: Shaped[Tensor, "batch answer"], block: int | None
) -> Shaped[Tensor, "batch blocks block"]:
    """Split an answer into blocks; the last one is filled with zeros."""
    block = block or tokens.shape[1]
    return F.pad(tokens, (0, -tokens.shape[1] % block)).unflatten(1, (-1, block))


def canvas_length(prompt: int, answer: int, block: int | None) -> int:
    """Return the number of tokens of a canvas."""
    return prompt + true_tokens(answer, block) + (0 if block == 1 else answer)


def lay_out_canvas(
    prompt: Int[Tensor, "batch prompt"],
    real: Bool[Tensor, "batch prompt"] | None,
    true: Int[Tensor, "batch answer"],
    hiding: Int[Tensor, "batch answer"],
    block: int | None,
) -> Canvas:
    """Lay answers out in blocks (None: one block).

    real: which prompt tokens are no padding (all, if None). true: the answers. hiding: the same, with mask
    tokens in them.
    """
    answer = true.shape[1]
    num_true = true_tokens(answer, block)
    behind = true[:, :num_true] if block == 1 else torch.cat([true[:, :num_true], hiding], dim=1)
    inputs = torch.cat([prompt, behind], dim=1)
    padding = None if real is None else torch.cat([real, torch.ones_like(behind, dtype=torch.bool)], dim=1)
    if block == 1 or not num_true:
        attention: Attention = "causal" if block == 1 else "full"
        return Canvas(inputs, None, padding, attention, answer, block or answer)
    assert block is not None
    index = torch.arange(-prompt.shape[1], behind.shape[1], device=prompt.device)
    hides = index >= num_true
    place = index - num_true * hides
    skipped = 0 if real is None else (~real).sum(1, keepdim=True)
    positions = (place[None] + prompt.shape[1] - skipped).clamp(min=0)
    return Canvas(inputs, positions, padding, _sees(place, hides, block)[None], answer, block)


def _sees(place: Int[Tensor, " time"], hides: Bool[Tensor, " time"], block: int) -> Bool[Tensor, "time time"]:
    """Let each token see its own block, and all of the prompt and of the true answer before that block.

    place: in the answer, from 0; below 0 in the prompt, which is one block. hides: which tokens are those of
    the blocks with hidden tokens.
    """
    block_of = place.div(block, rounding_mode="floor").clamp(min=-1)
    same = (block_of[:, None] == block_of) & (hides[:, None] == hides)
    return same | ((block_of[:, None] > block_of) & ~hides)
