"""The tokens that come after each position of an answer, and a head that scores tokens of the vocabulary."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor, nn

from unforced.models.base import Trunk

Answer = Int[Tensor, "batch answer"]
Upcoming = tuple[Int[Tensor, "batch answer window"], Bool[Tensor, "batch answer window"]]


def upcoming(answer: Answer, counted: Bool[Tensor, "batch answer"] | None, window: int | None) -> Upcoming:
    """Return the tokens 1, 2, ... `window` steps after each position, and which of them come first there.

    Position 0 is before the first token. Of equal tokens only the nearest is marked. Tokens that are not
    counted, and places behind the answer, never are. window: None reaches to the end of the answer.
    """
    length, place = answer.shape[1], torch.arange(answer.shape[1], device=answer.device)
    window = length if window is None else min(window, length)
    equal = (answer[:, :, None] == answer[:, None, :]) & (place[:, None] < place)
    if counted is not None:
        equal = equal & counted[:, :, None]
    latest = torch.where(equal, place[:, None], -1).amax(1)  # where each token stood last, before
    if counted is not None:
        latest = latest.masked_fill(~counted, length)
    behind = (0, window - 1)
    comes_first = F.pad(latest, behind, value=length).unfold(1, window, 1) < place[:, None]
    return F.pad(answer, behind).unfold(1, window, 1), comes_first


def check_window(window: int | None, answer: int) -> None:
    """Raise ValueError if a window reaches further than answers of `answer` tokens."""
    if window is not None and window > answer:
        raise ValueError(
            f"window: {window} tokens are more than the {answer} of an answer; give {answer} or null"
        )


def scores_of_tokens(trunk: Trunk) -> nn.Linear:
    """Build a linear map from a state to a score for each token of the vocabulary."""
    head = nn.Linear(trunk.width, trunk.vocab_size, bias=False)
    nn.init.normal_(head.weight, std=0.02)
    return head
