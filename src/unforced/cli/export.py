"""`export`: a trained model as a folder for transformers."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from unforced.cli.options import AsJson, Base


def export(
    run_dir: Annotated[Path, typer.Argument(help="A run folder.")],
    to: Annotated[Path, typer.Option(help="The folder to write, absent or empty.")],
    base: Base = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's newest weights as a folder that transformers loads, with a card that says how to decode.

    Example: unforced export runs/mine --to exported/mine
    """
    from unforced.exporting import export_run

    exported = export_run(run_dir, to, base)
    for line in exported.refused:
        print(f"{line}; exported step {exported.step}", file=sys.stderr)
    if as_json:
        facts = {"folder": str(to), "architecture": exported.architecture, "files": exported.files}
        print(json.dumps(facts))
        return
    what = f"{exported.architecture} after {exported.step} steps"
    print(f"{to}: {what}, which transformers loads; its README.md says how to decode it")
