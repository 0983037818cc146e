"""The reference of the command line, made from the verbs themselves."""

from typing import Any

import typer

from unforced.cli.main import build_app


def reference() -> str:
    """Return a section per verb: what it does, its arguments and options."""
    group = typer.main.get_command(build_app())
    return "\n".join(_section(f"unforced {name}", verb) for name, verb in _verbs(group))


def _verbs(group: Any, prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, verb in group.commands.items():
        if verb.hidden:
            continue
        found += _verbs(verb, f"{prefix}{name} ") if hasattr(verb, "commands") else [(prefix + name, verb)]
    return found


def _section(title: str, verb: Any) -> str:
    lines = [f"### `{title}`", "", *(line.strip() for line in (verb.help or "").splitlines()), ""]
    rows = [_row(parameter) for parameter in verb.params if not getattr(parameter, "hidden", False)]
    if rows:
        lines += ["| argument or option | what it is |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _row(parameter: Any) -> str:
    names = (
        parameter.opts + parameter.secondary_opts
        if parameter.param_type_name == "option"
        else [_metavar(parameter)]
    )
    shown = ", ".join(f"`{name}`" for name in names)
    default = (
        ""
        if parameter.default in (None, False, ()) or parameter.required
        else f" Default: `{parameter.default}`."
    )
    return f"| {shown} | {(parameter.help or '').replace('|', chr(92) + '|')}{default} |"


def _metavar(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name).upper()
    return f"{name}..." if parameter.nargs == -1 else name
