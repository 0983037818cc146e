"""One self-contained page about runs: kinds of them, what was expected, learning curves, and single answers.

The page is a Jinja2 template. Its style and scripts lie in `assets/`, as files that a browser could load by
themselves, and are put into the page when it is written, beside the data; so one file can be mailed, kept or
opened from a disk, and asks nothing of any network (its own policy forbids it).

Charts are drawn as SVG by `assets/chart.js`. The chart libraries that Python packages carry would have been
most of every page (plotly.js 4.8 MB, Bokeh 1.3 MB; a page about nine runs is 0.3 MB), for two line charts
that share the style sheet (light, dark, print) and the keys of the rest of the page.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from unforced.files import write_atomically
from unforced.reporting.expectations_table import Judged
from unforced.reporting.load import ReportedStudy
from unforced.reporting.page.data import describe
from unforced.runs.groups import Group

_SCRIPTS = (
    "dom",
    "tables",
    "overview",
    "claims",
    "readings",
    "chart",
    "curves",
    "drawing",
    "explorer",
    "main",
)


def write_page(
    groups: Sequence[Group],
    to: Path,
    judged: Sequence[Judged] = (),
    studies: Sequence[ReportedStudy] = (),
    skipped: Mapping[str, str] | None = None,
) -> list[str]:
    """Write a page about groups of runs, and what studies expect of them, to the file `to`.

    The page names what was `skipped`, by folder with the reason. Returns a line about each part of a run that
    the page itself has to do without.
    """
    lacking: list[str] = []
    data = describe(groups, judged, studies, lacking)
    left_out = [f"{folder}: left out: {reason}" for folder, reason in (skipped or {}).items()]
    to.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(to, _render(data, left_out + lacking).encode())
    return lacking


def _render(data: Mapping[str, Any], skipped: Sequence[str]) -> str:
    environment = Environment(
        loader=PackageLoader(__name__, "assets"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html").render(
        style=_asset(environment, "page.css"),
        scripts=[_asset(environment, f"{name}.js") for name in _SCRIPTS],
        data=Markup(_json_in_html(data)),
        num_runs=len(data["runs"]),
        studies=data["studies"],
        num_claims=len(data["claims"]),
        skipped=skipped,
    )


def _asset(environment: Environment, name: str) -> Markup:
    """Read a file of the page as it is; it is no template."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _json_in_html(value: Any) -> str:
    """Write JSON that no HTML parser takes for a tag."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
