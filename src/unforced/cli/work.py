"""The process of one or several runs of a study: `work`, which engines start and users do not."""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from unforced.cli.options import Trackers
from unforced.errors import DIVERGED, TEMPORARY, TransientError, UserError

_MISTAKE = 2


def work(
    runs: Annotated[
        list[Path], typer.Argument(help="A run's config and its folder, then those of the next run.")
    ],
    diagnose: Annotated[bool, typer.Option("--diagnose", help="Diagnose the runs, too.")] = False,
    tracker: Trackers = None,
    cores: Annotated[str, typer.Option(help="The cores to keep to, as in 0,2.")] = "",
    ended: Annotated[Path | None, typer.Option(help="Gets a line of JSON for each run that ends.")] = None,
) -> None:
    """Train or resume runs one after the other; one that fails for a known reason stops no other.

    Ends, with a checkpoint, when its standard input closes. The exit code is that of the last run that did
    not end well: 75, not done, for a reason that may pass; 3, training diverged.
    """
    if len(runs) % 2:
        raise UserError("work: give a config and a folder for each run")
    _end_with_parent()
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    codes = []
    for config, folder in zip(runs[::2], runs[1::2], strict=True):
        codes.append(_code_of(config, folder, diagnose, tracker or []))
        if ended is not None:
            _note(ended, codes[-1])
    if any(codes):
        raise typer.Exit([code for code in codes if code][-1])


def _code_of(config: Path, folder: Path, diagnose: bool, trackers: list[str]) -> int:
    """Carry out one run; return what would be the exit code of a process of its own."""
    try:
        return _work(config, folder, diagnose, trackers)
    except TransientError as error:
        print(f"unforced: {error}", flush=True)
        return TEMPORARY
    except UserError as error:
        print(f"unforced: {error}", file=sys.stderr, flush=True)
        return _MISTAKE


def _note(file: Path, code: int) -> None:
    """Add how a run ended, and where the log, which is standard output, ends now."""
    sys.stdout.flush()
    with file.open("a") as lines:
        lines.write(json.dumps({"code": code, "log": os.fstat(sys.stdout.fileno()).st_size}) + "\n")


def _work(config: Path, folder: Path, diagnose: bool, trackers: list[str]) -> int:
    from unforced.experiment import diagnose_run, run_experiment
    from unforced.integrations.trackers import track
    from unforced.recipes import resolve_run
    from unforced.reporting.progress import PlainLines
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
    return DIVERGED if outcome.reason == "diverged" else 0


def _end_with_parent() -> None:
    """Treat the end of standard input, which an engine holds open, as SIGTERM."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # not through sys.stdin, whose lock would outlive the interpreter
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
