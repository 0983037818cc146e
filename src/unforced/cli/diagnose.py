"""`diagnose`: why a run fails."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from unforced.cli.options import AsJson, Base


def diagnose(
    run_dir: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    decoder: Annotated[
        list[str] | None,
        typer.Argument(help="Another decoder: decoder=NAME decoder.KEY=VALUE.", show_default=False),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Held-out problems. [default: the run's num_test]")
    ] = None,
    confidence: Annotated[float, typer.Option(help="Of every interval, above 0.5 and below 1.")] = 0.95,
    explain: Annotated[bool, typer.Option("--explain", help="Say what each number means.")] = False,
    base: Base = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a run fails, already in training or only at inference, by which mechanism, how surely.

    Writes diagnosis.json into the run folder, unless another decoder is given. Example: unforced diagnose
    runs/quickstart/next_token --explain
    """
    from unforced.config import other_decoder
    from unforced.errors import UserError
    from unforced.experiment import diagnose_run
    from unforced.reporting.diagnosis import show_diagnosis

    if not 0.5 < confidence < 1:
        raise UserError(f"--confidence: {confidence:g} is not above 0.5 and below 1; 0.95 is usual")
    diagnosis = diagnose_run(run_dir, count, confidence, other_decoder(decoder or []), base, _say_unwritten)
    if as_json:
        print(json.dumps(diagnosis))
        return
    show_diagnosis(str(run_dir), diagnosis, explain)


def _say_unwritten(line: str) -> None:
    print(f"unforced: {line}", file=sys.stderr)
