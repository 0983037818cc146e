"""Where a task is from and what was published on it, for the gallery and for whoever compares.

    class Maze(Task):
        sources: ClassVar[tuple[Source, ...]] = (Source("Mazes", "2401.00001", "Sec. 3"),)
        published: ClassVar[tuple[Published, ...]] = table(
            sources[0], "exact, held out", ("9x9", "15x15"), {"next_token": (0.93, 0.41)}
        )
        shown: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"side": 15})

Numbers that were read off a figure, or got in another serialisation than the task's, say so in the source's
`place` or in the setting.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_NUMBER = re.compile(r"\d{4}\.\d{4,5}")


@dataclass(frozen=True)
class Source:
    """A paper, a data set or a repository that defines a task or reports on it. Raises ValueError.

    name: what it is called in a table (NextLat). arxiv: its number. place: section, table or figure; for what
    is not on arXiv, where it is found.
    """

    name: str
    arxiv: str = ""
    place: str = ""

    def __post_init__(self) -> None:
        if self.arxiv and not _NUMBER.fullmatch(self.arxiv):
            raise ValueError(f"arxiv: {self.arxiv!r} is not a number on arXiv, as in 2403.06963")

    def __str__(self) -> str:
        number = f"arXiv {self.arxiv}" if self.arxiv else ""
        return ", ".join(filter(None, (self.name, number, self.place)))


@dataclass(frozen=True)
class Published:
    """A number that a source reports. Raises ValueError.

    setting: which problems, and how many, as far as the source says. method: what was trained, by the name of
    the objective where it is one of ours. measure: as in "exact, held out". value: a share (0.5, not 50).
    """

    setting: str
    method: str
    measure: str
    value: float
    source: Source

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1:
            raise ValueError(f"value: {self.value} is not a share of 1 ({self.method}, {self.setting})")


def table(
    source: Source, measure: str, settings: Sequence[str], values: Mapping[str, Sequence[float | None]]
) -> tuple[Published, ...]:
    """Return the numbers of a source's table: a row per method, a value per setting (None: not reported)."""
    return tuple(
        Published(setting, method, measure, value, source)
        for method, row in values.items()
        for setting, value in zip(settings, row, strict=True)
        if value is not None
    )
