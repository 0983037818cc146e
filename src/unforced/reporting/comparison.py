"""Runs side by side: one table of what each gets right, and the notes that it needs."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from unforced.config import SOLVED, Run
from unforced.evaluation.statistics import percent, percent_alone
from unforced.reporting.tables import WHOLE_ANSWERS, in_percent

Runs = Mapping[str, Run]
Results = Mapping[str, Mapping[str, Any]]


def comparison_table(
    runs: Runs, results: Results, write: Callable[[Mapping[str, Any]], str] = percent
) -> pd.DataFrame:
    """Put runs of one task side by side: whole answers, what they fit of the training problems, and steps.

    `write` puts a proportion into words.
    """
    rows = {
        name: {column: write(value) for column, value in _proportions(runs[name], result).items()}
        | _rest(runs[name], result)
        | {"chance": in_percent(result["chance"], 0, "%"), "steps": f"{result['steps']:,}"}
        for name, result in results.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "whole answers right"
    return table


def narrow_table(runs: Runs, results: Results) -> pd.DataFrame:
    """Return the same table for a terminal: values without intervals, below headers of two lines."""
    table = comparison_table(runs, results, percent_alone)
    chance = table.pop("chance").iloc[0]
    table.columns = pd.Index([str(column).replace(", ", "\n") for column in table.columns])
    table.index.name = f"chance\n{chance}"
    return table


def interval_note(runs: Runs, results: Results) -> str:
    """Say how wide the intervals are that a narrow table leaves out."""
    shown = [value for name, run in runs.items() for value in _proportions(run, results[name]).values()]
    widest = max(max(p["high"] - p["value"], p["value"] - p["low"]) for p in shown)
    return f"95% intervals: within ±{100 * widest:.1f} points."


def notes(runs: Runs, results: Results) -> list[str]:
    """Say what the columns are, how the runs were trained, and what a reader must know of single runs."""
    training = {name: _training(run, results[name]) for name, run in runs.items()}
    lines = [*_column_notes(runs), *_once_if_alike(training)]
    for name, run in runs.items():
        if run.forced_note:
            lines.append(f"{name}: {run.forced_note}.")
        if results[name]["ended_by"] == "solved":
            seen = f"{results[name]['samples']:,} problems"
            lines.append(f"{name}: stopped when solved ({100 * SOLVED:.0f}% of validation), after {seen}.")
    return lines


def _proportions(run: Run, result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    mode = run.trained_mode
    decisive = [f"token_{position}" for position in run.task.decisive_positions]
    return {column: result[key] for column, key in WHOLE_ANSWERS.items()} | {
        f"train, {token}": result[f"train.{mode}.{token}"] for token in decisive
    }


def _rest(run: Run, result: Mapping[str, Any]) -> dict[str, str]:
    """Pool the positions after the first decisive one; one problem's are not independent: no interval."""
    counts = [result[f"train.{run.trained_mode}.token_{position}"] for position in _rest_positions(run)]
    if not counts:
        return {}
    correct, total = (sum(count[key] for count in counts) for key in ("correct", "total"))
    return {"train, rest": percent_alone({"value": correct / total})}


def _rest_positions(run: Run) -> list[int]:
    decisive, length = run.task.decisive_positions, run.task.answer_length
    return [i for i in range(min(decisive, default=length), length) if i not in decisive]


def _column_notes(runs: Runs) -> Iterator[str]:
    yield "forced, free: whole answers right, with and without the true answer so far as input."
    first = next(iter(runs.values()))
    unforced = [(run.trained_mode, name) for name, run in runs.items() if run.trained_mode != "forced"]
    names = [f"token_{position}" for position in first.task.decisive_positions]
    if not names:
        return
    meaning = "what only lookahead gets right"
    if _rest_positions(first):
        names, meaning = [*names, "rest"], f"{meaning}, and what comes after it"
    modes = {mode: ", ".join(name for each, name in unforced if each == mode) for mode, _ in unforced}
    exceptions = "; ".join(f"{mode.replace('_', ' ')} for {which}" for mode, which in modes.items())
    exceptions = f" ({exceptions})" if exceptions else ""
    yield f"{', '.join(names)}: {meaning}, on training problems, forced{exceptions}."


def _training(run: Run, result: Mapping[str, Any]) -> str:
    steps, parameters = f"at most {run.num_steps:,} steps", f"{result['parameters']:,} parameters"
    return f"{_optimizer(run)}; {steps} of {run.batch_size} problems; {run.model.name} of {parameters}."


def _optimizer(run: Run) -> str:
    rest = f"adamw at {run.learning_rate:g}"
    if run.optimizer == "adamw":
        return rest
    rate = f"{run.learning_rate * run.muon_factor:g}"
    return f"{run.optimizer} at {rate} for the matrices inside blocks, {rest} for all else"


def _once_if_alike(lines: Mapping[str, str]) -> list[str]:
    """Write each run's line, or one for all."""
    if len(set(lines.values())) == 1:
        return [f"every run: {next(iter(lines.values()))}"]
    return [f"{name}: {line}" for name, line in lines.items()]
