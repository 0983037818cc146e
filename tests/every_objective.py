"""All objectives of the package, with their default settings, and each kind of heads."""

from tests.objectives import Scribbled
from unforced.objectives.belief_state import BeliefState
from unforced.objectives.masked import Masked
from unforced.objectives.mixture import Mixture, MixturePart
from unforced.objectives.multi_token import MultiToken
from unforced.registry import HEADS, OBJECTIVES


def every_objective():
    """Objectives by a name for each; among them one that asks of a training loop all that it may."""
    defaults = {name: OBJECTIVES.get(name)() for name in OBJECTIVES.names()}
    heads = {f"multi_token {name}": MultiToken(heads=HEADS.get(name)()) for name in HEADS.names()}
    parts = tuple(MixturePart(objective=each) for each in (BeliefState(), Masked()))
    return defaults | heads | {"mixture of two with needs": Mixture(parts=parts), "scribbled": Scribbled()}
