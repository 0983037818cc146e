"""`quickstart`: the failure and two ways out, in a minute or two."""

import json
from pathlib import Path
from typing import Annotated

import typer

from unforced.cli.options import AsJson, Overrides
from unforced.cli.train import say_stopped

_SOURCE = "Bachmann & Nagarajan, ICML 2024 (arXiv 2403.06963)"


def quickstart(
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="Folder for the three runs, table and figure.")] = Path(
        "runs/quickstart"
    ),
    as_json: AsJson = False,
) -> None:
    """Train three small models: the failure and two ways out, as a table and a picture.

    Example: unforced quickstart seed=1 --out runs/quickstart-1
    """
    from unforced.recipes import resolve
    from unforced.reporting.quickstart import report
    from unforced.reporting.study_progress import watch_study
    from unforced.studies.local import LocalEngine
    from unforced.studies.runner import run_study
    from unforced.study import Study

    runs = resolve("quickstart", overrides or [])
    assert isinstance(runs, dict)
    engine = LocalEngine(workers=len(runs), processor_only=True)
    with watch_study(runs, out, quiet=as_json) as watch:
        ended = run_study(Study("quickstart", _SOURCE, runs), out, engine, watch, retries=0)
    if ended.stopped_by is not None:
        how_to_continue = f"checkpoints are in {out}, the same command continues from them"
        say_stopped(ended.stopped_by, how_to_continue, as_json)
        raise typer.Exit(128 + ended.stopped_by)
    ended.raise_failures()
    summary = report(out, list(runs), quiet=as_json)
    if as_json:
        print(json.dumps(summary))
