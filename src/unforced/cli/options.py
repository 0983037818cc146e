"""Options that several verbs have, and what is done to the arguments of all."""

import contextlib
import functools
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
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
Base = Annotated[
    Path | None,
    typer.Option(help="Where the pretrained model that the run started from is now, if it was moved."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


_Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="A file that defines tasks, objectives, ...; can be given again."),
]


def as_command(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the option `--plugin`, and its paths with `~` expanded.

    A shell does not expand it in `--out=~/x`.
    """

    @functools.wraps(verb)
    def call(plugin: _Plugins = None, **arguments: Any) -> None:
        with _loaded(_expanded(plugin or [])):
            verb(**{name: _expanded(value) for name, value in arguments.items()})

    signature = inspect.signature(verb)
    option = inspect.Parameter("plugin", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_Plugins)
    parameters = [*signature.parameters.values(), option]
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {**verb.__annotations__, "plugin": _Plugins}
    return call


@contextlib.contextmanager
def _loaded(plugins: Sequence[Path]) -> Iterator[None]:
    """Load files with parts; processes that are started meanwhile load them, too. Raises UserError."""
    if not plugins:
        yield
        return
    from unforced.plugins import VARIABLE, load_file

    before = os.environ.get(VARIABLE)
    files = [str(load_file(path).path) for path in plugins]
    os.environ[VARIABLE] = os.pathsep.join([*filter(None, [before]), *files])
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


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
