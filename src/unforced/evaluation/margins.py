"""The margin of decisive tokens: how sure a prediction is, and of what.

    logits at token_1    7: 4.1   4: 3.9   9: -2.0      true 7: margin 0.2, a guess
                         7: 1.0   4: 9.0   9: -2.0      true 7: margin -8.0, confidently wrong

A failed run whose margin falls is confidently wrong, not under-trained: more steps will not help it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unforced.data.batch import Batch


def margins(
    logits: Float[Tensor, "batch answer vocab"], batch: Batch, positions: Sequence[int]
) -> Float[np.ndarray, "batch positions"]:
    """Return the logit of the true token minus the highest other one, at answer positions in forward order.

    Of a symbol that takes several tokens, the smallest margin counts: it is above 0 exactly where all of them
    are predicted right. NaN in answers without the position.
    """
    if not positions:
        return np.empty((len(batch), 0))
    marks = torch.stack([batch.covers([position]).expand(batch.answer.shape) for position in positions], 1)
    marks = marks if batch.answer_mask is None else marks & batch.answer_mask[:, None]
    asked = marks.flatten(0, 1).any(0).nonzero()[:, 0]
    chosen, true = logits[:, asked].float(), batch.answer[:, asked, None]
    others = chosen.scatter(2, true, -torch.inf).amax(-1, keepdim=True)
    margin = (chosen.gather(2, true) - others).mT
    smallest = margin.masked_fill(~marks[..., asked], torch.inf).amin(-1)
    return smallest.masked_fill(~marks.any(-1), torch.nan).double().numpy(force=True)


def mean_margins(
    margin: Float[np.ndarray, "count positions"],
    decisive: Bool[np.ndarray, "count length"],
    positions: Sequence[int],
) -> dict[str, float]:
    """Average margins over the problems in which a position is decisive.

    Returns `margin.token_i`, over all of these, and `margin_of_wrong.token_i`, over those predicted wrong.
    What has no problem, or is not finite, is left out.
    """
    means = {}
    for column, position in zip(margin.T, positions, strict=True):
        among = column[decisive[:, position]]
        for name, some in (("margin", among), ("margin_of_wrong", among[among < 0])):
            if len(some) and np.isfinite(mean := float(some.mean())):
                means[f"{name}.token_{position}"] = mean
    return means
