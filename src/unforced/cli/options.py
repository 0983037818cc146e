"""Options that several verbs have, and what is done to the arguments of all."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from unforced.files import expand_home

Overrides = Annotated[
    list[str] | None, typer.Argument(help="dotted.key=value, as in task.degree=5 seed=3", show_default=False)
]
Trackers = Annotated[
    list[str] | None,
    typer.Option(help="tensorboard, wandb or trackio: also gets every metric; can be given again."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def with_paths_expanded(verb: Callable[..., None]) -> Callable[..., None]:
    """Let a verb get its paths with `~` expanded; a shell does not expand it in `--out=~/x`."""

    @functools.wraps(verb)
    def call(**arguments: Any) -> None:
        verb(**{name: _expanded(value) for name, value in arguments.items()})

    return call


def _expanded(value: Any) -> Any:
    """Expand `~` and `~user` at the beginning of a path, of text that begins like one, and in lists of both.

    The path of an unknown user stays as it is.
    """
    if isinstance(value, list):
        return [_expanded(item) for item in value]
    if isinstance(value, Path):
        return Path(os.path.expanduser(value))
    if isinstance(value, str):
        return expand_home(value)
    return value
