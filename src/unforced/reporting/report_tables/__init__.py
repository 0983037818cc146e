"""The tables of a report. A new one is a function of the report's data, listed in TABLES.

Values that are the same in every row are written once, in the note.
"""

from collections.abc import Callable, Sequence

from unforced.reporting.expectations_table import Judged
from unforced.reporting.report_tables.cells import ReportTable
from unforced.reporting.report_tables.compute import equal_compute
from unforced.reporting.report_tables.diagnoses import diagnosis, positions
from unforced.reporting.report_tables.expected import expectations
from unforced.reporting.report_tables.outcomes import accuracy, creativity, seeds, slices, success
from unforced.runs.groups import Group

TABLES: Sequence[Callable[[Sequence[Group], Sequence[Judged]], ReportTable | None]] = (
    accuracy,
    slices,
    success,
    equal_compute,
    seeds,
    diagnosis,
    positions,
    creativity,
    expectations,
)
