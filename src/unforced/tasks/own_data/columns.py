"""Which columns of own data hold prompts, answers and splits."""

from dataclasses import dataclass

from unforced.errors import UserError


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; `split` may be None, or a name that need not be there."""

    prompt: str
    answer: str
    split: str | None
    needs_split: bool


def check_columns(place: str, names: list[str], columns: Columns, is_split: bool = False) -> None:
    """Raise UserError unless the columns are there."""
    for key, name in (("prompt", columns.prompt), ("answer", columns.answer), ("split", columns.split or "")):
        needed = key != "split" or (columns.needs_split and not is_split)
        if needed and name not in names:
            raise UserError(
                f"{place}: no column {name!r}; it has {', '.join(map(str, names)) or 'none'}; "
                f"say which one it is with task.{key}_column"
            )
        if names.count(name) > 1:
            raise UserError(f"{place}: {names.count(name)} columns are named {name!r}; rename or drop one")
