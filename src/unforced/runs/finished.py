"""A finished run, as its folder describes it; of its parts only the task is built, without torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from unforced.decoding.modes import Mode, Shows, Writes, forced_note, trained_mode
from unforced.errors import UserError
from unforced.parts import Tree, read
from unforced.provenance import PARTS, load_parts, read_records
from unforced.registry import SHOWN_NOTHING, TASKS
from unforced.runs.schemas import DIVERGED
from unforced.tasks.base import Task


@dataclass(frozen=True)
class FinishedRun:
    """The contents of a finished run's folder.

    name: its path below the folder that all runs of a report have in common.
    tree, result, environment: config.json, result.json and env.json. lines: of metrics.jsonl.
    diagnosis: diagnosis.json; None if the run was not diagnosed.
    """

    name: str
    path: Path
    tree: Tree
    result: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]
    diagnosis: Mapping[str, Any] | None
    environment: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """The seed of data, weights and order."""
        return int(self.tree["seed"])

    @property
    def model(self) -> str:
        """The model's name."""
        return str(self.tree["model"]["name"])

    @property
    def objective(self) -> str:
        """The objective's name."""
        return str(self.tree["objective"]["name"])

    @cached_property
    def task(self) -> Task | None:
        """The task; None if it is not installed."""
        try:
            records = read_records(self.path / PARTS)
            load_parts(record for record in records if record["kind"] == TASKS.kind)
            family: type[Task] = TASKS.get(self.tree["task"]["name"])
            return read(family, self.tree["task"], recorded=True)
        except UserError:
            return None

    @property
    def topology(self) -> str:
        """The task's topology, as in `G(2,4)`; the name of an unknown task."""
        return self.task.topology if self.task else str(self.tree["task"]["name"])

    @property
    def chance(self) -> float | None:
        """The best exact match without lookahead; None if unknown."""
        return self.result.get("chance")

    @property
    def length(self) -> int:
        """The number of answer positions measured: the length of the longest test answer."""
        prefix = "test.forced.token_"
        positions = [int(key.removeprefix(prefix)) for key in self.result if key.startswith(prefix)]
        return 1 + max(positions, default=-1)

    @property
    def decisive(self) -> tuple[int, ...]:
        """Answer positions that need lookahead; empty if unknown."""
        return tuple(self.task.decisive_positions) if self.task else ()

    @property
    def unique_answer(self) -> bool:
        """Whether a problem has one right answer, as far as is known."""
        try:
            return self.task is None or self.task.unique_answer
        except UserError:  # a file of its problems is gone
            return True

    @property
    def open_ended(self) -> bool:
        """Whether any coherent answer is right: exact match is coherence, which is no success."""
        return "test.free.creative" in self.result

    @property
    def headline(self) -> str:
        """The held-out measure that runs are ranked by."""
        return "test.free.creative" if self.open_ended else "test.free.exact"

    @property
    def shows(self) -> Shows:
        """The part of the answer that training shows as input."""
        default: Shows = "nothing" if self.objective in SHOWN_NOTHING else "prefix"
        return self.result.get("shows", default)

    @property
    def writes(self) -> Writes:
        """How the decoder writes an answer."""
        return self.result.get("writes", "one_pass" if self.shows == "nothing" else "left_to_right")

    @property
    def trained_mode(self) -> Mode:
        """The measurement mode whose inputs are those of training."""
        return trained_mode(self.shows, self.writes)

    @property
    def forced_note(self) -> str:
        """A caveat about teacher-forced accuracies; empty if there is none."""
        return forced_note(self.objective, self.shows)

    @property
    def failure(self) -> str:
        """Why the seed counts as failed, whatever its accuracy; empty if it does not."""
        return DIVERGED if self.result.get("ended_by") == DIVERGED else ""

    @property
    def kernels(self) -> dict[str, str]:
        """The implementations and the autocast dtype that the run used; empty if not recorded."""
        chosen = self.result.get("implementation", self.environment.get("implementation", {}))
        dtype = self.result.get("autocast_dtype", self.environment.get("autocast_dtype"))
        return {**chosen, **({} if dtype is None else {"autocast dtype": str(dtype)})}
