"""The process of one run of a study: `work`, which engines start and users do not."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from unforced.cli.experiments import Trackers
from unforced.errors import TEMPORARY, PassingError


def work(
    config: Annotated[Path, typer.Argument(help="The run's config.")],
    folder: Annotated[Path, typer.Argument(help="The run's folder.")],
    diagnose: Annotated[bool, typer.Option("--diagnose", help="Diagnose the run, too.")] = False,
    tracker: Trackers = None,
    cores: Annotated[str, typer.Option(help="The cores to keep to, as in 0,2.")] = "",
) -> None:
    """Train a run, or go on with it. Ends, with a checkpoint, when its standard input closes.

    Exit code 75: not done, for a reason that may pass.
    """
    _end_with_parent()
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    try:
        _work(config, folder, diagnose, tracker or [])
    except PassingError as error:
        print(f"unforced: {error}")
        raise typer.Exit(TEMPORARY) from error


def _work(config: Path, folder: Path, diagnose: bool, trackers: list[str]) -> None:
    from unforced.cli.progress import PlainLines
    from unforced.cli.tracking import track
    from unforced.experiment import diagnose_run, run_experiment
    from unforced.recipes import resolve_run
    from unforced.runs.folder import RunFolder

    run = resolve_run(str(config), [])
    begun = RunFolder(folder)
    with track(PlainLines(quiet=False), trackers, run, folder) as observer:
        outcome = run_experiment(run, folder, observer, resume=begun.config.exists())
    if outcome.stopped_by is not None:
        print(f"stopped by {outcome.stopped_by.name}")
        raise typer.Exit(128 + outcome.stopped_by)
    if diagnose and begun.read_diagnosis() is None:
        diagnose_run(folder, None, 0.95)


def _end_with_parent() -> None:
    """Treat the end of standard input, which an engine holds open, as SIGTERM."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # not through sys.stdin, whose lock would outlive the interpreter
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
