"""One self-contained page about runs: configurations, expectations, learning curves, single answers.

The page is a Jinja2 template. Its style and scripts lie in `assets/`, its chart library (uPlot, MIT licence)
in `vendor/uplot/`, unchanged from the npm registry, with version and hashes in `provenance.json`. All are
written into the page with the data, so that one file can be mailed, kept or opened from a disk and needs no
network (its content security policy forbids any).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from unforced.errors import UserError
from unforced.files import write_atomically
from unforced.reporting.expectations_table import Judged
from unforced.reporting.load import ReportedStudy
from unforced.reporting.page.data import describe
from unforced.reporting.page.diagnoses import Diagnosed, side_by_side
from unforced.reporting.page.position_chart import HEIGHT, WIDTH
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
    "answers",
    "explorer",
    "diagnosed",
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

    skipped: folders left out of the report, with the reason.

    Returns a line for each part of a run that is not on the page.
    """
    missing: list[str] = []
    diagnosed = _diagnosed(groups, missing)
    data = describe(groups, judged, studies, missing, [*diagnosed])
    left_out = [f"{folder}: left out: {reason}" for folder, reason in (skipped or {}).items()]
    to.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(to, _render(data, [*diagnosed.values()], left_out + missing).encode())
    return missing


def render(template: str, **values: Any) -> str:
    """Render a template of `assets/`, with the style of the pages."""
    environment = _environment()
    style = _asset(environment, "page.css")
    return environment.get_template(template).render(style=style, size=(WIDTH, HEIGHT), **values)


def _environment() -> Environment:
    return Environment(
        loader=ChoiceLoader([PackageLoader(__name__, "assets"), PackageLoader(__name__, "vendor/uplot")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


def _diagnosed(groups: Sequence[Group], missing: list[str]) -> dict[Path, Diagnosed]:
    """Put the diagnoses of runs into words, by folder. Appends a line to `missing` for a damaged one."""
    found = {}
    for group in groups:
        for run in group.runs:
            if run.diagnosis is None:
                continue
            label = f"{group.label}, seed {run.seed}"
            try:
                found[run.path] = Diagnosed.of(run.diagnosis, run.name, label, run.forced_note)
            except UserError as error:
                missing.append(f"{run.path}: without its diagnosis: {error}")
    return found


def _render(data: Mapping[str, Any], diagnosed: Sequence[Diagnosed], skipped: Sequence[str]) -> str:
    environment = _environment()
    return render(
        "page.html",
        uplot={
            "style": _asset(environment, "uPlot.min.css"),
            "script": _asset(environment, "uPlot.iife.min.js"),
            "licence": _asset(environment, "LICENSE"),
        },
        scripts=[_asset(environment, f"{name}.js") for name in _SCRIPTS],
        data=Markup(_json_in_html(data)),
        num_runs=len(data["runs"]),
        studies=data["studies"],
        num_claims=len(data["claims"]),
        told=side_by_side(diagnosed),
        skipped=skipped,
    )


def _asset(environment: Environment, name: str) -> Markup:
    """Read a file of the page without rendering it."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _json_in_html(value: Any) -> str:
    """Write JSON without characters that an HTML parser takes for a tag."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
