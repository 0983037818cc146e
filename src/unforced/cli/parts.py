"""Settings of parts as they are typed: `task.degree=3 decoder=NAME`, and `degree=3` for one of the task."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from unforced.config.overrides import assign
from unforced.errors import UserError

_TASK = "task"


def settings_of_parts(texts: Iterable[str], names: Mapping[str, str | None]) -> dict[str, dict[str, Any]]:
    """Read settings by the part that they are of; `name` is among them where one is chosen.

    names: of each part that may have settings, what an option named it. A setting without a part is one of
    the task. Raises UserError.
    """
    found: dict[str, Any] = {part: {"name": name} if name else {} for part, name in names.items()}
    for text in texts:
        if "=" not in text:
            raise UserError(
                f"{text!r} is not a setting, as in task.degree=3; a run folder is measured by "
                "`unforced evaluate` or `unforced diagnose`, without a model"
            )
        part = re.split(r"[.=]", text)[0]
        before = found[part].get("name") if part in found else None
        assign(found, text if part in found else f"{_TASK}.{text}", tuple(found))
        if before and found[part].get("name", before) != before:
            raise UserError(f"{text}: --{part} names {before}; give one of the two")
    return found
