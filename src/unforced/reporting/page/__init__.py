"""One self-contained page about runs: an overview, learning curves, and single answers to step through.

The page is a Jinja2 template. Its style and scripts lie in `assets/`, as files that a browser could load by
themselves, and are put into the page when it is written, beside the data; so one file can be mailed, kept or
opened from a disk, and asks nothing of any network (its own policy forbids it).

Charts are drawn as SVG by `assets/chart.js`. The chart libraries that Python packages carry would have been
most of every page (plotly.js 4.8 MB, Bokeh 1.3 MB; a page about nine runs is 0.3 MB), for two line charts
that share the style sheet (light, dark, print) and the keys of the rest of the page.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from unforced.errors import UserError
from unforced.files import write_atomically
from unforced.reporting.page.data import describe

_SCRIPTS = ("dom", "overview", "chart", "curves", "drawing", "explorer", "main")


def write_page(folders: Sequence[Path], to: Path) -> list[str]:
    """Write a page about the runs in `folders` to the file `to`; return a line about each thing left out.

    Raises UserError if none of the folders holds a run that is done.
    """
    left_out: list[str] = []
    runs = []
    for path, name in zip(folders, _names(folders), strict=True):
        try:
            runs.append(describe(path, name, left_out))
        except (UserError, OSError) as error:
            left_out.append(f"{path}: left out: {error}")
    if not runs:
        reasons = "; ".join(left_out) or "no folder was given"
        raise UserError(f"there is no run to make a page of: {reasons}")
    to.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(to, _render(runs, left_out).encode())
    return left_out


def _names(folders: Sequence[Path]) -> list[str]:
    """Name each run by what its path does not share with the others'."""
    if not folders:
        return []
    shared = os.path.commonpath([path.absolute().parent for path in folders])
    return [str(path.absolute().relative_to(shared)) for path in folders]


def _render(runs: Sequence[Mapping[str, Any]], left_out: Sequence[str]) -> str:
    environment = Environment(
        loader=PackageLoader(__name__, "assets"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html").render(
        style=_asset(environment, "page.css"),
        scripts=[_asset(environment, f"{name}.js") for name in _SCRIPTS],
        data=Markup(_json_in_html(runs)),
        num_runs=len(runs),
        left_out=left_out,
    )


def _asset(environment: Environment, name: str) -> Markup:
    """Read a file of the page as it is; it is no template."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _json_in_html(value: Any) -> str:
    """Write JSON that no HTML parser takes for a tag."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
