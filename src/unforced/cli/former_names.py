"""Verbs under the names that the first release gave them."""

from collections.abc import Sequence

SEEDS, EVALUATE_MODEL = "seeds", "evaluate --model"
PRESENT = {SEEDS: "compare", EVALUATE_MODEL: "ask MODEL"}
_MODEL = "--model"


def with_present_verb(arguments: Sequence[str]) -> tuple[list[str], str]:
    """Return a command line with the present name of its verb, and the former name if it had that."""
    verb, *rest = arguments or [""]
    if verb == SEEDS:
        return ["compare", *rest], SEEDS
    for place, option in enumerate(rest if verb == "evaluate" else []):
        name, equals, value = option.partition("=")
        if name == _MODEL and equals:
            return ["ask", value, *rest[:place], *rest[place + 1 :]], EVALUATE_MODEL
        if name == _MODEL and place + 1 < len(rest):
            return ["ask", rest[place + 1], *rest[:place], *rest[place + 2 :]], EVALUATE_MODEL
    return list(arguments), ""
