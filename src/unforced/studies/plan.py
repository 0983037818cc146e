"""The plan of a study: what is left to do of each kind of run, and what that will cost at the most."""

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
    """Runs of a study that differ in their seed alone: `left` of them to do, `work` trainings altogether.

    steps, operations (floating-point) and seconds are those of one run that trains to its last step, alone on
    its share of this machine; evaluation is left out. None: unknown, see `reason`.
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
    """The kinds of runs, and the operations of each run that is left, where they are known.

    workers: how many runs go at once; at_full_speed: how many of them have a share of their own; measured:
    whether costs were asked for.
    """

    kinds: Mapping[str, Kind]
    workers: int
    at_full_speed: int
    operations: Mapping[str, float]
    measured: bool

    @property
    def seconds(self) -> float:
        """Time until all that is left, and not unknown, is trained to its last step."""
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
    """Count the runs of each kind and those that are left; if asked to `measure`, estimate their cost, too.

    That builds each model here, and trains it for a moment. left: by run, the share of its training that is
    to do.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for name, run in study.runs.items():
        members[kind_of(name, run)].append(name)
    costs = Costs(engine.threads) if measure else None
    kinds = {kind: _kind(kind, names, study.runs[names[0]], left, costs) for kind, names in members.items()}
    operations = {
        name: kinds[kind].operations for kind, names in members.items() for name in names if name in left
    }
    known = {name: count for name, count in operations.items() if count}
    return Plan(kinds, engine.workers, engine.at_full_speed, known, measure)


def _kind(name: str, names: list[str], run: Run, left: Mapping[str, float], costs: Costs | None) -> Kind:
    remaining = sum(each in left for each in names)
    work = sum(left.get(each, 0.0) for each in names)
    if costs is None:
        return Kind(name, len(names), remaining, work, run.num_steps, None, None, "")
    try:
        operations = costs.work(run)
        seconds = operations / costs.speed(run) if remaining else None
    except (UserError, RuntimeError) as error:  # the run itself may fail for it, but not the study
        return Kind(name, len(names), remaining, work, run.num_steps, None, None, str(UserError(str(error))))
    return Kind(name, len(names), remaining, work, run.num_steps, operations, seconds, "")
