"""Reading problems from lines of text, with errors that name the line."""

from collections.abc import Callable, Iterable
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
