"""What diagnoses say of each answer position, for the page, tables and figures."""

from collections.abc import Mapping
from typing import Any

FORCED, FREE, FIRST_ERROR = "forced", "free", "first_error"


def by_position(diagnosis: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """Return the estimates at each position, or range of positions, by its label: `0`, `3–6`.

    Each has those of FORCED and FREE, and of FIRST_ERROR where an error can be the first. Empty where
    nothing was measured by position.
    """
    found = (diagnosis or {}).get("positions", {})
    return {
        _label(name): estimates
        for name, estimates in found.items()
        if isinstance(estimates, Mapping) and {FORCED, FREE} <= estimates.keys()
    }


def _label(name: str) -> str:
    """Turn `token_0` into `0`, and `tokens_3_to_6` into `3–6`."""
    return name.removeprefix("tokens_").removeprefix("token_").replace("_to_", "–")
