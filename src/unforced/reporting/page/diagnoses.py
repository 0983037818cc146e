"""Diagnoses side by side, as pages show them: verdicts, what they rest on, numbers, charts by position."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unforced.errors import UserError
from unforced.evaluation.glossary import SECTIONS, definition
from unforced.reporting.diagnosis import label, rows_of
from unforced.reporting.page.position_chart import PositionChart, position_chart

Columns = Mapping[str, Mapping[str, str]]
"""By section: its numbers in words, by their paths."""


@dataclass(frozen=True)
class Diagnosed:
    """A diagnosis as a column of tables.

    name: of the model or run; label: what else is said of it; forced_note: a caveat about teacher-forced
    numbers, or empty. chart: by position; None where nothing was measured so.
    """

    name: str
    label: str
    forced_note: str
    diagnosis: Mapping[str, Any]
    sections: Columns
    chart: PositionChart | None

    @classmethod
    def of(
        cls, diagnosis: Mapping[str, Any], name: str, label: str = "", forced_note: str = ""
    ) -> "Diagnosed":
        """Put a diagnosis into words. Raises UserError if one of its sections is damaged."""
        section = ""
        try:
            sections = {}
            for section in SECTIONS:
                if section in diagnosis:
                    sections[section] = dict(rows_of(section, diagnosis[section]))
            return cls(name, label, forced_note, diagnosis, sections, position_chart(diagnosis))
        except (TypeError, ValueError, KeyError, AttributeError):
            raise UserError(f"its section {section!r} is damaged; diagnose it again") from None

    @property
    def settle(self) -> str:
        """What would settle an open verdict; empty if nothing is open."""
        return str(self.diagnosis["verdict"].get("settle", ""))

    @property
    def problems(self) -> str:
        """How many problems it rests on, and the confidence of its intervals; empty if not recorded."""
        counts, confidence = self.diagnosis.get("problems"), self.diagnosis.get("confidence")
        if not counts or not confidence:
            return ""
        known = f", {counts['train']:,} training" if counts["train"] else ""
        return f"{counts['test']:,} held-out{known}; intervals at {100 * confidence:g}%"

    @property
    def decoder(self) -> str:
        """The decoder, and the settings that are not off."""
        settings = dict(self.diagnosis.get("decoder", {}))
        name = str(settings.pop("name", ""))
        return " ".join([name, *(f"{key}={value}" for key, value in settings.items() if value)])


@dataclass(frozen=True)
class Row:
    """A measure, what it means, and its value in each column; empty where a diagnosis does not have it."""

    label: str
    meaning: str
    values: tuple[str, ...]

    @property
    def is_silent(self) -> bool:
        """Whether it applies to none of the columns."""
        return all(value.startswith("does not apply") or not value for value in self.values)


@dataclass(frozen=True)
class Section:
    """A section of diagnoses, with a row per measure; is_by_position: whether charts belong to it."""

    title: str
    rows: Sequence[Row]
    is_by_position: bool


@dataclass(frozen=True)
class SideBySide:
    """Columns, the sections that say something of any of them, and the titles of those that say nothing."""

    columns: Sequence[Diagnosed]
    sections: Sequence[Section]
    silent: Sequence[str]


def side_by_side(columns: Sequence[Diagnosed]) -> SideBySide:
    """Put the same measures of several diagnoses into a row each, by section."""
    sections = [
        Section(title, [*_rows(section, columns)], section == "positions")
        for section, title in SECTIONS.items()
        if any(section in column.sections for column in columns)
    ]
    silent = [section.title for section in sections if all(row.is_silent for row in section.rows)]
    return SideBySide(columns, [each for each in sections if each.title not in silent], silent)


def _rows(section: str, columns: Sequence[Diagnosed]) -> Iterator[Row]:
    """Yield the rows of a section, in the order in which they first come."""
    found = [column.sections.get(section, {}) for column in columns]
    for path in dict.fromkeys(path for values in found for path in values):
        yield Row(label(section, path), definition(path), tuple(values.get(path, "") for values in found))
