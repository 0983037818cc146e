"""How many runs of a study one process trains at once: what was asked for, or a rule.

The rule (`auto`) is 1 without a GPU. On one, runs are trained together that can be
(`unforced.config.stacking`): as many as `unforced.training.footprint` estimates that the card has room for.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from unforced.config import Run
from unforced.config.stacking import refusal, stack_key
from unforced.errors import UserError
from unforced.models.failures import first_words
from unforced.studies.engines import Engine
from unforced.training.footprint import bytes_of, stack_size
from unforced.wording import typed

Stack = int | Literal["auto"]
AUTO: Literal["auto"] = "auto"
_GIB = 2**30


@dataclass(frozen=True)
class Stacks:
    """How many runs are trained at once. sizes: by run, the most; keys: what those have in common that it may
    be trained with. A run that is in neither is trained by itself. notes: a line on each choice.
    """

    sizes: Mapping[str, int] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def shares(self, left: Collection[str], workers: int) -> dict[str, int]:
        """Return, by run that is left, how many are trained at once when they are dealt to the workers."""
        alike = Counter(self.keys[name] for name in left if name in self.keys)
        dealt = {
            name: math.ceil(alike[self.keys[name]] / max(1, workers)) for name in left if name in self.keys
        }
        return {name: min(self.sizes[name], dealt[name]) if name in dealt else 1 for name in left}


ALONE = Stacks()


def read_stack(text: str) -> Stack:
    """Read `auto` or a number from 1. Raises UserError."""
    if text == AUTO:
        return AUTO
    if re.fullmatch(r"[0-9]{1,9}", text) is None or int(text) < 1:
        raise UserError(f"{text!r} is neither auto nor a number from 1", about="stack")
    return int(text)


def check_stack(stack: Stack, trackers: Sequence[str]) -> Stack:
    """Return how many runs to train at once beside trackers. Raises UserError: several were asked for."""
    if stack != AUTO and (not isinstance(stack, int) or stack < 1):
        raise UserError(f"{typed('stack', stack)}: give {AUTO!r}, or a number from 1")
    if trackers and stack == AUTO:
        return 1
    if trackers and stack != 1:
        raise UserError(
            f"a tracker follows one run of a process; drop the tracker, or give {typed('stack', 1)}",
            about="stack",
        )
    return stack


def choose_stacks(runs: Mapping[str, Run], stack: Stack, engine: Engine) -> Stacks:
    """Say how many of these runs, which have names, to train at once on an engine."""
    free = engine.free_memory if stack == AUTO else None
    if stack == 1 or (stack == AUTO and free is None):
        return ALONE
    keys = {name: key for name, run in runs.items() if (key := stack_key(run)) is not None}
    alike = [[name for name in keys if keys[name] == key] for key in dict.fromkeys(keys.values())]
    groups = [names for names in alike if len(names) > 1]
    if stack != AUTO:
        sizes = {name: stack for names in groups for name in names}
        return Stacks(sizes, {name: keys[name] for name in sizes}, [] if groups else _refused(runs, stack))
    assert free is not None
    sizes, notes = {}, []
    for names in groups:
        size, note = _chosen(runs[names[0]], names[0], free)
        notes.append(note)
        if size > 1:
            sizes |= dict.fromkeys(names, size)
    return Stacks(sizes, {name: keys[name] for name in sizes}, notes)


def _refused(runs: Mapping[str, Run], stack: int) -> list[str]:
    """Say why no two runs can be trained at once, by the example of the first ones."""
    first = list(runs.values())[:2]
    return [f"{typed('stack', stack)}: no two of the runs can be trained at once: {refusal(first)}"] * (
        len(first) > 1
    )


def _chosen(run: Run, name: str, free: int) -> tuple[int, str]:
    """Return how many runs like this one to train at once, and a line on why."""
    try:
        each = bytes_of(run)
    except (UserError, RuntimeError) as error:
        return 1, f"{name} and those like it are trained one at a time ({first_words(error)})"
    size = stack_size(free, each)
    return size, (
        f"{name} and those like it: up to {size} at once, of {each / _GIB:.2g} GiB each by estimate, where "
        f"{free / _GIB:.3g} GiB are free"
    )
