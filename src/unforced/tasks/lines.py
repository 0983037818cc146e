"""Reading problems from lines of text, with errors that name the line."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from unforced.errors import UserError

Parsed = TypeVar("Parsed")


def read_each(
    lines: Iterable[str], source: str, what: str, parse: Callable[[str, Parsed | None], Parsed]
) -> list[Parsed]:
    """Parse each line that is not blank; `parse` is given the line and what it made of the first one.

    A ValueError of `parse` becomes a UserError that names `source`, the line, and that it is not `what`.
    """
    read: list[Parsed] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            read.append(parse(line.strip(), read[0] if read else None))
        except ValueError as error:
            raise UserError(f"{source}:{number}: not {what}: {error}") from None
    if not read:
        raise UserError(f"{source}: no problems in it")
    return read


def read_prompts(prompts: Sequence[str], what: str, parse: Callable[[str], Parsed]) -> list[Parsed]:
    """Parse each prompt. A ValueError of `parse` becomes a UserError that quotes the prompt."""
    read: list[Parsed] = []
    for prompt in prompts:
        try:
            read.append(parse(prompt.strip()))
        except ValueError as error:
            shown = prompt if len(prompt) <= 60 else f"{prompt[:60]}..."
            raise UserError(f"{shown!r} is not {what}: {error}") from None
    return read
