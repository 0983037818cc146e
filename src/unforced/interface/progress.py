"""Live progress of one run: in a notebook a bar that needs no widgets, elsewhere as the command line does."""

import contextlib
import html
from collections.abc import Iterator, Mapping
from typing import Any

from unforced.config import Run
from unforced.interface.notebook import display, shell
from unforced.reporting.progress import accuracies, summarise, watch_run
from unforced.training.loop import Observer


@contextlib.contextmanager
def watch(run: Run, observer: Observer | None) -> Iterator[Observer]:
    """Show a run's training, unless an observer is given: it receives the progress instead."""
    if observer is not None:
        yield observer
    elif shell() is not None:
        with NotebookBar(run.num_steps) as bar:
            yield bar
    else:
        with watch_run(run, quiet=False) as shown:
            yield shown


class NotebookBar:
    """An observer that draws a bar below the cell, and draws it anew as training goes on."""

    def __init__(self, steps: int) -> None:
        self.steps, self.step, self.news, self.accuracy = steps, 0, "starting", ""
        self.lines: list[str] = []
        self.handle: Any = None

    def __enter__(self) -> "NotebookBar":
        self.handle = display(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._show()

    def say(self, text: str) -> None:
        """Add a line of news above the bar."""
        self.lines.append(text)
        self._show()

    def update(self, step: int, loss: float, samples_per_second: float) -> None:
        """Move the bar."""
        self.step = step
        self.news = f"{samples_per_second:,.0f} samples/s  loss {loss:.3f}  {self.accuracy}"
        self._show()

    def evaluated(self, line: Mapping[str, Any]) -> None:
        """Show new accuracies."""
        self.step, self.news, self.accuracy = line["step"], summarise(line), accuracies(line)
        self._show()

    def _show(self) -> None:
        with contextlib.suppress(Exception):  # a lost connection to the notebook harms no run
            if self.handle is not None:
                self.handle.update(self)

    def __repr__(self) -> str:
        return "\n".join([*self.lines, f"{self.step:,}/{self.steps:,} steps  {self.news}"])

    def _repr_html_(self) -> str:
        bar = f'<progress value="{self.step}" max="{self.steps}" style="width:12em"></progress>'
        words = html.escape(f"{self.step:,}/{self.steps:,} steps  {self.news}")
        above = "".join(f"<div>{html.escape(line)}</div>" for line in self.lines)
        return f'{above}<div>{bar} <span style="white-space:pre-wrap">{words}</span></div>'
