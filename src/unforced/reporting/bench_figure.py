"""Training speed against the size of a step: how near to the peak of matrix products."""

from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unforced.reporting.bench import name_of
from unforced.reporting.report_figures.style import CHANCE, INK, OKABE_ITO, PAGE, image, styled

_MARKERS = "osv^DPX"
_OURS = "unforced"
Point = tuple[str, str, float, float]
"""Library, model, FLOPs of a step, FLOP/s."""


def draw_bench(results: Mapping[str, Any], suffix: str) -> bytes:
    """Draw what was measured as an image: the sections `training` and `others`, as far as they are there."""
    with styled():
        return image(bench_figure(results), suffix)


def bench_figure(results: Mapping[str, Any]) -> Figure:
    """Draw FLOP/s against the FLOPs of a step, ours and the others', below the peak measured beside them.

    The FLOPs are those of our model for all, so heights compare as samples per second do.
    """
    figure = Figure(figsize=(PAGE, 4.0), layout="constrained")
    axes = figure.subplots()
    points = list(points_of(results))
    libraries = list(dict.fromkeys(library for library, *_ in points))
    for library, color, marker in zip(libraries, cycle(OKABE_ITO.values()), cycle(_MARKERS), strict=False):
        own = [point for point in points if point[0] == library]
        look: dict[str, Any] = {"color": color, "marker": marker, "linestyle": "none", "markersize": 4.5}
        axes.plot([p[2] for p in own], [p[3] for p in own], label=library, zorder=3, **look)
    _names(axes, [point for point in points if point[0] == _OURS])
    peak = results["peaks"]["matrix_product"]["flops_per_second"]["median"]
    axes.axhline(peak, **CHANCE, label=f"peak of matrix products, {results['environment']['dtype']}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("matrix products of a training step (FLOP)")
    axes.set_ylabel("FLOP/s")
    axes.margins(x=0.12, y=0.12)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def points_of(results: Mapping[str, Any]) -> Iterator[Point]:
    """Yield what is drawn: our training speeds, then the others'."""
    for row in results.get("training", ()):
        yield _OURS, name_of(row), *_place(row)
    for row in results.get("others", ()):
        if "missing" not in row:
            yield row["name"], name_of(row), *_place(row)


def _place(row: Mapping[str, Any]) -> tuple[float, float]:
    flops = row["flops_per_sample"]
    return flops * row["batch"], flops * row["samples_per_second"]["median"]


def _names(axes: Axes, points: list[Point]) -> None:
    for _, model, x, y in points:
        place: dict[str, Any] = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center"}
        axes.annotate(model, (x, y), color=INK, fontsize=6.5, **place)
