"""Text and tables on a terminal and in a log.

What users name (paths, runs, symbols) is printed as it is: nothing is read as markup. A table in a file or a
pipe has its own width. On a terminal, a table that is wider is printed as several with fewer columns below
each other, and text is wrapped at spaces: a number is never cut.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from unforced.streams import lasting

_UNLIMITED = 1_000_000  # columns, where output is not a terminal
_GAP = 2  # spaces behind each column of a table


def console() -> Console:
    """Return the console of standard output."""
    return _console(sys.stdout)


def progress_console() -> Console:
    """Return the console of standard error, whose failure ends no run."""
    return _console(lasting(sys.stderr))


def _console(file: Any) -> Console:
    is_terminal = file is not None and file.isatty()
    width = None if is_terminal else _UNLIMITED
    return Console(file=file, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str = "",
    caption: str = "",
    numbers: bool = False,
    to: Console | None = None,
) -> None:
    """Print a table; its first column names rows. numbers: the others are aligned right, never wrapped."""
    to = to or console()
    if title:
        to.print(Text(title, style="italic"))
    columns = [[head, *cells] for head, *cells in zip(header, *rows, strict=True)]
    needed = [_needed(cells, numbers) for cells in columns]
    natural = [_longest(cells) for cells in columns]
    for block in _blocks(needed, to.width):
        table = Table(box=None, padding=(0, _GAP, 0, 0))
        room = to.width - _GAP * len(block)
        widths = _widths([needed[column] for column in block], [natural[column] for column in block], room)
        for column, width in zip(block, widths, strict=True):
            justify: Literal["left", "right"] = "right" if numbers and column else "left"
            table.add_column(header[column], justify=justify, overflow="fold", width=width)
        for row in rows:
            table.add_row(*(row[column] for column in block))
        print_drawn(table, to)
    if caption:
        to.print(Text(caption, style="dim italic"))


def print_drawn(table: Table, to: Console) -> None:
    """Print a table of rich; in a file without spaces at the ends of its lines."""
    if to.is_terminal:
        to.print(table)
        return
    lines = to.render_lines(table, pad=False)
    text = "\n".join("".join(segment.text for segment in line).rstrip() for line in lines)
    to.print(Text(text, overflow="ignore", no_wrap=True), crop=False)


def print_lines(*lines: str, to: Console | None = None) -> None:
    """Print text as it is, wrapped at spaces on a terminal."""
    for line in lines:
        (to or console()).print(Text(line))


def _longest(texts: Iterable[str]) -> int:
    return max((Text(text).cell_len for text in texts), default=0)


def _needed(cells: Sequence[str], whole: bool) -> int:
    """Return the width of a column whose cells stay `whole`, or are broken at spaces; its header may be."""
    head, *others = cells
    return _longest([*head.split(), *others] if whole else [word for cell in cells for word in cell.split()])


def _widths(needed: Sequence[int], natural: Sequence[int], room: int) -> list[int]:
    """Give columns what they need, and then, from left to right, what they would have in a wider room.

    If there is too little room, the widest columns lose, and their words are broken.
    """
    widths = list(needed)
    while sum(widths) > room and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    for column, wanted in enumerate(natural):
        widths[column] += max(0, min(wanted - widths[column], room - sum(widths)))
    return widths


def _blocks(needed: Sequence[int], width: int) -> list[list[int]]:
    """Divide columns into blocks that fit into a width; the first column is in each block."""
    blocks: list[list[int]] = [[0]]
    for column in range(1, len(needed)):
        together = sum(needed[member] + _GAP for member in [*blocks[-1], column])
        if together > width and len(blocks[-1]) > 1:
            blocks.append([0])
        blocks[-1].append(column)
    return blocks
