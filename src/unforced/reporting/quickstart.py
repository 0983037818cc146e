"""The quickstart's results: a table, the report's learning curves, and one problem with all answers."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd
from rich.text import Text

from unforced.config import SOLVED, Run
from unforced.evaluation.statistics import percent, percent_alone
from unforced.files import read_json, write_atomically, write_json
from unforced.reporting.markdown import plain
from unforced.reporting.report_figures.curves import learning_curves
from unforced.reporting.report_figures.style import styled
from unforced.reporting.tables import MODE_NAMES, in_percent, markdown, show
from unforced.reporting.terminal import console, print_lines
from unforced.runs.folder import RunFolder
from unforced.runs.groups import group_runs
from unforced.runs.index import read_finished

Runs = Mapping[str, Run]
Results = Mapping[str, Mapping[str, Any]]

_SPLITS = {"training": "train", "held-out": "test"}


def report(out: Path, names: Sequence[str], quiet: bool) -> dict[str, Any]:
    """Write table.md, learning_curves.png, worked_problem.txt and summary.json into `out`, and print them.

    Everything comes from the files of the run folders `out`/name.
    """
    folders = {name: RunFolder.open(out / name) for name in names}
    runs = {name: folder.run() for name, folder in folders.items()}
    results = {name: folder.read_result() for name, folder in folders.items()}
    table, lines = results_table(runs, results), [f"- {note}" for note in notes(runs, results)]
    write_atomically(out / "table.md", "\n".join([markdown(table), *map(plain, lines), ""]).encode())
    _draw(folders, out / "learning_curves.png")
    worked = worked_problem(folders)
    write_atomically(out / "worked_problem.txt", (worked.plain + "\n").encode())
    summary = {"folder": str(out), "chance": results[names[0]]["chance"], "runs": results}
    write_json(out / "summary.json", summary)
    if not quiet:
        show(table)
        print_lines("", *lines, "")
        console().print(worked)
        print_lines("", f"figure {out / 'learning_curves.png'}, table {out / 'table.md'}")
        print_lines(f"all numbers, figures and a page to explore: unforced report {out}")
    return summary


def results_table(runs: Runs, results: Results) -> pd.DataFrame:
    """Put runs of one task into a table: exact match, single tokens as they were trained, and steps."""
    rows = {name: _row(runs[name], result) for name, result in results.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").fillna("")
    table.index.name = f"chance {in_percent(next(iter(results.values()))['chance'], 0, '%')}"
    return table


def _row(run: Run, result: Mapping[str, Any]) -> dict[str, str]:
    row = {name: percent(result[f"{split}.free.exact"]) for name, split in _SPLITS.items()}
    for position in run.task.decisive_positions:
        row[f"token_{position}"] = percent_alone(result[f"train.{run.trained_mode}.token_{position}"])
    counts = [result[f"train.{run.trained_mode}.token_{position}"] for position in _later(run)]
    if counts:  # pooled; the positions of one problem are not independent, so there is no interval
        correct, total = (sum(count[key] for count in counts) for key in ("correct", "total"))
        row["later"] = percent_alone({"value": correct / total})
    return row | {"steps": f"{result['steps']:,}"}


def _later(run: Run) -> list[int]:
    """Return the answer positions after the first that needs lookahead, without those that need it, too."""
    decisive, length = run.task.decisive_positions, run.task.answer_length
    return [i for i in range(min(decisive, default=length), length) if i not in decisive]


def notes(runs: Runs, results: Results) -> list[str]:
    """Explain the columns, how the runs were trained, and which were stopped before their last step."""
    training = {name: _training(run, results[name]) for name, run in runs.items()}
    lines = [*_column_notes(runs), *_merged(training)]
    for name, result in results.items():
        if result["ended_by"] == "solved":
            samples = f"{result['samples']:,} problems"
            lines.append(f"{name}: stopped when solved ({100 * SOLVED:.0f}% of validation), after {samples}.")
    return lines


def _column_notes(runs: Runs) -> Iterator[str]:
    yield "training, held-out: exact match of free-running answers, with 95% intervals."
    first = next(iter(runs.values()))
    tokens = [f"token_{position}" for position in first.task.decisive_positions]
    if not tokens:
        return
    meaning = "needs lookahead" if len(tokens) == 1 else "need lookahead"
    later = "; later: the tokens after it" if _later(first) else ""
    other_modes = [
        f"{name}: {MODE_NAMES[run.trained_mode]}"
        for name, run in runs.items()
        if run.trained_mode != "forced"
    ]
    exceptions = f" ({', '.join(other_modes)})" if other_modes else ""
    yield f"{', '.join(tokens)}: {meaning}{later}. On training problems, teacher-forced{exceptions}."


def _training(run: Run, result: Mapping[str, Any]) -> str:
    steps, parameters = f"at most {run.num_steps:,} steps", f"{result['parameters']:,} parameters"
    return f"{_optimizer(run)}; {steps} of {run.batch_size} problems; {run.model.name} of {parameters}."


def _optimizer(run: Run) -> str:
    adamw = f"adamw at {run.learning_rate:g}"
    if run.optimizer == "adamw":
        return adamw
    rate = f"{run.learning_rate * run.muon_factor:g}"
    return f"{run.optimizer} at {rate} for the matrices inside blocks, {adamw} for all else"


def _merged(lines: Mapping[str, str]) -> list[str]:
    """Return each run's line, or a single one if all are the same."""
    if len(set(lines.values())) == 1:
        return [f"every run: {next(iter(lines.values()))}"]
    return [f"{name}: {line}" for name, line in lines.items()]


def _draw(folders: Mapping[str, RunFolder], path: Path) -> None:
    """Draw the report's free-running learning curves of the runs."""
    groups = group_runs([read_finished(folder.path) for folder in folders.values()])
    with styled():
        for figure in learning_curves(groups, ("free",)).values():
            figure.savefig(path)


def worked_problem(folders: Mapping[str, RunFolder]) -> Text:
    """Draw one test problem with each model's answer to it, and mark and name the errors.

    The first recorded problem that some model answers wrong, if there is one.
    """
    answers = {name: read_json(folder.answers) for name, folder in folders.items()}
    first = next(iter(answers))
    wrong = [
        any(answer["verdict"] != "correct" for answer in row) for row in zip(*answers.values(), strict=False)
    ]
    index = wrong.index(True) if True in wrong else 0
    task, problem = folders[first].run().task, answers[first][index]
    text = Text("One held-out problem: ").append(problem["prompt"] + "\n\n")
    for row in problem["drawn"]:
        text.append(f"    {row}\n", style="dim")
    arrow = " → " if task.text.separator else ""
    width = max(map(len, answers))
    for name, recorded in answers.items():
        answer = recorded[index]
        text.append(f"\n    {name:<{width}}  ").append_text(_marked(answer["free"], problem["true"], arrow))
        verdict = answer["verdict"]
        error = f": {task.verdict_kinds[verdict]}" if verdict != "correct" else ""
        text.append(f"  {verdict.replace('_', ' ')}{error}")
    return text


def _marked(answer: Sequence[str], truth: Sequence[str], arrow: str) -> Text:
    text = Text()
    for position, (symbol, true) in enumerate(zip_longest(answer, truth, fillvalue="–")):
        text.append(arrow if position else "", style="dim")
        right = symbol == true
        text.append(symbol if right else f"{symbol}✗", style="green" if right else "bold red")
    return text
