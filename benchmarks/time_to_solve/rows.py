"""Runs of a track as rows: what each spent until it was solved, from run folders or a table in results/."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.time_to_solve.tracks import Entry, Track
from unforced.config import Run, flatten
from unforced.errors import UserError
from unforced.evaluation.outcomes import Outcome
from unforced.evaluation.spending import Axis, spent
from unforced.parts import tree
from unforced.runs.finished import FinishedRun
from unforced.runs.folder import RunFolder
from unforced.study import kind_of


@dataclass(frozen=True)
class Row:
    """A run: what it spent until the first of two evaluations in a row that were solved, or else in all.

    settings: overrides of the track's run. outcome: solved, not solved or diverged. held_out: the share of
    test problems that it answers at its end. date: of its result, in UTC. curve: right answers to validation
    problems at each evaluation, from before the first step on.
    """

    entry: str
    seed: int
    settings: str
    outcome: str
    steps: int
    seconds: float
    samples: int
    flops: float
    held_out: float
    parameters: int
    hardware: str
    torch: str
    date: str
    curve: str

    @property
    def solved(self) -> bool:
        """Whether it was solved within the track's limit."""
        return self.outcome == "solved"


def row_of(finished: FinishedRun, track: Track) -> Row:
    """Read a finished run of a track. Raises UserError if it breaks a rule, or lacks a measure."""
    run = RunFolder(finished.path).run()
    try:
        track.check(run)
        track.check_result(finished.result)
    except UserError as error:
        raise UserError(f"{finished.path}: {error}") from None
    outcome = Outcome.of(finished, "free.exact")
    axes: tuple[Axis, ...] = ("seconds", "samples", "flops")
    seconds, samples, flops = (spent(finished, axis, outcome.steps) for axis in axes)
    if seconds is None or samples is None or flops is None:
        raise UserError(f"{finished.path}: it does not record its seconds and operations; train it anew")
    hardware = finished.result["hardware"]
    return Row(
        entry=kind_of(finished.path.resolve().name, run),
        seed=run.seed,
        settings=" ".join(settings(track, run)),
        outcome=outcome.failure or ("solved" if outcome.solved_on_the_way else "not solved"),
        steps=outcome.steps,
        seconds=round(seconds, 2),
        samples=int(samples),
        flops=float(flops),
        held_out=outcome.accuracy,
        parameters=finished.result["parameters"],
        hardware=hardware["device"] if track.on_gpu else f"{hardware['processor']}, one thread a run",
        torch=finished.environment.get("packages", {}).get("torch", ""),
        date=_date(finished.path / "result.json"),
        curve=" ".join(str(line["validation.free.exact"]["correct"]) for line in finished.lines),
    )


def settings(track: Track, run: Run) -> list[str]:
    """Return the overrides that turn a track's run into this one, as they are typed."""
    whole, changed = flatten(run.tree()), flatten(tree(run, changed=True))
    names = {f"{part}.name" for part in run.part_keys}
    different = track.changes(run)
    replaced = {key.partition(".")[0] for key in different if key in names}
    typed = [
        key for key in different if key in changed or (key in whole and key.partition(".")[0] not in replaced)
    ]
    first_names = sorted(typed, key=lambda key: key.count(".") - 2 * key.endswith(".name"))
    return [f"{key.removesuffix('.name')}={_as_text(whole[key])}" for key in first_names]


def typed(track: Track, entry: Entry) -> str:
    """Return the settings of an entry as its rows have them."""
    return " ".join(settings(track, track.base.override(entry.settings)))


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _date(file: Path) -> str:
    return datetime.fromtimestamp(file.stat().st_mtime, UTC).date().isoformat()


def read_rows(file: Path) -> list[Row]:
    """Read the rows of a table in results/; none where there is no such file."""
    if not file.exists():
        return []
    kinds: dict[str, Any] = {field.name: field.type for field in fields(Row)}
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [Row(**{key: kinds[key](value) for key, value in row.items()}) for row in rows]


def table_of(rows: Iterable[Row]) -> str:
    """Write rows as a table that `read_rows` reads."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in sorted(rows, key=lambda row: (row.entry, row.seed)))
    return text.getvalue()


def merged(known: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """Return all rows, where entries that are new replace those of the same name."""
    named = {row.entry for row in new}
    return [*(row for row in known if row.entry not in named), *new]
