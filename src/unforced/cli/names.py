"""Verbs that explain: `list` and `show`."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unforced.cli.experiments import AsJson, Overrides
from unforced.errors import UserError, unknown

if TYPE_CHECKING:
    from unforced.config import Run
    from unforced.registry import Registry


def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(help="tasks, objectives, decoders, models, recipes or studies. [default: all]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what there is, by name.

    Example: unforced list recipes
    """
    from rich.console import Console
    from rich.table import Table

    from unforced.recipes import recipe_names
    from unforced.registry import DECODERS, MODELS, OBJECTIVES, RECIPES, STUDIES, TASKS

    registries = {each.plural: each for each in (TASKS, OBJECTIVES, DECODERS, MODELS, RECIPES, STUDIES)}
    if kind is not None and kind not in registries:
        raise unknown("kind", kind, registries)
    chosen = registries if kind is None else {kind: registries[kind]}
    summaries = {
        plural: recipe_names() if registry is RECIPES else _summaries(registry)
        for plural, registry in chosen.items()
    }
    if as_json:
        print(json.dumps(summaries))
        return
    for plural, names in summaries.items():
        table = Table(
            "name", "what it is", title=plural, title_justify="left", box=None, padding=(0, 2, 0, 0)
        )
        for name, words in names.items():
            table.add_row(name, words)
        Console().print(table, "")


def _summaries(registry: "Registry") -> dict[str, str]:
    """Return what each name stands for, in a line; or why it cannot be had."""
    from unforced.registry import summary

    summaries: dict[str, str] = {}
    for name in registry.names():
        try:
            summaries[name] = summary(registry.get(name))
        except UserError as error:
            summaries[name] = str(error)
    return summaries


def show_recipe(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's or a study's name, or the path of a run's config.json.")
    ],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show the resolved config of a recipe, or of each kind of run of a study, each field explained.

    Example: unforced show paper_gpt_mini task.degree=5
    """
    from rich.console import Console
    from rich.table import Table

    from unforced.config import Run, flatten

    found = _resolve(recipe, overrides or [])
    runs = {recipe: found} if isinstance(found, Run) else found
    if as_json:
        trees = {name: run.tree() for name, run in runs.items()}
        print(json.dumps(trees[recipe] if isinstance(found, Run) else trees))
        return
    first = next(iter(runs.values()))
    for name, run in runs.items():
        explained, base = _explanations(run), flatten(first.tree())
        table = Table(
            "key", "value", "what it is", title=name, title_justify="left", box=None, padding=(0, 2, 0, 0)
        )
        for key, value in flatten(run.tree()).items():
            if run is first or base.get(key) != value:
                table.add_row(key, json.dumps(value), explained.get(key, ""))
        if run is not first:
            table.caption, table.caption_justify = f"otherwise as {next(iter(runs))}", "left"
        Console().print(table, "")


def _resolve(name: str, overrides: list[str]) -> "Run | dict[str, Run]":
    """Return what a recipe stands for; of a study, each kind of run with its first seed."""
    from unforced.recipes import is_study, resolve, resolve_study
    from unforced.study import kind_of

    if not is_study(name):
        return resolve(name, overrides)
    kinds: dict[str, Run] = {}
    for part, run in resolve_study(name, overrides).runs.items():
        kinds.setdefault(kind_of(part, run), run)
    return kinds


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
