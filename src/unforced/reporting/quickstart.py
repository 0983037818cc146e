"""The quickstart's report: a table, a figure, and one problem worked by every model."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd
from rich.text import Text

from unforced.files import read_json, write_atomically, write_json
from unforced.reporting.comparison import comparison_table, interval_note, narrow_table, notes
from unforced.reporting.markdown import plain
from unforced.reporting.report_figures.curves import learning_curves
from unforced.reporting.report_figures.style import styled
from unforced.reporting.tables import markdown, show
from unforced.reporting.terminal import console, print_lines
from unforced.runs.folder import RunFolder
from unforced.runs.groups import group_runs
from unforced.runs.index import read_finished


def report(out: Path, names: Sequence[str], quiet: bool) -> dict[str, Any]:
    """Write table.md, learning_curves.png, worked_problem.txt and summary.json into `out`, and print them.

    Everything comes from the files of the run folders `out`/name.
    """
    folders = {name: RunFolder.open(out / name) for name in names}
    runs = {name: folder.run() for name, folder in folders.items()}
    results = {name: read_json(folder.result) for name, folder in folders.items()}
    table, lines = markdown(comparison_table(runs, results)), [f"- {line}" for line in notes(runs, results)]
    write_atomically(out / "table.md", "\n".join([table, *map(plain, lines), ""]).encode())
    _draw(folders, out / "learning_curves.png")
    worked = worked_problem(folders)
    write_atomically(out / "worked_problem.txt", (worked.plain + "\n").encode())
    summary = {"folder": str(out), "chance": results[names[0]]["chance"], "runs": results}
    write_json(out / "summary.json", summary)
    if not quiet:
        _print(narrow_table(runs, results), [f"- {interval_note(runs, results)}", *lines], worked)
        print_lines("", f"figure {out / 'learning_curves.png'}, table with intervals {out / 'table.md'}")
    return summary


def _draw(folders: Mapping[str, RunFolder], path: Path) -> None:
    """Draw the report's free-running learning curves of the runs."""
    groups = group_runs([read_finished(folder.path) for folder in folders.values()])
    with styled():
        for figure in learning_curves(groups, ("free",)).values():
            figure.savefig(path)


def _print(table: pd.DataFrame, lines: Sequence[str], worked: Text) -> None:
    show(table)
    print_lines("", *lines, "")
    console().print(worked)


def worked_problem(folders: Mapping[str, RunFolder]) -> Text:
    """Draw one test problem and each model's answer to it, and say where an answer goes wrong.

    It is the first problem on which not all models are right, if there is one among those written down.
    """
    answers = {name: read_json(folder.answers) for name, folder in folders.items()}
    first = next(iter(answers))
    failing = [
        any(a[i]["verdict"] != "correct" for a in answers.values()) for i in range(len(answers[first]))
    ]
    index = failing.index(True) if True in failing else 0
    task = folders[first].run().task
    text = Text("One held-out problem: ").append(answers[first][index]["prompt"] + "\n\n")
    for row in answers[first][index]["drawn"]:
        text.append(f"    {row}\n", style="dim")
    truth, arrow = answers[first][index]["true"], " → " if task.text.separator else ""
    width = max(map(len, answers))
    for name, given in answers.items():
        text.append(f"\n    {name:<{width}}  ").append_text(_marked(given[index]["free"], truth, arrow))
        verdict = given[index]["verdict"]
        wrong = f": {task.verdict_kinds[verdict]}" if verdict != "correct" else ""
        text.append(f"  {verdict.replace('_', ' ')}{wrong}")
    return text


def _marked(answer: Sequence[str], truth: Sequence[str], arrow: str) -> Text:
    text = Text()
    for position, (given, true) in enumerate(zip_longest(answer, truth, fillvalue="–")):
        text.append(arrow if position else "", style="dim")
        text.append(given if given == true else f"{given}✗", style="green" if given == true else "bold red")
    return text
