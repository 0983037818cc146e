"""`compare`: outcomes over seeds."""

import json
from pathlib import Path
from typing import Annotated

import typer

from unforced.cli.options import AsJson


def compare(
    folders: Annotated[list[Path], typer.Argument(help="Run folders, or folders that hold some.")],
    measure: Annotated[
        str | None,
        typer.Option(
            help="The outcome: free.exact, forced.token_1, ..., on held-out problems. "
            "By default free.exact, of open-ended tasks free.creative."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Summarise runs that differ only in their seed, and compare groups of runs on the same seeds.

    Example: unforced compare runs/quickstart-seeds
    """
    from unforced.evaluation.outcomes import compare_groups
    from unforced.reporting.outcomes import show_groups
    from unforced.runs.groups import group_runs
    from unforced.runs.index import find_finished

    index = find_finished(folders)
    summary = compare_groups(group_runs(index.runs), measure) | index.omitted
    if as_json:
        print(json.dumps(summary))
        return
    show_groups(summary)
