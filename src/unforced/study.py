"""A study: many runs that answer one question, and the results that its source reports."""

import fnmatch
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from unforced.config import Run
from unforced.errors import UserError
from unforced.expectations import Expectation
from unforced.wording import typed

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TAKEN = {"logs", "report", "study.json", "states.json"}


@dataclass(frozen=True)
class Budget:
    """Where all runs of a study end, so that they can be compared: after so many optimiser steps, training
    samples, floating-point operations of training, or seconds of training.

    Of several limits, a run goes on to the last, so that all runs can be compared at each; seconds go alone.
    Raises UserError.
    """

    steps: int | None = None
    samples: int | None = None
    flops: int | float | None = None
    seconds: int | float | None = None

    def __post_init__(self) -> None:
        limits = self._limits()
        if not limits:
            raise UserError(f"budget: give one of {', '.join(field.name for field in fields(self))}")
        for name, value in limits.items():
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"budget: {name}={value:g} is not a number above 0")
        if self.seconds is not None and len(limits) > 1:
            raise UserError("budget: seconds go with no other limit; drop one")

    def __str__(self) -> str:
        return " ".join(f"{name}={value:g}" for name, value in self._limits().items())

    def _limits(self) -> dict[str, int | float]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Study:
    """Runs by name, each of which gets a folder of that name.

    source: where the question and the expected values come from. diagnose: whether runs are diagnosed, too.
    budget: where runs end when the study is carried out (None: by their own settings); see `studies/budget`.
    given: overrides of these keys are the user's part of the study, and alter nothing: where a model is, say.
    Raises UserError: there is no run, two are the same experiment, or a name cannot be a folder's.
    """

    name: str
    source: str
    runs: Mapping[str, Run]
    expectations: Sequence[Expectation] = ()
    diagnose: bool = False
    budget: Budget | None = None
    given: Sequence[str] = ()

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
                f"{typed('only', pattern)}: no run of study {study.name!r} is called so; the "
                f"{len(study.runs)} are called {some} and so on"
            )
        chosen |= matching
    return replace(study, runs=chosen) if chosen else study


def over_seeds(runs: Mapping[str, Run], seeds: Iterable[int]) -> dict[str, Run]:
    """Return each run with each seed, as NAME-SEED; all kinds of the first seed come first."""
    return {f"{name}-{seed}": run.replace(seed=seed) for seed in seeds for name, run in runs.items()}


def kind_of(name: str, run: Run) -> str:
    """Return the name of a run of `over_seeds` without its seed."""
    return name.removesuffix(f"-{run.seed}")
