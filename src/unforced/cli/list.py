"""`list`: what there is, by name."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from unforced.cli.options import AsJson
from unforced.errors import UserError, unknown

if TYPE_CHECKING:
    from unforced.registry import Registry


def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(help="tasks, objectives, heads, decoders, models, recipes or studies. [default: all]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what there is, by name.

    Example: unforced list recipes
    """
    from unforced.recipes import recipe_names
    from unforced.registry import DECODERS, HEADS, MODELS, OBJECTIVES, RECIPES, STUDIES, TASKS
    from unforced.reporting.terminal import print_table

    listed = (TASKS, OBJECTIVES, HEADS, DECODERS, MODELS, RECIPES, STUDIES)
    registries = {each.plural: each for each in listed}
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
        print_table(["name", "what it is"], list(names.items()), title=plural)
        print()


def _summaries(registry: "Registry") -> dict[str, str]:
    """Return a line on each name, or the reason why it cannot be loaded."""
    from unforced.registry import summary

    summaries: dict[str, str] = {}
    for name in registry.names():
        try:
            summaries[name] = summary(registry.get(name))
        except UserError as error:
            summaries[name] = str(error)
    return summaries
