"""`show`: the settings of a recipe."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unforced.cli.options import AsJson, Overrides

if TYPE_CHECKING:
    from unforced.config import Run


def show_recipe(
    recipe: Annotated[str, typer.Argument(help="A recipe's or a study's name, or a run folder.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show the resolved config of a recipe, or of each kind of run of a study, each field explained.

    Example: unforced show paper_gpt_mini task.degree=5
    """
    from unforced.config import Run, flatten
    from unforced.reporting.terminal import print_table

    resolved = _resolve(recipe, overrides or [])
    runs = {recipe: resolved} if isinstance(resolved, Run) else resolved
    if as_json:
        trees = {name: run.tree() for name, run in runs.items()}
        print(json.dumps(trees[recipe] if isinstance(resolved, Run) else trees))
        return
    first = next(iter(runs.values()))
    for name, run in runs.items():
        explained, base = _explanations(run), flatten(first.tree())
        rows = [
            (key, json.dumps(value), explained.get(key, ""))
            for key, value in flatten(run.tree()).items()
            if run is first or base.get(key) != value
        ]
        caption = "" if run is first else f"otherwise as {next(iter(runs))}"
        print_table(["key", "value", "what it is"], rows, title=name, caption=caption)
        print()


def _resolve(name: str, overrides: list[str]) -> "Run | dict[str, Run]":
    """Return what a recipe stands for; of a study, each kind of run with its first seed."""
    from unforced.recipes import is_study, resolve, resolve_study
    from unforced.studies.budget import within_budget
    from unforced.study import kind_of

    if not is_study(name):
        return resolve(name, overrides)
    study = resolve_study(name, overrides)
    kinds: dict[str, Run] = {}
    for part, run in study.runs.items():
        kinds.setdefault(kind_of(part, run), run)
    return dict(within_budget(replace(study, runs=kinds)).runs)


def _explanations(value: Any, key: str = "") -> dict[str, str]:
    """Return the descriptions of all fields below a value, by dotted key as in `flatten`."""
    from unforced.parts import Config

    explained: dict[str, str] = {}
    prefix = f"{key}." if key else ""
    if isinstance(value, Config):
        for name, field in type(value).model_fields.items():
            explained[prefix + name] = field.description or ""
            explained |= _explanations(getattr(value, name), prefix + name)
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            explained |= _explanations(item, f"{prefix}{index}")
    return explained
