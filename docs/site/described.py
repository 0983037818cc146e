"""Parts of the registry in Markdown: their docstring and drawing, their fields, tables."""

import inspect
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic_core import PydanticUndefined

from unforced.parts import Config, tree


def described(part: type) -> list[str]:
    """Return the docstring of a part, and its drawing."""
    drawing = _drawing(part)
    text = inspect.getdoc(part) or ""
    return [text, *(["", "```text", drawing, "```"] if drawing else [])]


def _drawing(part: type) -> str:
    """Return the drawing of a part: what its module's docstring shows below its first paragraph."""
    document = inspect.cleandoc(sys.modules[part.__module__].__doc__ or "")
    _, _, rest = document.partition("\n\n")
    blocks = [block for block in rest.split("\n\n") if "  " in block]
    return inspect.cleandoc("\n" + "\n\n".join(blocks))


def fields(part: Any) -> list[str]:
    """Return a table of the fields of a part."""
    found = [
        (f"`{key}`", _default(field), cell(field.description or ""))
        for key, field in part.model_fields.items()
        if key != "name"
    ]
    return rows(("field", "default", "what it is"), found) if found else ["It has no fields."]


def _default(field: Any) -> str:
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "(must be set)"
    value = tree(default) if isinstance(default, Config) else default
    return f"`{json.dumps(value, default=str)}`"


def rows(heads: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    lines = [f"| {' | '.join(each)} |" for each in (heads, *body)]
    return [lines[0], f"|{'---|' * len(heads)}", *lines[1:]]


def cell(text: str) -> str:
    """Return a text that may stand in a table."""
    return text.replace("|", "\\|").replace("\n", " ")
