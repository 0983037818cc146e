"""The plan of a study: the runs left to do of each configuration, and the most that they will cost."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from unforced.config import Run
from unforced.errors import UserError
from unforced.studies.cost import Costs
from unforced.studies.engines import Engine
from unforced.studies.stacking import ALONE, Stacks
from unforced.study import Study, kind_of


@dataclass(frozen=True)
class Kind:
    """Runs of a study that differ only in their seed: `left` of them to do, `work` trainings in total.

    steps, operations (FLOPs) and seconds are those of one run that trains to its last step on its share of
    this machine, without evaluation. None: unknown, see `reason`. at_once: how many runs one process trains
    together; seconds are then a run's part of theirs.
    """

    name: str
    runs: int
    left: int
    work: float
    steps: int
    operations: float | None
    seconds: float | None
    reason: str
    at_once: int = 1

    @property
    def jobs(self) -> int:
        """The processes that the runs left make up."""
        return math.ceil(self.left / self.at_once)


@dataclass(frozen=True)
class Plan:
    """The configurations, and the FLOPs of each run that is left, if known.

    workers: how many processes train at once; at_full_speed: how many of them have their own cores or GPU;
    measured: whether costs were measured. notes: lines on how many runs are trained at once.
    """

    kinds: Mapping[str, Kind]
    workers: int
    at_full_speed: int
    operations: Mapping[str, float]
    measured: bool
    notes: Sequence[str] = ()

    @property
    def seconds(self) -> float:
        """Time until all runs left, except those of unknown cost, are trained to their last step."""
        total = sum(kind.work * (kind.seconds or 0.0) for kind in self.kinds.values())
        jobs = sum(kind.jobs for kind in self.kinds.values() if kind.seconds is not None)
        return total / max(1, min(self.workers, self.at_full_speed, jobs))

    @property
    def left(self) -> int:
        """How many runs are left."""
        return sum(kind.left for kind in self.kinds.values())

    @property
    def unknown(self) -> int:
        """How many of them have an unknown cost."""
        return sum(kind.left for kind in self.kinds.values() if kind.seconds is None)


def make_plan(
    study: Study,
    left: Mapping[str, float],
    engine: Engine,
    measure: bool = True,
    stacks: Stacks = ALONE,
) -> Plan:
    """Count the runs of each configuration and those left; with `measure`, estimate their cost.

    The estimate builds each model on this machine and trains it briefly. left: by run, the fraction of its
    training that is left. stacks: how many are trained at once.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for name, run in study.runs.items():
        members[kind_of(name, run)].append(name)
    costs = Costs(engine.threads) if measure else None
    at_once = stacks.shares(left, engine.workers)
    kinds = {
        kind: _costed(
            Kind(
                kind,
                runs=len(names),
                left=sum(name in left for name in names),
                work=sum(left.get(name, 0.0) for name in names),
                steps=study.runs[names[0]].num_steps,
                operations=None,
                seconds=None,
                reason="",
                at_once=max((at_once.get(name, 1) for name in names), default=1),
            ),
            study.runs[names[0]],
            costs,
        )
        for kind, names in members.items()
    }
    operations = {
        name: kinds[kind].operations for kind, names in members.items() for name in names if name in left
    }
    counted = {name: count for name, count in operations.items() if count}
    return Plan(kinds, engine.workers, engine.at_full_speed, counted, measure, stacks.notes)


def _costed(kind: Kind, run: Run, costs: Costs | None) -> Kind:
    """Add what a run costs, if that is to be measured."""
    if costs is None:
        return kind
    try:
        operations = costs.work(run)
        seconds = operations / costs.speed(run, kind.at_once) if kind.left else None
    except (UserError, RuntimeError) as error:  # the run may fail for this reason, the study must not
        return replace(kind, reason=str(UserError(str(error))))
    limit = run.max_seconds or math.inf
    return replace(kind, operations=operations, seconds=None if seconds is None else min(seconds, limit))
