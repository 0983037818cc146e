"""The plan of a study: the runs left to do of each configuration, and the most that they will cost."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from unforced.config import Run
from unforced.errors import UserError
from unforced.studies.cost import Costs
from unforced.studies.engines import Engine
from unforced.study import Study, kind_of


@dataclass(frozen=True)
class Kind:
    """Runs of a study that differ only in their seed: `left` of them to do, `work` trainings in total.

    steps, operations (FLOPs) and seconds are those of one run that trains to its last step, alone on its
    share of this machine, without evaluation. None: unknown, see `reason`.
    """

    name: str
    runs: int
    left: int
    work: float
    steps: int
    operations: float | None
    seconds: float | None
    reason: str


@dataclass(frozen=True)
class Plan:
    """The configurations, and the FLOPs of each run that is left, if known.

    workers: how many runs train at once; at_full_speed: how many of them have their own cores or GPU;
    measured: whether costs were measured.
    """

    kinds: Mapping[str, Kind]
    workers: int
    at_full_speed: int
    operations: Mapping[str, float]
    measured: bool

    @property
    def seconds(self) -> float:
        """Time until all runs left, except those of unknown cost, are trained to their last step."""
        total = sum(kind.work * (kind.seconds or 0.0) for kind in self.kinds.values())
        return total / max(1, min(self.workers, self.at_full_speed, self.left - self.unknown))

    @property
    def left(self) -> int:
        """How many runs are left."""
        return sum(kind.left for kind in self.kinds.values())

    @property
    def unknown(self) -> int:
        """How many of them have an unknown cost."""
        return sum(kind.left for kind in self.kinds.values() if kind.seconds is None)


def make_plan(study: Study, left: Mapping[str, float], engine: Engine, measure: bool = True) -> Plan:
    """Count the runs of each configuration and those left; with `measure`, estimate their cost.

    The estimate builds each model on this machine and trains it briefly. left: by run, the fraction of its
    training that is left.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for name, run in study.runs.items():
        members[kind_of(name, run)].append(name)
    costs = Costs(engine.threads) if measure else None
    kinds = {kind: _kind(kind, names, study.runs[names[0]], left, costs) for kind, names in members.items()}
    operations = {
        name: kinds[kind].operations for kind, names in members.items() for name in names if name in left
    }
    counted = {name: count for name, count in operations.items() if count}
    return Plan(kinds, engine.workers, engine.at_full_speed, counted, measure)


def _kind(name: str, names: list[str], run: Run, left: Mapping[str, float], costs: Costs | None) -> Kind:
    remaining = sum(run_name in left for run_name in names)
    work = sum(left.get(run_name, 0.0) for run_name in names)
    if costs is None:
        return Kind(name, len(names), remaining, work, run.num_steps, None, None, "")
    try:
        operations = costs.work(run)
        seconds = min(operations / costs.speed(run), run.max_seconds or math.inf) if remaining else None
    except (UserError, RuntimeError) as error:  # the run may fail for this reason, the study must not
        return Kind(name, len(names), remaining, work, run.num_steps, None, None, str(UserError(str(error))))
    return Kind(name, len(names), remaining, work, run.num_steps, operations, seconds, "")
