"""Progress of a study: on a terminal a live table with the time left, elsewhere a line per event."""

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from unforced.config import Run
from unforced.reporting.durations import duration
from unforced.reporting.progress import shares, summarise
from unforced.reporting.terminal import progress_console
from unforced.runs.folder import RunFolder
from unforced.runs.tail import Tail
from unforced.streams import lasting
from unforced.studies.runner import BUSY, State, Status, Watch

Weights = Mapping[str, float] | None

_FEW = 12  # up to so many runs, all are shown, whatever their state


@contextlib.contextmanager
def watch_study(runs: Mapping[str, Run], out: Path, quiet: bool, weights: Weights = None) -> Iterator[Watch]:
    """Show the progress of runs, read from their folders.

    weights: the relative cost of each run, to estimate the time left; None: no estimate.
    """
    console = progress_console()
    forecast = Forecast(runs, out, weights)
    if quiet or not console.is_terminal:
        yield StudyLines(out, quiet, forecast)
        return
    with Live(console=console, refresh_per_second=2) as live:
        yield lambda statuses: live.update(_study_view(runs, statuses, forecast))


class Forecast:
    """The progress of a study, and the time left at the pace so far."""

    def __init__(self, runs: Mapping[str, Run], out: Path, weights: Weights) -> None:
        self.runs, self.weights = runs, weights or {}
        self.tails = {name: Tail(RunFolder(out / name)) for name in runs}
        self.started = time.monotonic()
        self.before = self._left({name: self._share(name, "waiting") for name in self.weights})

    def __call__(self, statuses: Mapping[str, Status]) -> str:
        """Return a line such as `12 of 45 done, 2 running, 31 waiting, about 25 min left`."""
        counts = Counter(status.state for status in statuses.values())
        parts = [f"{counts.pop('done', 0)} of {len(statuses)} done"]
        parts += [f"{count} {state}" for state, count in sorted(counts.items())]
        left = self._left({name: self._share(name, statuses[name].state) for name in self.weights})
        if 0 < left < self.before:
            seconds = (time.monotonic() - self.started) * left / (self.before - left)
            parts.append(f"about {duration(seconds)} left")
        return ", ".join(parts)

    def _left(self, shares: Mapping[str, float]) -> float:
        return sum((weight * (1 - shares[name]) for name, weight in self.weights.items()), 0.0)

    def _share(self, name: str, state: State) -> float:
        if state in ("done", "failed"):
            return 1.0
        tail = self.tails[name]
        line = tail.latest()
        return 1.0 if tail.folder.done else line["step"] / self.runs[name].num_steps if line else 0.0


class StudyLines:
    """Prints a line when a run of a study begins or ends."""

    def __init__(self, out: Path, quiet: bool = False, forecast: Forecast | None = None) -> None:
        self.out, self.quiet, self.forecast = out, quiet, forecast
        self.reported: dict[str, tuple[State, str]] = {}

    def __call__(self, statuses: Mapping[str, Status]) -> None:
        """Print what has changed."""
        for name, status in statuses.items():
            before = self.reported.get(name, ("waiting", ""))
            if before != _situation(status) and not self.quiet:
                print(
                    f"{name} {status.state}{self._news(name, status)}", file=lasting(sys.stderr), flush=True
                )
                if self.forecast and name in self.reported and status.state in ("done", "failed"):
                    print(f"  {self.forecast(statuses)}", file=lasting(sys.stderr), flush=True)
        self.reported = {name: _situation(status) for name, status in statuses.items()}

    def _news(self, name: str, status: Status) -> str:
        latest = Tail(RunFolder(self.out / name)).latest() if status.state == "done" else None
        news = status.reason or (summarise(latest) if latest else "")
        return f": {news}" if news else ""


def _situation(status: Status) -> tuple[State, str]:
    """Return a run's state, and its reason if it waits for another process: a change is printed."""
    return status.state, BUSY if status.reason == BUSY else ""


def _study_view(runs: Mapping[str, Run], statuses: Mapping[str, Status], forecast: Forecast) -> Group:
    """Show each run; of many, only those that run, failed, were stopped or are busy elsewhere."""
    quiet = (("waiting", ""), ("done", ""))
    shown = [name for name in runs if len(runs) <= _FEW or _situation(statuses[name]) not in quiet]
    accuracy = [f"{name}\nforced/free" for name in ("training %", "validation %")]
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("run", overflow="fold")
    for name in ("state", "step", "samples/s", "loss", *accuracy):
        table.add_column(name, overflow="fold", no_wrap=True)  # on a narrow terminal the names are folded
    for name in shown:
        table.add_row(name, statuses[name].state, *_cells(runs[name], forecast.tails[name].latest()))
    reasons = [Text(f"{name}: {statuses[name].reason}") for name in shown if statuses[name].reason]
    return Group(table, *reasons, Text(forecast(statuses)))


def _cells(run: Run, line: Mapping[str, Any] | None) -> list[str]:
    if line is None:
        return []
    speed = f"{line['samples_per_second'] or 0:,.0f}"
    loss = "" if line["loss"] is None else f"{line['loss']:.3f}"
    return [f"{line['step']}/{run.num_steps}", speed, loss, *map("/".join, shares(line))]
