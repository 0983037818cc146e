"""Rules that a part must keep to, and what is raised where it breaks some."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Subject = TypeVar("Subject")
Rule = Callable[[Subject], None]


class ConformanceError(AssertionError):
    """A part that breaks rules of its contract: a line for each, with what was found."""


class DoesNotApplyError(Exception):
    """Raised by a rule that does not concern a part."""


def require(condition: Any, found: str) -> None:
    """Raise ConformanceError with what was found, unless the condition holds."""
    if not condition:
        raise ConformanceError(found)


def words_of(rule: Rule[Any]) -> str:
    """Return what a rule asks for: the first line of its docstring."""
    return (rule.__doc__ or rule.__name__).partition("\n")[0].rstrip(".")


def check_all(part: str, rules: Sequence[Rule[Subject]], make: Callable[[], Subject]) -> None:
    """Apply rules, each to a subject of its own. Raises ConformanceError: a line for each that is broken."""
    broken: list[str] = []
    heard: set[str] = set()
    for rule in rules:
        try:
            rule(make())
        except DoesNotApplyError:
            continue
        except Exception as error:  # whatever the part raises
            kind = "" if isinstance(error, ConformanceError) else f"{type(error).__name__}: "
            message = f"{kind}{error}"
            broken.append(f"- {words_of(rule)}: {'the same' if message in heard else message}")
            heard.add(message)
    if broken:
        raise ConformanceError("\n".join([f"{part} breaks {len(broken)} of {len(rules)} rules:", *broken]))
