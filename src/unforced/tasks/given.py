"""Problems that are asked for in Python: a task by whatever names it, and a part of a split, checked."""

from collections.abc import Mapping
from typing import Any, get_args

from unforced.errors import UserError, unknown
from unforced.parts import read_part
from unforced.tasks.base import Order, Task
from unforced.tasks.sampling import split_size

GivenTask = str | Mapping[str, Any] | Task
"""A task, its name, or its fields with the name."""
_ORDERS = get_args(Order)


def given_task(task: GivenTask, **fields: Any) -> Task:
    """Build a task from what names it; fields: of one that is not built yet. Raises UserError."""
    if isinstance(task, Task):
        if fields:
            raise UserError(
                f"{next(iter(fields))}: fields are for a task given by name; this one is built already"
            )
        return task
    if isinstance(task, str):
        task = {"name": task}
    if not isinstance(task, Mapping) or not isinstance(task.get("name"), str):
        raise UserError(f"task: give a task, its name, or a run, not {task!r}")
    return read_part(Task, "task", {**task, **fields})  # type: ignore[type-abstract]


def check_part(task: Task, split: str, seed: int, order: str, count: int | None, start: int = 0) -> None:
    """Refuse what is no part of a split, or goes beyond one that is a list. Raises UserError.

    count: None for all that come from `start` on.
    """
    size = split_size(task, split)
    if order not in _ORDERS:
        raise unknown("order", str(order), _ORDERS)
    for name, value, least in (("start", start, 0), ("count", count, 1), ("seed", seed, 0)):
        if value is not None and (not isinstance(value, int) or value < least):
            raise UserError(f"{name}: give a whole number from {least} up, not {value!r}")
    if size is not None and count is not None and start + count > size:
        beyond = f" from start={start} on" if start else ""
        raise UserError(f"count: {task} has {size} problems in its {split} split, not {count}{beyond}")
