"""The process of one or several runs of a study: `work`, which engines start and users do not."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unforced.cli.options import Trackers
from unforced.errors import DIVERGED, MISTAKE, TEMPORARY, TransientError, UserError

if TYPE_CHECKING:
    from unforced.training.loop import Outcome


def work(
    runs: Annotated[
        list[Path], typer.Argument(help="A run's config and its folder, then those of the next run.")
    ],
    diagnose: Annotated[bool, typer.Option("--diagnose", help="Diagnose the runs, too.")] = False,
    tracker: Trackers = None,
    cores: Annotated[str, typer.Option(help="The cores to keep to, as in 0,2.")] = "",
    ignore: Annotated[str, typer.Option(help="A signal to ignore, as in SIGUSR2.")] = "",
    ended: Annotated[Path | None, typer.Option(help="Gets a line of JSON for each run that ends.")] = None,
    stack: Annotated[
        str, typer.Option(help="Runs to train at once, if they can be: a number, or auto, as in study.")
    ] = "1",
) -> None:
    """Train or resume runs one after the other; one that fails for a known reason stops no other.

    Ends, with a checkpoint, when its standard input closes. The exit code is that of the last run that did
    not end well: 75, not done, for a reason that may pass; 3, training diverged.
    """
    if len(runs) % 2:
        raise UserError("work: give a config and a folder for each run")
    if ignore:
        signal.signal(signal.Signals[ignore], signal.SIG_IGN)
    _end_with_parent()
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    codes, left = [], dict(zip(runs[1::2], runs[::2], strict=True))
    for folder, code in _codes(left, diagnose, tracker or [], stack):
        codes.append(code)
        if ended is not None:
            _note(ended, folder, code)
    if any(codes):
        raise typer.Exit([code for code in codes if code][-1])


def _codes(
    left: dict[Path, Path], diagnose: bool, trackers: list[str], stack: str
) -> Iterator[tuple[Path, int]]:
    """Carry out runs; yield the folder of each, and what would be the exit code of a process of its own.

    left: the config of each run, by its folder.
    """
    for group in _groups(left, trackers, stack):
        for folder, code in _stacked_codes(group, diagnose):
            del left[folder]
            yield folder, code
    for folder, config in left.items():
        yield folder, _code_of(partial(_work, config, folder, diagnose, trackers))


def _groups(left: Mapping[Path, Path], trackers: list[str], stack: str) -> list[dict[Path, Path]]:
    """Return the runs that are to be carried out at once, in groups; all others are in none."""
    if stack == "1":
        return []
    from unforced.studies.stacking import check_stack, read_stack

    at_once = check_stack(read_stack(stack), trackers)
    parts = _automatic(left) if at_once == "auto" else [(list(left), at_once)]
    return [
        {folder: left[folder] for folder in folders[first : first + size]}
        for folders, size in parts
        for first in range(0, len(folders), size)
        if size > 1
    ]


def _automatic(left: Mapping[Path, Path]) -> Iterator[tuple[list[Path], int]]:
    """Yield runs that can be trained together, and how many of them at once."""
    from unforced.recipes import resolve_run
    from unforced.studies.local import LocalEngine
    from unforced.studies.stacking import choose_stacks

    runs = {}
    for folder, config in left.items():
        with suppress(UserError):  # of which the run itself will tell
            runs[str(folder)] = resolve_run(str(config), [])
    stacks = choose_stacks(runs, "auto", LocalEngine(workers=1))
    for key in dict.fromkeys(stacks.keys.values()):
        names = [name for name in runs if stacks.keys.get(name) == key]
        yield [Path(name) for name in names], stacks.sizes[names[0]]


def _stacked_codes(left: dict[Path, Path], diagnose: bool) -> Iterator[tuple[Path, int]]:
    """Carry out runs at once, or in halves where memory does not suffice; yield each as soon as it has ended.

    Runs that cannot be carried out so are not yielded.
    """
    from unforced.recipes import resolve_run
    from unforced.reporting.progress import PlainLines
    from unforced.stack import Planned, run_together
    from unforced.training.loop import Outcome

    planned = []
    try:
        for folder, config in left.items():
            observer = PlainLines(quiet=False, name=folder.name)
            planned.append(Planned(resolve_run(str(config), []), folder, observer, _has_begun(folder)))
        stopped = None
        for place, end in run_together(planned, _say_at_once):
            if isinstance(end, Outcome) and end.stopped_by is not None:
                stopped = end  # as all others are about to
                continue
            folder = planned[place].path
            del left[folder]
            yield folder, _code_of(partial(_ended, folder, end, diagnose))
        if stopped is not None:
            _ended(next(iter(left)), stopped, diagnose)
        return
    except TransientError as error:
        size = len(left) // 2
        line = f"{len(left)} runs at once: {error}; {max(1, size)} at once are tried now"
        print(line, file=sys.stderr, flush=True)
    except UserError as error:
        print(f"{error}; they are trained one after the other", file=sys.stderr, flush=True)
        return
    del planned
    for half in (list(left.items())[:size], list(left.items())[size:]) if size > 1 else ():
        yield from _stacked_codes(dict(half), diagnose)


def _say_at_once(line: str) -> None:
    """Say what concerns all runs that are trained at once."""
    print(f"runs at once: {line}", file=sys.stderr, flush=True)


def _code_of(carry_out: Callable[[], int]) -> int:
    """Carry out one run; return what would be the exit code of a process of its own."""
    try:
        return carry_out()
    except TransientError as error:
        print(f"unforced: {error}", flush=True)
        return TEMPORARY
    except UserError as error:
        print(f"unforced: {error}", file=sys.stderr, flush=True)
        return MISTAKE


def _note(file: Path, folder: Path, code: int) -> None:
    """Add how a run ended, and where the log, which is standard output, ends now."""
    sys.stdout.flush()
    line = {"run": folder.name, "code": code, "log": os.fstat(sys.stdout.fileno()).st_size}
    with file.open("a") as lines:
        lines.write(json.dumps(line) + "\n")


def _work(config: Path, folder: Path, diagnose: bool, trackers: list[str]) -> int:
    from unforced.experiment import run_experiment
    from unforced.integrations.trackers import track
    from unforced.recipes import resolve_run
    from unforced.reporting.progress import PlainLines

    run = resolve_run(str(config), [])
    with track(PlainLines(quiet=False), trackers, run, folder) as observer:
        outcome = run_experiment(run, folder, observer, resume=_has_begun(folder))
    return _ended(folder, outcome, diagnose)


def _ended(folder: Path, end: "Outcome | UserError", diagnose: bool) -> int:
    """Diagnose a run that has ended, if that is wanted; return its code. Raises the error that ended it."""
    from unforced.experiment import diagnose_run
    from unforced.runs.folder import RunFolder

    if isinstance(end, UserError):
        raise end
    if end.stopped_by is not None:
        print(f"stopped by {end.stopped_by.name}")
        raise typer.Exit(128 + end.stopped_by)
    if diagnose and RunFolder(folder).read_diagnosis() is None:
        diagnose_run(folder, None, 0.95)
    return DIVERGED if end.reason == "diverged" else 0


def _has_begun(folder: Path) -> bool:
    from unforced.runs.folder import RunFolder

    return RunFolder(folder).config.exists()


def _end_with_parent() -> None:
    """Treat the end of standard input, which an engine holds open, as SIGTERM."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # not through sys.stdin, whose lock would outlive the interpreter
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
