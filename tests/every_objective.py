"""All objectives of the package, with their default settings, and each kind of heads."""

from tests.objectives import Scribbled
from unforced.objectives.multi_token import MultiToken
from unforced.registry import HEADS, OBJECTIVES


def every_objective():
    """Objectives by a name for each; among them one that asks of a training loop all that it may."""
    defaults = {name: OBJECTIVES.get(name)() for name in OBJECTIVES.names()}
    heads = {f"multi_token {name}": MultiToken(heads=HEADS.get(name)()) for name in HEADS.names()}
    return defaults | heads | {"scribbled": Scribbled()}
