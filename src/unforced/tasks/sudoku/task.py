"""Sudoku: complete a grid so that no digit stands twice in a row, a column or a box.

    prompt  . . 3 . 3 4 . . . . . 3 1 . . . =     answer  2 1 3 4 3 4 2 1 4 2 ...

    . . | 3 .        2 1 | 3 4       size = 4: boxes of 2 by 2 cells, digits 1 to 4. The prompt lists the
    3 4 | . .        3 4 | 2 1       cells row by row, the answer the completed grid, given cells included:
    ----+----        ----+----       so each answer position is a cell. The solution is unique.
    . . | . 3        4 2 | 1 3
    1 . | . .        1 3 | 4 2       Written row by row, a cell often follows only from cells still unwritten.

Problems are made from a finite number of puzzles (`bases`) by symmetries: other digits, other orders of rows
and columns within bands and stacks, and of these, and a transpose where boxes are square.
How much can be done without lookahead is unknown, and so is chance.
Source: arXiv 2410.14157 (9x9 as a task for language models); the file format: Sudoku-Extreme.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, cast

import numpy as np
from jaxtyping import Bool, Int8, UInt64
from pydantic import Field, model_validator

from unforced.errors import UserError
from unforced.tasks.base import Order, Problems, Symbols, Task, Verdicts
from unforced.tasks.capabilities import Pictures, PromptReader, TextFormat
from unforced.tasks.lines import read_prompts
from unforced.tasks.published import Published, Source, table
from unforced.tasks.sampling import hash_rows
from unforced.tasks.sudoku.bases import FEWEST_GIVENS, Bases, made_bases
from unforced.tasks.sudoku.file import bases_of
from unforced.tasks.sudoku.grid import BOXES, Grid, grid_of, solve
from unforced.tasks.sudoku.symmetry import family, varied

KINDS = {
    "correct": "",
    "breaks_given": "a given cell holds another digit",
    "row_conflict": "a digit stands twice in a row",
    "column_conflict": "a digit stands twice in a column, and in no row",
    "box_conflict": "a digit stands twice in a box, and in no row or column",
    "malformed": "it holds what is not a digit",
}
MGDM = Source("MGDM", "2410.14157", "Sec. 4 (Sudoku)")
HRM = Source("Hierarchical reasoning model", "2506.21734", "Sudoku-Extreme")
TRM = Source("Tiny recursive model", "2510.04871", "Sudoku-Extreme")
RESULTS = (
    *table(MGDM, "exact, held out", ["9x9"], {"next_token": (0.207,), "masked (MGDM)": (1.0,)}),
    *(
        Published("9x9, Sudoku-Extreme, 1,000 puzzles and their variants", name, "exact, held out", value, of)
        for name, value, of in (("HRM", 0.55, HRM), ("TRM", 0.874, TRM))
    ),
)


@dataclass(frozen=True)
class SudokuProblems(Problems):
    """Puzzles (0 is an empty cell), their solutions, and a hash that symmetric puzzles share."""

    givens: Int8[np.ndarray, "count cells"]
    solutions: Int8[np.ndarray, "count cells"]
    family: UInt64[np.ndarray, " count"]


class Sudoku(Task):
    """Complete a grid so that no digit stands twice in a row, a column or a box.

    Symbols: the digits 1..size are 0..size-1, then `.` (an empty cell) and `=`. A prompt has size² + 1
    symbols, an answer size²: the whole board. Puzzles are made, or read from a CSV file with the columns
    question and answer (Sudoku-Extreme).

    All symmetric variants of a puzzle fall to one split. Two 9x9 puzzles that are made do not share a
    solution, in practice; but there are only 288 solutions of 4x4, and 49 of 6x6 up to symmetry, so that a
    model can know solutions by heart, though not puzzles.
    """

    verdict_kinds: ClassVar[Mapping[str, str]] = KINDS
    file_fields: ClassVar[Mapping[str, str]] = MappingProxyType({"file": "file_sha256"})
    sources: ClassVar[tuple[Source, ...]] = (MGDM, HRM, TRM)
    published: ClassVar[tuple[Published, ...]] = RESULTS
    shown: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"size": 6}, {"size": 9})

    name: Literal["sudoku"] = "sudoku"
    size: Literal[4, 6, 9] = Field(
        4, description="rows, columns and digits: 4 (boxes of 2 by 2), 6 (2 rows by 3 columns) or 9 (3 by 3)"
    )
    fewest_givens: int | None = Field(
        None, description="given cells, at the least; null: a third of all, rounded up"
    )
    most_givens: int | None = Field(None, description="given cells, at the most; null: half of all")
    bases: int = Field(
        1000, ge=10, le=5_000_000, description="puzzles that problems are made from, or the first of the file"
    )
    augmentation: Literal["symmetries", "none"] = Field(
        "symmetries", description="whether each problem is a random variant of a puzzle, or the puzzle itself"
    )
    file: str | None = Field(
        None, description="CSV file with question and answer, whose puzzles are taken; null: puzzles are made"
    )
    file_sha256: str = Field("", description="of the file; filled in where it is named")

    @model_validator(mode="after")
    def _givens_fit(self) -> "Sudoku":
        least, most = self.givens_bounds
        floor, cells = FEWEST_GIVENS[self.size], self.size**2
        if self.file is not None and (self.fewest_givens, self.most_givens) != (None, None):
            raise ValueError("file: its puzzles have the givens that they have; drop fewest_ and most_givens")
        if not floor <= least < cells:
            raise ValueError(
                f"fewest_givens: a {self.size}x{self.size} grid takes {floor} to {cells - 1}, not {least}"
            )
        if not least <= most < cells:
            raise ValueError(
                f"most_givens: give {least} (fewest_givens) to {cells - 1}, one less than cells, not {most}"
            )
        return self

    @property
    def givens_bounds(self) -> tuple[int, int]:
        """The fewest and the most given cells of puzzles that are made."""
        third, half = -(-self.grid.cells // 3), self.grid.cells // 2
        least = third if self.fewest_givens is None else self.fewest_givens
        return least, max(half, least) if self.most_givens is None else self.most_givens

    @property
    def grid(self) -> Grid:
        """Its rows, columns and boxes."""
        return grid_of(self.size)

    def __str__(self) -> str:
        variants = "" if self.augmentation == "symmetries" else ", no variants"
        return f"{self.topology}, {self.bases} puzzles{variants}"

    @property
    def topology(self) -> str:
        """Size and givens."""
        least, most = self.givens_bounds
        given = "from a file" if self.file else f"{least}-{most} given" if least < most else f"{most} given"
        return f"sudoku {self.size}x{self.size}, {given}"

    @property
    def alphabet(self) -> tuple[str, ...]:
        """Digits, the sign of an empty cell, and the end of a prompt."""
        return (*map(str, range(1, self.size + 1)), ".", "=")

    @property
    def answer_symbols(self) -> int:
        """Digits."""
        return self.size

    @property
    def prompt_length(self) -> int:
        """The cells, and the end."""
        return self.size**2 + 1

    @property
    def answer_length(self) -> int:
        """The cells."""
        return self.size**2

    @property
    def puzzles(self) -> Bases:
        """The puzzles that problems are made from. Raises UserError: the file is not such a file."""
        if self.file is not None:
            return bases_of(self.file, self.file_sha256, self.size, self.bases)
        return made_bases(self.size, *self.givens_bounds, self.bases)

    def check_data(self) -> None:
        """Read the file, if there is one. Raises UserError."""
        if self.file is not None:
            _ = self.puzzles

    def listed(self, split: str) -> SudokuProblems | None:
        """The puzzles that fall to a split, where they are taken as they are. Raises UserError: none does."""
        if self.augmentation == "symmetries":
            return None
        puzzles = self.puzzles
        every = SudokuProblems(puzzles.givens, puzzles.solutions, puzzles.families)
        owned = every.take(self.owners(every) == list(self.splits).index(split))
        if not len(owned):
            raise UserError(f"task: of its {len(every)} puzzles none falls to the {split} split; give more")
        return owned

    def sample(self, rng: np.random.Generator, count: int) -> SudokuProblems:
        """Draw puzzles uniformly, and a symmetry for each."""
        puzzles = self.puzzles
        chosen = rng.integers(0, len(puzzles.givens), size=count)
        boards = puzzles.givens[chosen], puzzles.solutions[chosen]
        if self.augmentation == "symmetries":
            boards = varied(rng, boards, self.grid)
        return SudokuProblems(*boards, puzzles.families[chosen])

    def keys(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash the puzzle as it stands."""
        return hash_rows(cast(SudokuProblems, problems).givens)

    def families(self, problems: Problems) -> UInt64[np.ndarray, " count"]:
        """Hash what all symmetric variants of the puzzle share."""
        return cast(SudokuProblems, problems).family

    def prompts(self, problems: Problems) -> Symbols:
        """Write the cells row by row, and the end."""
        givens = cast(SudokuProblems, problems).givens.astype(np.int64)
        cells = np.where(givens > 0, givens - 1, self.size)
        return np.pad(cells, [(0, 0), (0, 1)], constant_values=self.size + 1)

    def answers(self, problems: Problems) -> Symbols:
        """Write the solution row by row."""
        return cast(SudokuProblems, problems).solutions.astype(np.int64) - 1

    def score(self, problems: Problems, answers: Symbols) -> Verdicts:
        """Check each board against the rules, and name the first that it breaks; sliced by empty cells."""
        givens = cast(SudokuProblems, problems).givens
        digits: Bool[np.ndarray, " count"] = np.all((answers >= 0) & (answers < self.size), axis=1)
        boards = np.where(digits[:, None], answers + 1, 0).astype(np.int8)
        repeated = np.split(self.grid.repeated(boards), 3, axis=1)
        conflicts = [marks.any(axis=1) for marks in repeated]
        changed = ((givens > 0) & (boards != givens)).any(axis=1)
        names = ("malformed", "breaks_given", "row_conflict", "column_conflict", "box_conflict")
        kinds = [list(KINDS).index(name) for name in names]
        kind = np.select([~digits, changed, *conflicts], kinds, default=0)
        return Verdicts(tuple(KINDS), kind, {"empty": (givens == 0).sum(axis=1)})

    @property
    def text(self) -> TextFormat:
        """Symbols with spaces between them."""
        return self.text_format(" ", self.spaced, self._words, prompt_reader=PromptReader(self.read_prompts))

    def read_prompts(self, prompts: Sequence[str]) -> SudokuProblems:
        """Read `. . 3 . ... =`, and solve it. Raises UserError: it has no solution, or several."""
        givens = np.array(read_prompts(prompts, f"a prompt of {self}", self._parse), dtype=np.int8)
        _, solutions = solve(self.grid.options(givens), self.grid)
        return SudokuProblems(givens, self.grid.boards(solutions), family(givens, self.grid))

    def _parse(self, prompt: str) -> list[int]:
        signs, known = prompt.split(), {text: number for number, text in enumerate(self.alphabet[:-1])}
        if strange := [sign for sign in signs[:-1] if sign not in known]:
            raise ValueError(f"{strange[0]!r} is neither a digit 1 to {self.size} nor a dot")
        if len(signs) != self.prompt_length or signs[-1] != "=":
            raise ValueError(f"give {self.answer_length} cells and the sign =")
        cells = [(known[sign] + 1) % (self.size + 1) for sign in signs[:-1]]
        counts, _ = solve(self.grid.options(np.array([cells], dtype=np.int8)), self.grid, most=2)
        if counts[0] != 1:
            raise ValueError(f"it has {'several solutions' if counts[0] else 'no solution'}")
        return cells

    @property
    def pictures(self) -> Pictures:
        """The puzzle beside its solution."""
        return Pictures(lambda problems, index: {}, self._draw)

    def _draw(self, problems: Problems, index: int) -> list[str]:
        one = cast(SudokuProblems, problems)
        pairs = zip(self._rows(one.givens[index]), self._rows(one.solutions[index]), strict=True)
        return [f"{left}    {right}" for left, right in pairs]

    def _rows(self, board: Int8[np.ndarray, " cells"]) -> list[str]:
        high, wide = BOXES[self.size]
        rows = []
        for row in board.reshape(self.size, -1, wide).tolist():
            boxes = [" ".join(str(digit) if digit else "." for digit in part) for part in row]
            rows.append(" | ".join(boxes))
        line = "".join("+" if sign == "|" else "-" for sign in rows[0])
        return [each for start in range(0, self.size, high) for each in (*rows[start : start + high], line)][
            :-1
        ]

    def _words(self, order: Order) -> str:
        high, wide = BOXES[self.size]
        backwards = "" if order == "forward" else " backwards, the last cell first"
        return (
            f"Each line is a sudoku of {self.size} rows and {self.size} columns, its cells listed row by row "
            "with a space between them; the sign . is an empty cell, and after the sign = comes the answer: "
            f"all cells of the completed grid, row by row{backwards}, with a space between them. Every row, "
            f"every column and every box of {high} rows by {wide} columns holds each of the digits 1 to "
            f"{self.size} once. Write the answer and nothing else."
        )
