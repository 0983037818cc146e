"""A drawing of what a diagnosis says of each answer position: lines, intervals and bars in an SVG's units.

100%  o---o---o       o  given the true answer so far
 50%  x   x---x       x  on the model's own answer
  0%  #   .   .       #  answers whose first error is here
      0   1   2
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unforced.evaluation.statistics import percent
from unforced.reporting.positions import FIRST_ERROR, FORCED, FREE, by_position

WIDTH, HEIGHT = 340, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 8, 10, 38
_ASIDE = 3.5  # of both lines from the middle of a position, so that equal values stay apart
_BAR = 0.5  # of a position's width
_NAMES = {FORCED: "teacher-forced", FREE: "free-running", FIRST_ERROR: "first error"}


@dataclass(frozen=True)
class Dot:
    """An estimate: where it is, from where to where its interval goes, and in words."""

    x: float
    y: float
    low: float
    high: float
    words: str


@dataclass(frozen=True)
class PositionChart:
    """What is drawn. ticks: x and label of each position; levels: y and label.

    bars: x, y, width, height and words. A range of positions is labelled by its first one, since labels must
    fit beside each other.
    """

    ticks: list[tuple[float, str]]
    x_title: str
    levels: list[tuple[float, str]]
    forced: list[Dot]
    free: list[Dot]
    bars: list[tuple[float, float, float, float, str]]

    @property
    def summary(self) -> str:
        """Everything in words."""
        drawn = [*self.forced, *self.free]
        return "; ".join([*(dot.words for dot in drawn), *(words for *_, words in self.bars)])


def position_chart(diagnosis: Mapping[str, Any]) -> PositionChart | None:
    """Lay out the chart of a diagnosis; None where it says nothing by position."""
    found = by_position(diagnosis)
    if not found:
        return None
    slot = (WIDTH - _LEFT - _RIGHT) / len(found)
    middles = {label: _LEFT + (i + 0.5) * slot for i, label in enumerate(found)}
    bars = []
    for label, estimates in found.items():
        if FIRST_ERROR in estimates:
            top = _height(estimates[FIRST_ERROR]["value"])
            left, width = middles[label] - slot * _BAR / 2, slot * _BAR
            words = _words(FIRST_ERROR, label, estimates)
            bars.append((round(left, 1), top, round(width, 1), round(_height(0) - top, 1), words))
    return PositionChart(
        ticks=[(round(x, 1), label.partition("–")[0]) for label, x in middles.items()],
        x_title="answer position" + ", the first of each range" * any("–" in label for label in found),
        levels=[(_height(share), f"{100 * share:.0f}%") for share in (0, 0.25, 0.5, 0.75, 1)],
        forced=[_dot(FORCED, label, found[label], x - _ASIDE) for label, x in middles.items()],
        free=[_dot(FREE, label, found[label], x + _ASIDE) for label, x in middles.items()],
        bars=bars,
    )


def _dot(measure: str, label: str, estimates: Mapping[str, Any], x: float) -> Dot:
    value, low, high = (_height(estimates[measure][key]) for key in ("value", "low", "high"))
    return Dot(round(x, 1), value, low, high, _words(measure, label, estimates))


def _words(measure: str, label: str, estimates: Mapping[str, Any]) -> str:
    return f"position {label}, {_NAMES[measure]}: {percent(estimates[measure])}"


def _height(share: float | int) -> float:
    return round(_TOP + (1.0 - share) * (HEIGHT - _TOP - _BOTTOM), 1)
