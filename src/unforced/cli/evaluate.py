"""`evaluate`: what a trained run gets right."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from unforced.cli.options import AsJson, Base
from unforced.errors import UserError


def evaluate(
    run_dir: Annotated[Path, typer.Argument(help="A run folder.")],
    decoder: Annotated[
        list[str] | None,
        typer.Argument(help="Another decoder: decoder=NAME decoder.KEY=VALUE.", show_default=False),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="train, validation or test, or one that the task names. [default: train, test]"),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Problems per split. [default: the run's num_test]")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Measure on the problems of this .txt, .parquet or .jsonl file.")
    ] = None,
    base: Base = None,
    as_json: AsJson = False,
) -> None:
    """Measure a run's newest weights, teacher-forced and free-running.

    A model that was not trained by unforced is measured by `unforced ask`.

    Example: unforced evaluate runs/mine --split test --count 5000

    Example: unforced evaluate runs/mine decoder=autoregressive decoder.temperature=1
    """
    from unforced.config import other_decoder
    from unforced.experiment import evaluate_file, evaluate_run, load_run
    from unforced.reporting.tables import show_accuracy
    from unforced.tasks.sampling import check_split

    if data is not None and (split or count):
        raise UserError("--data measures on a file; drop --split and --count")
    loaded = load_run(run_dir, base).decoded_by(other_decoder(decoder or []))
    for name in split or []:
        check_split(loaded.run.task, name)
    for line in loaded.refused:
        print(f"{line}; measuring step {loaded.step}", file=sys.stderr)
    if data is not None:
        result = evaluate_file(loaded, data)
    else:
        result = evaluate_run(loaded, split or ["train", "test"], count)
    if as_json:
        print(json.dumps(result))
        return
    show_accuracy(result, loaded.run)
