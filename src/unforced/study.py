"""A study: many runs that answer one question, and the results that its source reports."""

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from unforced.config import Run
from unforced.errors import UserError
from unforced.expectations import Expectation

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TAKEN = {"logs", "report", "study.json", "states.json"}


@dataclass(frozen=True)
class Study:
    """Runs by name, each of which gets a folder of that name.

    source: where the question and the expected values come from. diagnose: whether runs are diagnosed, too.
    Raises UserError: there is no run, two are the same experiment, or a name cannot be a folder's.
    """

    name: str
    source: str
    runs: Mapping[str, Run]
    expectations: Sequence[Expectation] = ()
    diagnose: bool = False

    def __post_init__(self) -> None:
        if not self.runs:
            raise UserError(f"study {self.name!r} has no run")
        by_fingerprint: dict[str, str] = {}
        for name, run in self.runs.items():
            if name in _TAKEN:
                raise UserError(
                    f"study {self.name!r}: no run can be called {name!r}, a name of the study's own"
                )
            if not _NAME.fullmatch(name):
                raise UserError(
                    f"study {self.name!r}: {name!r} cannot name a run's folder; use a-z, 0-9, _ - ."
                )
            first = by_fingerprint.setdefault(run.fingerprint, name)
            if first != name:
                raise UserError(f"study {self.name!r}: {first} and {name} are the same run; drop one")


def only(study: Study, patterns: Iterable[str]) -> Study:
    """Return the part of a study whose runs match a pattern, as in `gpt-2x5-*-0`; all of it without any.

    Raises UserError for a pattern that no run matches.
    """
    chosen: dict[str, Run] = {}
    for pattern in patterns:
        matching = {name: run for name, run in study.runs.items() if fnmatch.fnmatchcase(name, pattern)}
        if not matching:
            some = ", ".join(list(study.runs)[:4])
            raise UserError(
                f"--only {pattern}: no run of study {study.name!r} is called so; the {len(study.runs)} are "
                f"called {some} and so on"
            )
        chosen |= matching
    return replace(study, runs=chosen) if chosen else study


def over_seeds(runs: Mapping[str, Run], seeds: Iterable[int]) -> dict[str, Run]:
    """Return each run with each seed, as NAME-SEED; all kinds of the first seed come first."""
    return {f"{name}-{seed}": run.replace(seed=seed) for seed in seeds for name, run in runs.items()}


def kind_of(name: str, run: Run) -> str:
    """Return the name of a run of `over_seeds` without its seed."""
    return name.removesuffix(f"-{run.seed}")
