"""The style of a report's figures: widths, colour-blind-safe colours, panels, pages."""

import io
import itertools
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import matplotlib
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unforced.runs.groups import Group

COLUMN, PAGE = 3.4, 6.9  # inches: one column of a paper, and two
MOST = 6  # configurations on a page
_ACROSS = 4  # small panels side by side
INK, FAINT = "0.15", "0.55"
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "pdf.fonttype": 42,
    "svg.hashsalt": "unforced",
    "savefig.dpi": 200,
    "savefig.bbox": "tight",  # a label wider than the figure widens it
    "savefig.pad_inches": 0.02,
}


FORMATS: Mapping[str, Mapping[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""Formats of a figure, without the metadata that would differ between days or versions."""


def styled() -> AbstractContextManager[None]:
    """Draw within this context as reports do."""
    return matplotlib.rc_context(cast("Any", STYLE))


def image(figure: Figure, suffix: str) -> bytes:
    """Return a figure in a format."""
    file = io.BytesIO()
    figure.savefig(file, format=suffix, metadata=dict(FORMATS[suffix]))
    return file.getvalue()


CHANCE: dict[str, Any] = {"color": INK, "linestyle": (0, (1, 1.2)), "linewidth": 1, "zorder": 1}
OKABE_ITO = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "black": "#000000",
    "yellow": "#F0E442",
}
"""Source: Okabe and Ito, Color Universal Design (2008)."""
_MARK_COLORS = [
    OKABE_ITO[name] for name in ("blue", "vermillion", "green", "purple", "orange", "sky", "black")
]
_MARKERS = "os^DvPX<>"


@dataclass(frozen=True)
class Mark:
    """The colour and the marker of a configuration: each distinguishes it without the other."""

    color: str
    marker: str


def marks(groups: Sequence[Group]) -> dict[str, Mark]:
    """Assign a mark to each configuration, the same in every figure of a report."""
    names = dict.fromkeys(group.configuration for group in sorted(groups, key=lambda group: group.rank))
    pairs = zip(itertools.cycle(_MARK_COLORS), itertools.cycle(_MARKERS), strict=False)
    return {name: Mark(*pair) for name, pair in zip(names, pairs, strict=False)}


def pages(groups: Sequence[Group], most: int = MOST) -> Iterator[tuple[str, list[Group]]]:
    """Split groups into pages of one topology and model and at most `most` configurations, each with a name.

    The name of a single page is empty.
    """
    chunks = []
    for _, part in itertools.groupby(groups, key=lambda group: group.facet):
        members = list(part)
        parts = -(-len(members) // most)
        size = -(-len(members) // parts)
        for page in (members[i : i + size] for i in range(0, len(members), size)):
            names = f" {page[0].configuration} to {page[-1].configuration}" if parts > 1 else ""
            chunks.append((slug(page[0].facet + names), page))
    for name, page in chunks:
        yield name if len(chunks) > 1 else "", page


def across(count: int) -> int:
    """Return how many of `count` panels share a row."""
    return count if count <= _ACROSS else 3


def slug(text: str) -> str:
    """Turn text into a file name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def wrapped(text: str, width: int = 24) -> str:
    """Break a long label into lines."""
    return "\n".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False))


def titled(group: Group, columns: int) -> str:
    """Title of a group's panel, one of `columns` in a row: the objective, then its settings."""
    return "\n".join(wrapped(part, 88 // columns) for part in (group.objective, group.settings) if part)


def panels(
    cells: Sequence[int],
    height: float,
    labels: tuple[str, str],
    columns: int = 3,
    width: float | None = None,
    share_x: bool = True,
) -> tuple[Figure, list[Axes]]:
    """Make panels, `height` inches each, in these cells of a grid, counted row by row from 0.

    labels: of the x axis below a column, and of the y axis beside a row.
    width: in inches; None for a paper's column, or its page where panels stand side by side.
    share_x: whether the x axes are one; the y axes always are.
    """
    columns = min(columns, len(cells))
    rows = max(cells) // columns + 1
    size = width or (COLUMN if columns == 1 else PAGE)
    figure = Figure(figsize=(size, 0.45 + height * rows), layout="constrained")
    flat = list(figure.subplots(rows, columns, sharex=share_x, sharey=True, squeeze=False).flat)
    for cell, axes in enumerate(flat):
        if cell not in cells:
            axes.remove()
        elif cell + columns not in cells:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(labels[0])
        if cell % columns == 0:
            axes.set_ylabel(labels[1])
    return figure, [flat[cell] for cell in cells]


def percent_axis(axes: Axes) -> None:
    """Set the y axis to 0 to 100%, with a margin for markers."""
    axes.set_ylim(-0.03, 1.04)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])


def legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """Put a legend below the panels, in as many columns as fit."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(len(handles), int(figure.get_figwidth() / (0.058 * longest + 0.42))))
    rows = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + 0.16 * (rows - 1))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, handlelength=1.6)


def configuration_handles(styles: Mapping[str, Mark]) -> list[Line2D]:
    """Return the legend entries of configurations."""
    return [
        Line2D([], [], color=mark.color, marker=mark.marker, markersize=4, label=name)
        for name, mark in styles.items()
    ]


def draw_chance(axes: Axes, chance: float, start: float, end: float) -> None:
    """Draw the line of chance from `start` to `end` (data coordinates), labelled with its value."""
    axes.plot([start, end], [chance] * 2, **CHANCE)
    inverse = round(1 / chance) if chance else 0
    words = f"1/{inverse}" if inverse and abs(chance * inverse - 1) < 1e-6 else f"{chance:.1%}"
    axes.annotate(
        words,
        (end, chance),
        xytext=(1.5, 0),
        textcoords="offset points",
        va="center",
        color=INK,
        fontsize=6.5,
    )


def chance_handles(groups: Sequence[Group]) -> list[Line2D]:
    """Return the legend entry of the line of chance, if any group has one."""
    if all(group.chance is None for group in groups):
        return []
    return [Line2D([], [], label="chance", **CHANCE)]


def position_color(position: int, length: int) -> tuple[float, float, float, float]:
    """Return the colour of an answer position: dark to light along the answer."""
    return colormaps["viridis"](0.9 * position / max(1, length - 1))
