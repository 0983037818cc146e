"""Named experiments: functions that return a run, several runs by name, or a study."""

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unforced.config import Run, flatten
from unforced.errors import ConfigError, UserError, unknown
from unforced.files import read_json
from unforced.plugins import load_file, where
from unforced.provenance import load_parts, origin_in_words, read_records
from unforced.registry import DECODERS, MODELS, OBJECTIVES, RECIPES, STUDIES, TASKS, Registry, summary
from unforced.study import Study
from unforced.wording import typed


def resolve(name: str, overrides: Iterable[str]) -> Run | dict[str, Run]:
    """Return what a recipe's name, FILE.py:FUNCTION, a run folder or its config.json stands for, overridden.

    Raises UserError, also for an override of what the runs of a recipe differ in: it would make them alike.
    """
    overrides = list(overrides)
    folder = Path(name).expanduser()
    if name.endswith(".json"):
        recipe = _from_file(folder)
    elif name not in RECIPES.names() and (folder / "config.json").is_file():
        recipe = _from_file(folder / "config.json")
    else:
        recipe = _make(name, RECIPES)
    if isinstance(recipe, Study):
        raise UserError(f"{name} is a study; carry it out with `unforced study {name}`")
    if isinstance(recipe, Run):
        return recipe.override(overrides)
    if not isinstance(recipe, Mapping):
        raise UserError(f"{name} is not a recipe: its function returns no run, and no runs by name")
    _keep_differences(name, recipe, overrides, f"override it in one of them: {_parts(name, recipe)}")
    return {part: run.override(overrides) for part, run in recipe.items()}


def is_study(name: str) -> bool:
    """Say whether a name, or FILE.py:FUNCTION, stands for a study."""
    return name in STUDIES.names() or (".py:" in name and isinstance(_make(name, STUDIES), Study))


def resolve_run(name: str, overrides: Iterable[str]) -> Run:
    """Return one run. Raises UserError if the name stands for several."""
    recipe = resolve(name, overrides)
    if isinstance(recipe, Run):
        return recipe
    raise UserError(f"recipe {name!r} is {len(recipe)} runs; name one: {_parts(name, recipe)}")


def resolve_study(name: str, overrides: Iterable[str]) -> Study:
    """Return a study by name, or FILE.py:FUNCTION, with overrides applied to each run.

    What a source says holds for its own settings: of a study that overrides alter, nothing is expected;
    `Study.given` are those that are the user's to give. Raises UserError, as `resolve` does.
    """
    overrides = list(overrides)
    study = _make(name, STUDIES)
    if not isinstance(study, Study):
        raise UserError(f"study {name!r}: its function returns no Study")
    _keep_differences(
        name,
        study.runs,
        overrides,
        f"drop it, or choose among them with {typed('only')}, as in {typed('only', '*-0')}",
    )
    runs = {part: run.override(overrides) for part, run in study.runs.items()}
    altering = [each for each in overrides if each.partition("=")[0] not in study.given]
    if all(run.override(altering).fingerprint == run.fingerprint for run in study.runs.values()):
        return replace(study, runs=runs)
    source = f"{study.source}; altered: {' '.join(altering)}"
    return replace(study, runs=runs, source=source, expectations=())


def recipe_names() -> dict[str, str]:
    """Return every recipe, and every run of a recipe of several as RECIPE.RUN, with a line on what it is."""
    names: dict[str, str] = {}
    for name in RECIPES.names():
        try:
            recipe = RECIPES.get(name)
            found = recipe()
        except UserError as error:
            names[name] = str(error)
            continue
        names[name] = summary(recipe)
        if isinstance(found, Mapping):
            names |= {f"{name}.{part}": run.title for part, run in found.items()}
    return names


def _make(name: str, registry: Registry) -> Any:
    """Return what a name of a registry, or FILE.py:FUNCTION, stands for. Raises UserError.

    NAME.RUN is a run by its name among several.
    """
    path, colon, function = name.rpartition(":")
    if colon and path.endswith(".py"):
        return _from_functions(path, function)
    if name in registry.names():
        return registry.get(name)()
    whole, _, part = name.rpartition(".")
    runs = registry.get(whole)() if whole in registry.names() else None
    if isinstance(runs, Mapping) and part in runs:
        return runs[part]
    raise _no_recipe(name) if registry is RECIPES else unknown(registry.kind, name, registry.names())


def _no_recipe(name: str) -> UserError:
    """Build the error for a name that stands for no run: it may be that of something else."""
    if name in STUDIES.names():
        return UserError(f"{name} is a study; carry it out with `unforced study {name}`")
    for parts in (TASKS, MODELS, OBJECTIVES, DECODERS):
        if name in parts.names():
            made = [recipe for recipe, part in _parts_of_recipes(parts.kind) if part == name]
            return UserError(
                f"{name}: it is {'an' if parts.kind[0] in 'aeiou' else 'a'} {parts.kind}, and a recipe is "
                f"asked for: {f'{made[0]}, or ' if made else ''}RECIPE {parts.kind}={name} "
                "(`unforced list recipes`)"
            )
    if "/" in name:
        return UserError(f"{name}: no such run folder (it has no config.json), and no such recipe")
    return unknown("recipe", name, recipe_names())


def _parts_of_recipes(kind: str) -> Iterator[tuple[str, str]]:
    """Yield each recipe of one run, and the name of its part of a kind."""
    for recipe in RECIPES.names():
        with contextlib.suppress(UserError):
            if isinstance(run := RECIPES.get(recipe)(), Run) and (part := getattr(run, kind)) is not None:
                yield recipe, part.name


def _from_functions(path: str, name: str) -> Any:
    """Return what FUNCTION, or FUNCTION.RUN, of a file stands for; the parts that it defines become known."""
    found = load_file(path).namespace
    functions = {
        key: value for key, value in found.items() if inspect.isfunction(value) and not key.startswith("_")
    }
    function, dot, part = name.partition(".")
    if function not in functions:
        if isinstance(kind := getattr(found.get(function), "registry", None), Registry):
            advice = f"choose it in a run by {kind.kind}={path}:{function}"
            raise UserError(f"{path}: {kind.kind} {function} is not a recipe; {advice}")
        raise UserError(f"{path}: {unknown('function', name, functions)}")
    made = _called(path, functions[function])
    if not dot:
        return made
    runs = made if isinstance(made, Mapping) else {}
    if part not in runs:
        raise UserError(
            f"{path}: {unknown('run', name, [f'{function}.{each}' for each in runs] or functions)}"
        )
    return runs[part]


def _called(path: str, function: Callable[..., Any]) -> Any:
    """Call a function of a file. Raises UserError: it needs arguments, or raises an error."""
    empty = inspect.Parameter.empty
    needed = [
        key
        for key, each in inspect.signature(function).parameters.items()
        if each.default is empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if needed:
        line = function.__code__.co_firstlineno
        names = ", ".join(needed)
        raise UserError(
            f"{path}: line {line}: {function.__name__} needs arguments ({names}); give them defaults"
        )
    try:
        return function()
    except Exception as error:
        raise UserError(where(path, error)) from error


def _parts(name: str, runs: Iterable[str]) -> str:
    return ", ".join(f"{name}.{part}" for part in runs)


def _keep_differences(name: str, runs: Mapping[str, Run], overrides: Iterable[str], advice: str) -> None:
    different = _differences(runs.values())
    for path in (override.partition("=")[0] for override in overrides):
        if any(key == path or key.startswith(f"{path}.") for key in different):
            raise UserError(f"{path}: the runs of {name!r} differ in it; {advice}")


def _differences(runs: Iterable[Run]) -> set[str]:
    """Return the dotted keys whose values are not the same in all runs."""
    values = [{key: repr(value) for key, value in flatten(run.tree()).items()} for run in runs]
    return {key for some in values for key in some if any(each.get(key) != some[key] for each in values)}


def _from_file(path: Path) -> Run:
    """Build the run of a config.json; the parts.json next to it names files of parts of one's own."""
    tree = read_json(path)
    if not isinstance(tree, dict):
        raise UserError(f"{path}: not the config of a run")
    records = read_records(path.with_name(path.name.removesuffix("config.json") + "parts.json"))
    load_parts(records)
    try:
        return Run.from_tree(tree)
    except ConfigError as error:
        raise UserError(
            f"{path}: {origin_in_words(records, error.part)}" if error.part else str(error)
        ) from None
