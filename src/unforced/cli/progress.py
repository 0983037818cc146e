"""Live progress: a bar for one run, a line per run for several, plain lines where nobody watches."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from unforced.config import Run
from unforced.training.folder import RunFolder
from unforced.training.loop import Observer


@contextlib.contextmanager
def watch_run(run: Run, quiet: bool) -> Iterator[Observer]:
    """Show one run's training: a bar on a terminal, a line per evaluation elsewhere."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal or not is_first_process():
        yield PlainLines(quiet or not is_first_process())
        return
    columns = [
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} steps"),
        TextColumn("{task.fields[news]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console) as progress:
        yield Bar(progress, progress.add_task("", total=run.num_steps, news="starting"))


def is_first_process() -> bool:
    """Return whether this is the one process of a distributed run that speaks."""
    return os.environ.get("RANK", "0") == "0"


class PlainLines:
    """Prints a line per evaluation on standard error."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet

    def say(self, text: str) -> None:
        """Print a line of news, also when quiet."""
        print(text, file=sys.stderr, flush=True)

    def update(self, step: int, loss: float, samples_per_second: float) -> None:
        """Stay silent between evaluations."""

    def evaluated(self, line: Mapping[str, Any]) -> None:
        """Print the evaluation."""
        if not self.quiet:
            print(f"step {line['step']}: {summarise(line)}", file=sys.stderr, flush=True)


class Bar:
    """Moves a progress bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self.progress, self.task, self.accuracy = progress, task, ""

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.progress.console.print(text, markup=False, highlight=False)

    def update(self, step: int, loss: float, samples_per_second: float) -> None:
        """Move the bar."""
        news = f"{samples_per_second:,.0f} samples/s  loss {loss:.3f}  {self.accuracy}"
        self.progress.update(self.task, completed=step, news=news)

    def evaluated(self, line: Mapping[str, Any]) -> None:
        """Take up new accuracies."""
        self.accuracy = accuracies(line)
        self.progress.update(self.task, completed=line["step"], news=summarise(line))


@contextlib.contextmanager
def watch_study(
    runs: Mapping[str, Run], out: Path, quiet: bool
) -> Iterator[Callable[[Mapping[str, str]], None]]:
    """Show several runs at work, from what they write into their folders."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield StudyLines(out, quiet)
        return
    with Live(console=console, refresh_per_second=2) as live:
        yield lambda states: live.update(_study_table(runs, out, states))


class StudyLines:
    """Prints a line when a run of a study begins or ends."""

    def __init__(self, out: Path, quiet: bool) -> None:
        self.out, self.quiet = out, quiet
        self.known: dict[str, str] = {}

    def __call__(self, states: Mapping[str, str]) -> None:
        """Print what has changed."""
        for name, state in states.items():
            if self.known.get(name) != state and not self.quiet:
                latest = _latest(self.out / name)
                news = f": {summarise(latest)}" if state == "done" and latest else ""
                print(f"{name} {state}{news}", file=sys.stderr, flush=True)
        self.known = dict(states)


def _study_table(runs: Mapping[str, Run], out: Path, states: Mapping[str, str]) -> Table:
    accuracy = [f"{name}\nforced/free" for name in ("train %", "held-out %")]
    table = Table("run", "state", "step", "samples/s", "loss", *accuracy, box=None, padding=(0, 2, 0, 0))
    for name, run in runs.items():
        line = _latest(out / name)
        if line is None:
            table.add_row(name, states[name])
            continue
        speed = f"{line['samples_per_second'] or 0:,.0f}"
        loss = "" if line["loss"] is None else f"{line['loss']:.3f}"
        step = f"{line['step']}/{run.num_steps}"
        table.add_row(name, states[name], step, speed, loss, *map("/".join, _shares(line)))
    return table


def _latest(path: Path) -> Mapping[str, Any] | None:
    lines = RunFolder(path).read_metrics()
    return lines[-1] if lines else None


def summarise(line: Mapping[str, Any]) -> str:
    """Put a line of metrics.jsonl into words."""
    loss = "" if line["loss"] is None else f"loss {line['loss']:.3f}  "
    return loss + accuracies(line)


def accuracies(line: Mapping[str, Any]) -> str:
    """Put the accuracies of a line of metrics.jsonl into words."""
    (train_forced, train_free), (forced, free) = _shares(line)
    return f"train forced {train_forced}% free {train_free}%  validation forced {forced}% free {free}%"


def _shares(line: Mapping[str, Any]) -> list[list[str]]:
    """Return percentages of whole answers right: [forced, free] on train, then on validation."""
    pairs = [
        [line[f"{split}.{mode}.exact"] for mode in ("forced", "free")] for split in ("train", "validation")
    ]
    return [[f"{100 * count['correct'] / count['total']:.1f}" for count in pair] for pair in pairs]
