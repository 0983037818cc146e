"""`train`: one run."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unforced.cli.options import AsJson, Base, Overrides, Trackers
from unforced.errors import DIVERGED, UserError

if TYPE_CHECKING:
    from signal import Signals


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, FILE.py:FUNCTION, or a run folder.")],
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder. [default: runs/RECIPE-FINGERPRINT]")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the folder, bit for bit.")
    ] = False,
    tracker: Trackers = None,
    base: Base = None,
    as_json: AsJson = False,
) -> None:
    """Train one run.

    Exit code 3: training diverged (its loss or gradient was not finite) and ended; results are of the last
    finite weights.

    Example: unforced train quickstart.teacherless seed=3 --out runs/mine
    """
    from unforced.experiment import run_experiment
    from unforced.files import read_json
    from unforced.integrations.trackers import check_trackers, track
    from unforced.recipes import resolve_run
    from unforced.reporting.progress import watch_run
    from unforced.reporting.tables import cost_line, show_accuracy
    from unforced.training.environment import is_first_process

    trackers = tracker or []
    check_trackers(trackers)
    unchecked = _locate_base(out, base, resume) if base is not None else []
    run = resolve_run(recipe, overrides or [])
    out = out or Path("runs") / f"{Path(recipe.removesuffix('.json')).name}-{run.fingerprint[:8]}"
    with watch_run(run, quiet=as_json) as progress, track(progress, trackers, run, out) as observer:
        for line in unchecked:
            observer.say(line)
        outcome = run_experiment(run, out, observer, resume)
    if outcome.stopped_by is not None:
        if is_first_process():
            say_stopped(outcome.stopped_by, f"the checkpoint is in {out}, continue it with --resume", as_json)
        raise typer.Exit(128 + outcome.stopped_by)
    if is_first_process():
        result = read_json(out / "result.json")
        if as_json:
            print(json.dumps(result))
        else:
            ended = {"done": "already done", "diverged": "diverged"}.get(outcome.reason, "done")
            print(f"{ended}: {out} ({result['steps']} steps)")
            show_accuracy(result, run)
            print(cost_line(result))
    if outcome.reason == "diverged":
        raise typer.Exit(DIVERGED)


def _locate_base(out: Path | None, base: Path, resume: bool) -> list[str]:
    from unforced.bases import locate_base

    if not resume or out is None:
        raise UserError(
            "--base: it says where the model that an earlier session started from is now; add --resume and "
            "--out RUN_FOLDER, or start from it with model.name_or_path=FOLDER"
        )
    return locate_base(out, base)


def say_stopped(number: "Signals", how_to_continue: str, as_json: bool) -> None:
    """Print what stopped the training and how to continue; on standard error if JSON is printed."""
    print(f"stopped by {number.name}; {how_to_continue}", file=sys.stderr if as_json else sys.stdout)
