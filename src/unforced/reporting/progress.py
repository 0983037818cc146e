"""Live progress of a run: a bar on a terminal, a line per evaluation elsewhere.

It is written to standard error. If that fails (a full disk, a closed terminal), the run continues without it.
"""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from unforced.config import Run
from unforced.reporting.terminal import progress_console
from unforced.streams import lasting
from unforced.training.environment import is_first_process
from unforced.training.loop import Observer

_STEPS_TIMED, _LONG = 3, 2  # steps, minutes


@contextlib.contextmanager
def watch_run(run: Run, quiet: bool) -> Iterator[Observer]:
    """Show one run's training: a bar on a terminal, a line per evaluation elsewhere."""
    console = progress_console()
    if quiet or not console.is_terminal or not is_first_process():
        yield PlainLines(quiet or not is_first_process(), steps=run.num_steps, batch_size=run.batch_size)
        return
    columns = [
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} steps", markup=False),
        TextColumn("{task.fields[news]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console) as progress:
        yield Bar(progress, progress.add_task("", total=run.num_steps, news="starting"))


class PlainLines:
    """Prints a line per evaluation on standard error. name: stands in front of each line.

    steps, batch_size: of the run, so that a line can say early how long a slow one will take (0: none does).
    """

    def __init__(self, quiet: bool, name: str = "", steps: int = 0, batch_size: int = 1) -> None:
        self.quiet, self.prefix = quiet, f"{name}: " if name else ""
        self.steps, self.batch_size, self.estimated = steps, batch_size, quiet or not steps

    def say(self, text: str) -> None:
        """Print a line of news, also when quiet."""
        print(f"{self.prefix}{text}", file=lasting(sys.stderr), flush=True)

    def update(self, step: int, loss: float, samples_per_second: float) -> None:
        """Say once how long training will take, if that is minutes; else stay silent between evaluations."""
        if self.estimated or step < _STEPS_TIMED or not samples_per_second:
            return
        self.estimated = True
        minutes = (self.steps - step) * self.batch_size / samples_per_second / 60
        if minutes >= _LONG:
            print(
                f"{self.prefix}step {step}: {samples_per_second:,.1f} problems a second, {minutes:,.0f} min "
                f"for the {self.steps - step:,} steps left, without evaluations",
                file=lasting(sys.stderr),
                flush=True,
            )

    def evaluated(self, line: Mapping[str, Any]) -> None:
        """Print the evaluation."""
        if not self.quiet:
            text = f"{self.prefix}step {line['step']}: {summarise(line)}"
            print(text, file=lasting(sys.stderr), flush=True)


class Bar:
    """Moves a progress bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self.progress, self.task, self.accuracy = progress, task, ""

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.progress.console.print(text)

    def update(self, step: int, loss: float, samples_per_second: float) -> None:
        """Move the bar."""
        news = f"{samples_per_second:,.0f} samples/s  loss {loss:.3f}  {self.accuracy}"
        self.progress.update(self.task, completed=step, news=news)

    def evaluated(self, line: Mapping[str, Any]) -> None:
        """Take up new accuracies."""
        self.accuracy = accuracies(line)
        self.progress.update(self.task, completed=line["step"], news=summarise(line))


def summarise(line: Mapping[str, Any]) -> str:
    """Put a line of metrics.jsonl into words."""
    loss = "" if line["loss"] is None else f"loss {line['loss']:.3f}  "
    return loss + accuracies(line)


def accuracies(line: Mapping[str, Any]) -> str:
    """Put the accuracies of a line of metrics.jsonl into words."""
    if "validation.free.creative" in line:
        return _of_a_set(line)
    (train_forced, train_free), (forced, free) = shares(line)
    return f"train forced {train_forced}% free {train_free}%  validation forced {forced}% free {free}%"


def _of_a_set(line: Mapping[str, Any]) -> str:
    """Put the answers to an open-ended task into words."""
    names = {"train": ["coherent"], "validation": ["coherent", "creative"]}
    parts = []
    for split, measures in names.items():
        counts = {name: line.get(f"{split}.free.{name}") for name in measures}
        shares = [f"{name} {_share(count)}%" for name, count in counts.items() if count]
        parts += [" ".join([split, *shares])] if shares else []
    return "  ".join(parts)


def _share(count: Mapping[str, int]) -> str:
    return f"{100 * count['correct'] / count['total']:.1f}"


def shares(line: Mapping[str, Any]) -> list[list[str]]:
    """Return percentages of whole answers right: [forced, free] on train, then on validation.

    No forced one where a task is open-ended.
    """
    pairs = [
        [line[f"{split}.{mode}.exact"] for mode in ("forced", "free")] for split in ("train", "validation")
    ]
    percentages = [[_share(count) for count in pair] for pair in pairs]
    is_open = "validation.free.creative" in line
    return [["–", free] for _, free in percentages] if is_open else percentages
