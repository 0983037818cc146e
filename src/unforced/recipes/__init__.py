"""Named experiments: functions that return a run, or several runs by name."""

from collections.abc import Iterable
from pathlib import Path

from unforced.config import Run
from unforced.errors import UserError
from unforced.files import read_json
from unforced.registry import RECIPES


def resolve(name: str, overrides: Iterable[str]) -> Run | dict[str, Run]:
    """Return what a recipe's name, or the path of a config.json, stands for, with overrides applied.

    Raises UserError.
    """
    overrides = list(overrides)
    recipe = _from_file(Path(name)) if name.endswith(".json") else RECIPES.get(name)()
    if isinstance(recipe, Run):
        return recipe.override(overrides)
    return {part: run.override(overrides) for part, run in recipe.items()}


def resolve_run(name: str, overrides: Iterable[str]) -> Run:
    """Return one run. Raises UserError if the name stands for several."""
    recipe = resolve(name, overrides)
    if isinstance(recipe, Run):
        return recipe
    raise UserError(
        f"recipe {name!r} is {len(recipe)} runs; name one: {', '.join(f'{name}.{p}' for p in recipe)}"
    )


def _from_file(path: Path) -> Run:
    tree = read_json(path)
    if not isinstance(tree, dict):
        raise UserError(f"{path}: not the config of a run")
    return Run.from_tree(tree)
