"""`export`: a trained model as a folder for transformers."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from unforced.cli.options import AsJson, Base


def export(
    run_dir: Annotated[
        Path,
        typer.Argument(metavar="RUN_DIR|FILE.gguf", help="A run folder, or a language model in a GGUF file."),
    ],
    to: Annotated[Path, typer.Option(help="The folder to write, absent or empty.")],
    base: Base = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's newest weights as a folder that transformers loads, with a card that says how to decode.

    Of a GGUF file, write the language model in it as such a folder, its weights in fp32: one that `train` and
    `ask` start from.

    Example: unforced export runs/mine --to exported/mine

    Example: unforced export SmolLM2-135M-Instruct.Q4_1.gguf --to models/smollm2
    """
    from unforced.exporting import export_run

    if run_dir.suffix == ".gguf":
        _export_gguf(run_dir, to, base, as_json)
        return
    exported = export_run(run_dir, to, base)
    for line in exported.refused:
        print(f"{line}; exported step {exported.step}", file=sys.stderr)
    if as_json:
        facts = {"folder": str(to), "architecture": exported.architecture, "files": exported.files}
        print(json.dumps(facts))
        return
    what = f"{exported.architecture} after {exported.step} steps"
    print(f"{to}: {what}, which transformers loads; its README.md says how to decode it")


def _export_gguf(file: Path, to: Path, base: Path | None, as_json: bool) -> None:
    """Write the model in a GGUF file as a folder."""
    from unforced.errors import UserError
    from unforced.exporting import export_gguf

    if base is not None:
        raise UserError(f"--base: {file} is no run, and started from no other model; drop --base")
    files = export_gguf(file, to)
    if as_json:
        print(json.dumps({"folder": str(to), "files": files}))
        return
    print(f"{to}: the model of {file.name}, in fp32; ask it, or train it with model.name_or_path={to}")
