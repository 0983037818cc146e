"""The entry point: thin verbs, and one line with exit code 2 for a user's mistake."""

import sys
from typing import NoReturn

import typer

from unforced.cli import diagnoses, experiments, exports, names, problems, reports, studies
from unforced.cli.work import work
from unforced.errors import UserError


def build_app() -> typer.Typer:
    """Collect the verbs."""
    app = typer.Typer(
        name="unforced",
        help="Shows, measures and repairs the failures of next-token prediction.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.command()(experiments.quickstart)
    app.command("list")(names.list_names)
    app.command("show")(names.show_recipe)
    app.command()(experiments.train)
    app.command()(experiments.evaluate)
    app.command()(diagnoses.diagnose)
    app.command()(diagnoses.seeds)
    app.command()(studies.study)
    app.command(hidden=True)(work)
    app.command()(reports.report)
    app.command()(exports.export)
    data = typer.Typer(help="Problems in files.", no_args_is_help=True)
    data.command("export")(problems.export_problems)
    data.command("import")(problems.import_problems)
    app.add_typer(data, name="data")
    return app


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    try:
        status = build_app()(args=arguments, prog_name="unforced", standalone_mode=False)
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except MemoryError as error:
        _fail(f"out of memory: {error}" if str(error) else "out of memory")
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except typer.TyperException as error:  # an unusable command line
        if not error.format_message():  # no arguments: the help is on the screen already
            sys.exit(2)
        _fail(error.format_message())
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str) -> NoReturn:
    print(f"unforced: {UserError(message)}", file=sys.stderr)
    sys.exit(2)
