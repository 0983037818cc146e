"""The entry point: a thin function per verb, and one line with exit code 2 for a user's mistake."""

import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer

from unforced.cli.ask import ask
from unforced.cli.bench import bench
from unforced.cli.compare import compare
from unforced.cli.data import export_problems, import_problems, write_lm_eval
from unforced.cli.diagnose import diagnose
from unforced.cli.evaluate import evaluate
from unforced.cli.export import export
from unforced.cli.former_names import PRESENT, with_present_verb
from unforced.cli.list import list_names
from unforced.cli.options import as_command
from unforced.cli.quickstart import quickstart
from unforced.cli.report import report
from unforced.cli.show import show_recipe
from unforced.cli.study import study
from unforced.cli.train import train
from unforced.cli.work import work
from unforced.errors import TEMPORARY, PartWarning, TransientError, UserError
from unforced.streams import lasting_streams
from unforced.wording import on_the_command_line

_shown_by_python = warnings.showwarning
_VERBS: dict[str, Callable[..., None]] = {
    "quickstart": quickstart,
    "list": list_names,
    "show": show_recipe,
    "train": train,
    "evaluate": evaluate,
    "diagnose": diagnose,
    "compare": compare,
    "ask": ask,
    "study": study,
    "report": report,
    "export": export,
    "bench": bench,
    "work": work,
}
_HIDDEN = {"work"}
_DATA_VERBS: dict[str, Callable[..., None]] = {
    "export": export_problems,
    "import": import_problems,
    "lm-eval": write_lm_eval,
}


def build_app() -> typer.Typer:
    """Collect the verbs."""
    app = typer.Typer(
        name="unforced",
        help="Shows, measures and repairs the failures of next-token prediction.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options_of_all)
    for name, verb in _VERBS.items():
        app.command(name, hidden=name in _HIDDEN)(as_command(verb))
    data = typer.Typer(help="Problems in files.", no_args_is_help=True)
    for name, verb in _DATA_VERBS.items():
        data.command(name)(as_command(verb))
    app.add_typer(data, name="data")
    return app


def _show_version(wanted: bool) -> bool:
    if wanted:
        print(f"unforced {version('unforced')}")
        raise typer.Exit
    return wanted


def _options_of_all(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Shows, measures and repairs the failures of next-token prediction."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    warnings.showwarning = _show_warning
    arguments, former = with_present_verb(sys.argv[1:] if arguments is None else arguments)
    with lasting_streams() as streams:
        if former:
            print(f"unforced: `{former}` is now `unforced {PRESENT[former]}`", file=sys.stderr)
        code, message = _run(arguments)
        if message:
            print(f"unforced: {message}", file=sys.stderr)
        code = streams.finish(code, "--json" in arguments)
    sys.exit(code)


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
    """Print what the package itself warns of as one line, and other warnings as Python does."""
    if issubclass(category, PartWarning):
        print(f"unforced: {message}", file=sys.stderr)
    else:
        _shown_by_python(message, category, *place, **options)


def _run(arguments: list[str]) -> tuple[int, str]:
    """Run a command line; return the exit code, and the line that says what went wrong."""
    try:
        with on_the_command_line():
            status = build_app()(args=arguments, prog_name="unforced", standalone_mode=False)
    except TransientError as error:
        return TEMPORARY, str(error)
    except UserError as error:
        return 2, str(error)
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return 2, str(UserError(message))
    except MemoryError as error:
        return 2, str(UserError(f"out of memory: {error}" if str(error) else "out of memory"))
    except (KeyboardInterrupt, typer.Abort):
        return 130, ""
    except typer.TyperException as error:  # an unusable command line
        return 2, error.format_message()  # without arguments it is empty: the help is on the screen already
    return status if isinstance(status, int) else 0, ""
