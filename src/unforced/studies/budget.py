"""Ends the runs of a study at one budget: so many steps, samples, FLOPs or seconds for each."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from unforced.config import Run
from unforced.errors import UserError, unknown
from unforced.models.failures import first_words
from unforced.study import Budget, Study
from unforced.training.flops import flops_of

_EXAMPLE = "as in --budget flops=2e12"


def within_budget(study: Study, budget: Budget | None = None) -> Study:
    """Return a study whose runs end at a budget (None: the study's own; without one, nothing changes).

    What a source says holds for its own settings: of a study that another budget alters, nothing is expected.
    Raises UserError: a run does not get as far as one step, or its operations cannot be counted.
    """
    spent = study.budget if budget is None else budget
    if spent is None:
        return study
    runs = at_budget(study.runs, spent)
    if budget in (None, study.budget) or all(runs[name] == run for name, run in study.runs.items()):
        return replace(study, runs=runs)
    source = f"{study.source}; altered: budget {spent}"
    return replace(study, runs=runs, source=source, expectations=(), budget=spent)


def at_budget(runs: Mapping[str, Run], budget: Budget) -> dict[str, Run]:
    """Return runs that all end at the same budget; of several limits, at the last that is reached.

    Steps, samples and FLOPs become the run's max_steps, rounded down to whole steps; epochs are dropped. A
    cosine schedule and weights that change with progress span these steps. Seconds become its max_seconds:
    its max_steps and epochs stay, and end it, too. A run that stops by itself (stop_when) still does. Raises
    UserError.
    """
    return {name: _ended(name, run, budget) for name, run in runs.items()}


def read_budget(texts: Iterable[str]) -> Budget | None:
    """Read limits such as `flops=2e12`; None if there is no text. Raises UserError."""
    limits: dict[str, Any] = {}
    names = [field.name for field in fields(Budget)]
    for text in texts:
        name, _, number = text.partition("=")
        if name not in names:
            raise unknown("budget", name, names)
        if name in limits:
            raise UserError(f"--budget {text}: {name} is given twice; drop one")
        limits[name] = _number(text, number, whole=name in ("steps", "samples"))
    return Budget(**limits) if limits else None


def _number(text: str, number: str, whole: bool) -> int | float:
    try:
        value = float(number)
    except ValueError:
        raise UserError(f"--budget {text}: {number!r} is not a number; {_EXAMPLE}") from None
    if not whole:
        return value
    if not value.is_integer():
        raise UserError(f"--budget {text}: {number} is not a whole number; as in --budget steps=1000")
    return int(value)


def _ended(name: str, run: Run, budget: Budget) -> Run:
    if budget.seconds is not None:
        return run.replace(max_seconds=float(budget.seconds))
    steps = [] if budget.steps is None else [budget.steps]
    if budget.samples is not None:
        steps.append(_steps(name, "samples", budget.samples, run.batch_size))
    if budget.flops is not None:
        steps.append(_steps(name, "flops", budget.flops, _flops_per_step(name, run)))
    return run.replace(max_steps=max(steps), epochs=None)


def _steps(name: str, limit: str, budget: int | float, per_step: int | float) -> int:
    steps = int(budget // per_step)
    if steps < 1:
        raise UserError(
            f"run {name}: one step takes {per_step:g} {limit}, more than the budget of {budget:g}"
        )
    return steps


def _flops_per_step(name: str, run: Run) -> float:
    try:
        return flops_of(run) * run.batch_size
    except RuntimeError as error:
        raise UserError(
            f"run {name}: its operations cannot be counted ({first_words(error)}); give the budget in steps, "
            "samples or seconds"
        ) from error
