"""Many runs that answer one question, carried out by processes of their own."""

import contextlib
import html
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import pandas as pd

from unforced.config import Run
from unforced.errors import UserError
from unforced.expectations import Expectation
from unforced.interface.collection import AnyPath, Report, RunCollection, report, runs
from unforced.interface.notebook import display, shell
from unforced.recipes import resolve_study
from unforced.reporting.study_progress import Forecast, watch_study
from unforced.studies.budget import within_budget
from unforced.studies.engines import Engine
from unforced.studies.local import LocalEngine
from unforced.studies.runner import RETRIES, Status, Summary, Watch, run_study
from unforced.studies.stacking import Stack, check_stack, choose_stacks
from unforced.study import Budget, Study
from unforced.study import only as choose

_FEW = 6


def study(plan: "str | PathLike[str] | Study | Mapping[str, Run]", name: str = "study") -> "RunnableStudy":
    """Return a study, ready to be run.

    plan: a study's name (`unforced list studies`), FILE.py:FUNCTION, a `Study`, or runs by name, which make
    a study called `name`. Raises UserError.
    """
    if isinstance(plan, Study):
        return RunnableStudy(plan)
    if isinstance(plan, Mapping):
        return RunnableStudy(Study(name, "", dict(plan)))
    return RunnableStudy(resolve_study(fspath(plan), ()))


@dataclass(frozen=True, repr=False)
class RunnableStudy:
    """A study: runs by name, the results that its source reports, and how to run them."""

    study: Study

    @property
    def name(self) -> str:
        """The study's name."""
        return self.study.name

    @property
    def source(self) -> str:
        """Where the question and the expected values come from."""
        return self.study.source

    @property
    def runs(self) -> Mapping[str, Run]:
        """The runs by name."""
        return self.study.runs

    @property
    def expectations(self) -> Sequence[Expectation]:
        """The results that the source reports."""
        return self.study.expectations

    def replace(self, **changes: Any) -> "RunnableStudy":
        """Return the study with other values in some fields of every run, as in `Run.replace`.

        What a source says holds for its own settings: of an altered study, nothing is expected. Raises
        UserError.
        """
        altered = {name: run.replace(**changes) for name, run in self.runs.items()}
        if all(run.fingerprint == self.runs[name].fingerprint for name, run in altered.items()):
            return RunnableStudy(replace(self.study, runs=altered))
        words = " ".join(f"{key}={value}" for key, value in changes.items())
        source = f"{self.source}; altered: {words}" if self.source else ""
        return RunnableStudy(replace(self.study, runs=altered, source=source, expectations=()))

    def run(
        self,
        out: AnyPath | None = None,
        only: str | Iterable[str] = (),
        *,
        workers: int | None = None,
        engine: Engine | None = None,
        retries: int = RETRIES,
        trackers: Sequence[str] = (),
        budget: Budget | None = None,
        stack: Stack = "auto",
        runs_per_job: int = 1,
    ) -> "StudyResult":
        """Carry out what is not done, a process per run; the same call continues after an interruption.

        out: the study's folder (None: runs/NAME). only: names of runs, with wildcards as in `*-0`. workers:
        runs at once (None: one per GPU, or per core where there is none). engine: where runs go (None: this
        machine). retries: how often a run that broke is started again. trackers: also get every metric.
        budget: where every run ends, as in `Budget(flops=2e12)` (None: the study's own, if it has one).
        stack: runs that a process trains at once, where they can be: a number, or "auto", which is 1 without
        a GPU, and as many as one has memory for. runs_per_job: runs that it trains one after the other.

        A run that fails stops no other; see `StudyResult.failed`. Raises UserError: the folder holds
        something else, no run is called so. Raises KeyboardInterrupt after Ctrl-C, when every run has
        written a checkpoint.
        """
        path = Path("runs") / self.name if out is None else Path(out).expanduser()
        if engine is not None and workers is not None:
            raise UserError("workers: the engine has its own; give one of the two")
        at_once = check_stack(stack, trackers)
        chosen = within_budget(choose(self.study, [only] if isinstance(only, str) else only), budget)
        place = LocalEngine(workers) if engine is None else engine
        try:
            stacks = choose_stacks(chosen.runs, at_once, place)
            with _watched(chosen.runs, path) as watch:
                summary = run_study(chosen, path, place, watch, retries, trackers, runs_per_job, stacks)
        finally:
            if engine is None:
                place.close()
        _raise_if_stopped(summary, path)
        return StudyResult(path, dict(summary.statuses))

    def __repr__(self) -> str:
        names, rest = list(self.runs)[:_FEW], len(self.runs) - _FEW
        more = f" and {rest} more" if rest > 0 else ""
        return f"study {self.name}, {len(self.runs)} runs: {', '.join(names)}{more}"


@dataclass(frozen=True, repr=False)
class StudyResult:
    """What became of each run of a study. statuses: by name."""

    folder: Path
    statuses: Mapping[str, Status]

    @property
    def failed(self) -> dict[str, str]:
        """The runs that failed, with the reason of each."""
        return {name: each.reason for name, each in self.statuses.items() if each.state == "failed"}

    @property
    def runs(self) -> RunCollection:
        """The finished runs in the study's folder. Raises UserError if there is none."""
        return runs(self.folder)

    def report(self, to: AnyPath | None = None) -> Report:
        """Write the report on them; see `uf.report`."""
        return report(self.folder, to=to)

    def to_frame(self) -> pd.DataFrame:
        """Return a row per run: its state, how often it was started, and why it is not done."""
        rows = {name: vars(status) for name, status in self.statuses.items()}
        return pd.DataFrame.from_dict(rows, orient="index")

    def __repr__(self) -> str:
        return f"{self.folder}\n{self.to_frame()}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(str(self.folder))}</p>{self.to_frame().to_html()}"


@contextlib.contextmanager
def _watched(runs: Mapping[str, Run], path: Path) -> Iterator[Watch]:
    weights = {name: float(run.num_steps * run.batch_size) for name, run in runs.items()}
    if shell() is not None:
        yield NotebookStudy(Forecast(runs, path, weights))
        return
    with watch_study(runs, path, quiet=False, weights=weights) as watch:
        yield watch


class NotebookStudy:
    """Shows below a notebook's cell how far a study is."""

    def __init__(self, forecast: Forecast) -> None:
        self.forecast, self.lines = forecast, ["starting"]
        self.handle: Any = display(self)

    def __call__(self, statuses: Mapping[str, Status]) -> None:
        """Show what has changed."""
        lines = [self.forecast(statuses)]
        lines += [f"{name}: {status.reason}" for name, status in statuses.items() if status.reason]
        if lines != self.lines:
            self.lines = lines
            with contextlib.suppress(Exception):  # a lost connection to the notebook harms no run
                self.handle.update(self)

    def __repr__(self) -> str:
        return "\n".join(self.lines)


def _raise_if_stopped(summary: Summary, path: Path) -> None:
    if summary.stopped_by is None:
        return
    what = f"checkpoints are in {path}, the same call continues"
    if summary.stopped_by == signal.SIGINT:
        raise KeyboardInterrupt(what)
    print(f"stopped by {summary.stopped_by.name}; {what}", file=sys.stderr)
    signal.raise_signal(summary.stopped_by)
