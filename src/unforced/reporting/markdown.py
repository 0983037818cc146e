"""Text, code and tables as Markdown of GitHub's flavour, in which nothing is read as markup by accident."""

import re
from collections.abc import Sequence

_MARKUP = re.compile(r"[\\`*<|$~]|(?<!\w)_|_(?!\w)|(?<=\])\(|&(?=#?\w+;)")


def plain(text: str) -> str:
    """Escape text that is to be read as it is, in a paragraph or in a cell of a table."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split("\n")))


def code_span(text: str) -> str:
    """Write text as code, in a paragraph."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    padding = " " if text[:1] == "`" or text[-1:] == "`" else ""
    return f"{fence}{padding}{text}{padding}{fence}"


def code_cell(text: str) -> str:
    """Write text as code, in a cell of a table, where a bar ends a cell even in code."""
    return code_span(text).replace("|", r"\|")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table whose cells are Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
