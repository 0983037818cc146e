"""What a model without heads of an objective answers by: which inputs of training it has by itself."""

from unforced.decoding.base import Decoder
from unforced.objectives.base import Objective
from unforced.objectives.mixture import Mixture
from unforced.objectives.next_token import NextToken

OBJECTIVE = "objective.json"
"""The file beside a model that says what objective it was trained on."""


def unfit_for_causal(objective: Objective, decoder: Decoder) -> str:
    """Say why a causal language model by itself cannot write answers by a decoder; empty if it can."""
    if objective.needs.attention == "full":
        return "needs attention to later tokens, too, which a causal model does not have"
    if decoder.needs_heads:
        return "writes answers with its heads, which plain transformers does not have"
    if decoder.writes == "any_order":
        return "does not write answers from left to right, as generate of transformers does"
    return ""


def as_plain(objective: Objective, decoder: Decoder) -> Objective:
    """Return the objective that has the inputs and predictions of a decoder, and no heads.

    Where a decoder writes token by token after the true answer so far, that is next_token; of a mixture it is
    that of the part that the decoder fits, or best of one that has it by default.
    """
    if isinstance(objective, Mixture):
        fitting = [each for each in objective.objectives.values() if each.fits(decoder)]
        fitting.sort(key=lambda each: each.default_decoder.name != decoder.name)
        return as_plain(fitting[0], decoder) if fitting else objective
    if decoder.writes == "left_to_right" and objective.shows == "prefix" and NextToken().fits(decoder):
        return NextToken(train_positions=objective.train_positions)
    return objective
