"""Runs by name, and parts of one's own."""

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any, Literal, TypeVar, overload

from unforced.config import Run
from unforced.errors import UserError
from unforced.parts import Part
from unforced.recipes import resolve

AnyPartClass = TypeVar("AnyPartClass", bound=type[Any])


@overload
def recipe(name: Literal["quickstart"]) -> Mapping[str, Run]: ...  # type: ignore[overload-overlap]
@overload
def recipe(name: str | PathLike[str]) -> Run: ...
def recipe(name: str | PathLike[str]) -> Run | Mapping[str, Run]:
    """Return the run that a name stands for; several runs by their names, where it stands for several.

    name: a recipe (`unforced list recipes`), one of its runs (`quickstart.teacherless`), FILE.py:FUNCTION, or
    the path of a run's config.json. Raises UserError for another name.
    """
    return resolve(fspath(name), ())


def register(part: AnyPartClass) -> AnyPartClass:
    """Make a task, model, objective or decoder known by its name, in this process; return the class.

    For classes that are to be called by name (`objective="mine"`); a run that holds one makes it known by
    itself. A decorator: `@uf.register`. Raises UserError if another class has the name.
    """
    if not isinstance(part, type) or not issubclass(part, Part) or not hasattr(part, "registry"):
        raise UserError(f"{part!r} is not a class of tasks, models, objectives or decoders")
    part.registry.add(part)
    return part
