"""The figures of a report. A new one is a function of the groups and its line in FIGURES.

Each returns figures by the ending of their file names: "" for a single figure, else the name of a page; an
empty mapping if there is nothing to draw. Numbers come from `prepare_...` functions and `reporting.curves`.
"""

from collections.abc import Callable, Mapping, Sequence

from matplotlib.figure import Figure

from unforced.reporting.report_figures.accuracy import accuracy, creativity
from unforced.reporting.report_figures.cascade import cascade
from unforced.reporting.report_figures.compute import compute
from unforced.reporting.report_figures.curves import learning_curves
from unforced.reporting.report_figures.errors import error_kinds
from unforced.reporting.report_figures.margins import decision_margins
from unforced.reporting.report_figures.positions import positions
from unforced.reporting.report_figures.slices import slices
from unforced.reporting.report_figures.solved import solved_by
from unforced.reporting.report_figures.success import success
from unforced.runs.groups import Group

FIGURES: Sequence[Callable[[Sequence[Group]], Mapping[str, Figure]]] = (
    accuracy,
    creativity,
    slices,
    learning_curves,
    cascade,
    decision_margins,
    positions,
    error_kinds,
    success,
    solved_by,
    compute,
)
