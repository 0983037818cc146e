"""The leaderboard of a track, as Markdown: a row per entry, the least median of seconds first."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.time_to_solve.rows import Row, typed
from benchmarks.time_to_solve.tracks import SEEDS, Entry, Track
from unforced.errors import UserError
from unforced.reporting.markdown import code_cell, plain, table
from unforced.reporting.tables import in_units

HEADER = (
    *("entry", "solved", "seconds", "samples", "FLOPs", "held-out, %"),
    *("settings", "from", "hardware", "date"),
)
NOT_MEASURED = "not measured"
_ENDLESS = "∞"


@dataclass(frozen=True)
class Standing:
    """The runs of an entry, one for each seed. Raises UserError where they differ in more than their seed."""

    entry: str
    rows: Sequence[Row]

    def __post_init__(self) -> None:
        if len({row.settings for row in self.rows}) > 1:
            raise UserError(f"{self.entry}: its seeds have different settings; an entry has the same for all")

    @property
    def rank(self) -> tuple[bool, float, int, float, str]:
        """Sort key: entries without all seeds last, then by the median of seconds."""
        seconds, solved = self.amounts(lambda row: row.seconds), sum(row.solved for row in self.rows)
        return len(self.rows) < len(SEEDS), median(seconds), -solved, min(seconds), self.entry

    def amounts(self, amount: Callable[[Row], float]) -> list[float]:
        """Return what each seed spent until it was solved: without end where it was not."""
        return [amount(row) if row.solved else math.inf for row in self.rows]

    def cells(self, source: str) -> list[str]:
        """Return the entry's row. source: where its settings are from."""
        solved = f"{sum(row.solved for row in self.rows)} of {len(self.rows)}"
        diverged = sum(row.outcome == "diverged" for row in self.rows)
        dates, hardware = (sorted({get(row) for row in self.rows}) for get in (_date, _hardware))
        return [
            plain(self.entry),
            f"{solved}, {diverged} diverged" if diverged else solved,
            _spread(self.amounts(lambda row: row.seconds), lambda value: f"{value:,.1f}"),
            _spread(self.amounts(lambda row: row.samples), lambda value: f"{value:,.0f}"),
            _spread(self.amounts(lambda row: row.flops), in_units),
            _spread([100 * row.held_out for row in self.rows], lambda value: f"{value:.1f}"),
            _code(self.rows[0].settings),
            plain(source),
            plain("; ".join(hardware)),
            dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}",
        ]


def standings(rows: Sequence[Row]) -> list[Standing]:
    """Return the entries in their order, the best first. Raises UserError."""
    by_entry: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_entry[row.entry].append(row)
    found = [Standing(entry, sorted(each, key=lambda row: row.seed)) for entry, each in by_entry.items()]
    return sorted(found, key=lambda standing: standing.rank)


def leaderboard(track: Track, rows: Sequence[Row]) -> str:
    """Write the table of a track; its entries without a run stand last. Raises UserError."""
    measured = standings(rows)
    sources = {(entry.name, typed(track, entry)): entry.source for entry in track.entries}
    ranked = [each.cells(sources.get((each.entry, each.rows[0].settings), "")) for each in measured]
    names = {standing.entry for standing in measured}
    missing = [_unmeasured(track, entry) for entry in track.entries if entry.name not in names]
    return table(HEADER, [*ranked, *missing])


def _unmeasured(track: Track, entry: Entry) -> list[str]:
    settings = _code(typed(track, entry))
    return [plain(entry.name), NOT_MEASURED, *[""] * 4, settings, plain(entry.source), "", ""]


def _code(text: str) -> str:
    return code_cell(text) if text else ""


def with_table(page: str, track: Track, text: str) -> str:
    """Put a track's table into a page, between the comments that name the track. Raises UserError."""
    begin, end = f"<!-- {track.name} -->\n", f"<!-- end of {track.name} -->\n"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise UserError(f"the page has no place for {track.name}: {begin.strip()} ... {end.strip()}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def _spread(values: Sequence[float], shown: Callable[[float], str]) -> str:
    """Write `median (least–most)`, or the one value."""
    numbers = median(values), min(values), max(values)
    middle, low, high = (_ENDLESS if math.isinf(number) else shown(number) for number in numbers)
    return middle if low == high else f"{middle} ({low}–{high})"


def _date(row: Row) -> str:
    return row.date


def _hardware(row: Row) -> str:
    return f"{row.hardware}, PyTorch {row.torch.partition('+')[0]}"
