"""Roles of parameters: what an optimiser may do to each.

matrix   a linear map inside a block: Muon's, where a run uses it; else AdamW with weight decay
table    embeddings, unembeddings and all else of several dimensions: AdamW with weight decay
vector   biases, scales of norms, and what decay must not move: AdamW without weight decay
"""

from typing import Literal

from torch import Tensor

ParameterRole = Literal["matrix", "table", "vector"]

_ATTRIBUTE = "_unforced_role"


def set_role(parameter: Tensor, role: ParameterRole) -> None:
    """Declare the role of a parameter. A copy of the parameter does not keep it."""
    setattr(parameter, _ATTRIBUTE, role)


def role(parameter: Tensor) -> ParameterRole:
    """Return the declared role; by default, `vector` for one dimension and `table` for more."""
    default: ParameterRole = "vector" if parameter.dim() < 2 else "table"
    declared: ParameterRole = getattr(parameter, _ATTRIBUTE, default)
    return declared
