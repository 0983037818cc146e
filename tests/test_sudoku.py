"""Sudoku: solver, puzzles, symmetries, verdicts and the file, checked by hand or by another route."""

import re

import numpy as np
import pytest

from unforced.errors import ConfigError, UserError
from unforced.parts import read, tree
from unforced.recipes import resolve
from unforced.tasks.sampling import SPLITS, problems
from unforced.tasks.sudoku import Sudoku
from unforced.tasks.sudoku.bases import solved
from unforced.tasks.sudoku.grid import BOXES, grid_of, solve
from unforced.tasks.sudoku.symmetry import family, varied

PROMPT = ". . 3 . 3 4 . . . . . 3 1 . . . ="
WIKIPEDIA = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
ITS_SOLUTION = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
HARD = "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4.."


def board(text):
    return np.array([[0 if sign == "." else int(sign) for sign in text]], dtype=np.int8)


def count_by_trying(cells, size):
    """Count the solutions of a board, cell by cell, by the rules as they are worded."""
    high, wide = BOXES[size]
    if 0 not in cells:
        return 1
    at = cells.index(0)
    row, column = divmod(at, size)
    seen = set()
    for other, digit in enumerate(cells):
        r, c = divmod(other, size)
        if r == row or c == column or (r // high, c // wide) == (row // high, column // wide):
            seen.add(digit)
    tried = ([*cells[:at], digit, *cells[at + 1 :]] for digit in set(range(1, size + 1)) - seen)
    return sum(count_by_trying(each, size) for each in tried)


def test_the_solver_finds_all_288_grids_of_four_and_the_published_solution_of_nine():
    empty = np.full((1, 16), 15, dtype=np.uint16)
    assert solve(empty, grid_of(4), most=1000)[0].tolist() == [288]
    grid = grid_of(9)
    for text in (WIKIPEDIA, HARD):
        counts, found = solve(grid.options(board(text)), grid, most=2)
        assert counts.tolist() == [1]
        assert not grid.repeated(grid.boards(found)).any()
        assert ((board(text) == 0) | (board(text) == grid.boards(found))).all()
        assert text == HARD or "".join(map(str, grid.boards(found)[0])) == ITS_SOLUTION
    assert solve(grid.options(board(WIKIPEDIA.replace("53", "5.", 1).replace("7", "."))), grid, 2)[0][0] == 2
    assert solve(grid.options(board("55" + WIKIPEDIA[2:])), grid)[0].tolist() == [0]


@pytest.mark.parametrize("size", BOXES)
def test_puzzles_have_one_solution_and_the_givens_that_were_asked_for(size):
    task = Sudoku(size=size, bases=60, fewest_givens=size**2 // 3 + 1, most_givens=size**2 // 2)
    some, grid = task.sample(np.random.default_rng(0), 100), task.grid
    assert not grid.repeated(some.solutions).any()
    assert some.solutions.min() == 1
    assert ((some.givens == 0) | (some.givens == some.solutions)).all()
    assert (solve(grid.options(some.givens), grid, most=2)[0] == 1).all()
    assert set((some.givens > 0).sum(axis=1)) <= set(range(size**2 // 3 + 1, size**2 // 2 + 1))
    if size < 9:
        assert [count_by_trying(each, size) for each in some.givens[:10].tolist()] == [1] * 10


@pytest.mark.parametrize("size", BOXES)
def test_variants_of_a_puzzle_are_sudokus_of_its_family_and_others_are_not(size):
    grid, rng = grid_of(size), np.random.default_rng(0)
    one = solved(rng, 1, grid).repeat(300, axis=0)
    holes = np.where(rng.random((1, grid.cells)) < 0.5, one, 0).astype(np.int8)
    puzzle, solution = varied(rng, (holes, one), grid)
    assert not grid.repeated(solution).any()
    assert np.array_equal(puzzle > 0, (puzzle == solution) & (puzzle > 0))
    assert len(np.unique(family(puzzle, grid))) == 1
    assert len(np.unique(puzzle, axis=0)) > 200
    fewer = holes[:1].copy()
    fewer[0, np.flatnonzero(fewer[0])[0]] = 0
    assert family(fewer, grid) != family(puzzle[:1], grid)


def test_all_variants_of_a_grid_of_four_are_reached():
    grid, rng = grid_of(4), np.random.default_rng(0)
    made = [np.unique(varied(rng, (one, one), grid)[1], axis=0) for one in _two_kinds(grid)]
    assert sorted(len(each) for each in made) == [96, 192]  # the two classes of the 288 grids


def _two_kinds(grid):
    texts = ("1234341221434321", "1234341223414123")
    return [np.repeat(board(text), 4000, axis=0) for text in texts]


def test_splits_share_no_puzzle_in_any_variant():
    task = Sudoku(size=6, bases=100)
    families = [set(task.families(problems(task, 0, split, 0, 2000)).tolist()) for split in SPLITS]
    assert sum(map(len, families)) == len(set.union(*families)) == 100


def test_a_prompt_by_hand():
    task = Sudoku()
    some = task.read_prompts([PROMPT])
    assert task.text.prompts(some) == [PROMPT]
    assert task.prompts(some)[0, :6].tolist() == [4, 4, 2, 4, 2, 3]
    assert task.text.answers(task.answers(some)) == ["2 1 3 4 3 4 2 1 4 2 1 3 1 3 4 2"]
    assert task.draw(some, 0) == [
        ". . | 3 .    2 1 | 3 4",
        "3 4 | . .    3 4 | 2 1",
        "----+----    ----+----",
        ". . | . 3    4 2 | 1 3",
        "1 . | . .    1 3 | 4 2",
    ]


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({}, "correct"),
        ({0: 1, 1: 2}, "column_conflict"),
        ({0: 1}, "row_conflict"),
        ({2: 4, 3: 3}, "breaks_given"),
        ({0: 0}, "malformed"),
        ({0: 5}, "malformed"),
    ],
)
def test_the_kind_of_a_hand_made_error(changed, kind):
    task = Sudoku()
    some = task.read_prompts([PROMPT])
    answer = task.answers(some)
    for cell, digit in changed.items():
        answer[0, cell] = digit - 1
    verdicts = task.score(some, answer)
    assert {name for name, number in verdicts.counts().items() if number} == {kind}
    assert verdicts.slices["empty"].tolist() == [11]


def test_a_latin_square_that_is_no_sudoku_has_a_box_conflict():
    task = Sudoku()
    some = task.read_prompts([PROMPT])
    blank = type(some)(np.zeros_like(some.givens), some.solutions, some.family)
    latin = board("1234234134124123").astype(np.int64) - 1
    assert task.score(blank, latin).counts()["box_conflict"] == 1


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        (PROMPT.replace("3 4 .", "3 3 .", 1), "it has no solution"),
        (PROMPT.replace("1", ".", 1), "it has several solutions"),
        (PROMPT.replace("1", "5", 1), "'5' is neither a digit 1 to 4 nor a dot"),
        (PROMPT[2:], "give 16 cells and the sign ="),
    ],
)
def test_a_prompt_that_is_no_puzzle_is_one_line(prompt, reason):
    with pytest.raises(UserError, match=re.escape(reason) + "$"):
        Sudoku().read_prompts([prompt])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"fewest_givens": 3}, "fewest_givens: a 4x4 grid takes 4 to 15, not 3"),
        ({"size": 9, "most_givens": 20}, r"most_givens: give 27 \(fewest_givens\) to 80, .* not 20"),
        ({"file": "a.csv", "most_givens": 9}, "file: its puzzles have the givens that they have"),
    ],
)
def test_givens_that_do_not_fit_are_one_line(fields, reason):
    with pytest.raises(ConfigError, match=reason):
        read(Sudoku, fields)


class TestFile:
    HEADER = "source,question,answer,rating\n"
    ROW = f"wikipedia,{WIKIPEDIA},{ITS_SOLUTION},0\n"

    def write(self, folder, text):
        (folder / "some.csv").write_text(text)
        return Sudoku(size=9, file=str(folder / "some.csv"), augmentation="none")

    def test_puzzles_are_those_of_the_file(self, tmp_path):
        turned = [text[::-1] for text in (WIKIPEDIA.replace(".", "0"), ITS_SOLUTION)]
        task = self.write(tmp_path, f"{self.HEADER}{self.ROW}a,{turned[0]},{turned[1]},3\n")
        some = task.sample(np.random.default_rng(0), 50)
        texts = {"".join(prompt.split()).rstrip("=") for prompt in task.text.prompts(some)}
        assert texts == {WIKIPEDIA, WIKIPEDIA[::-1]}
        assert task.score(some, task.answers(some)).exact.all()
        assert len(set(task.families(some))) == 1  # turned round, it is the same puzzle
        variants = task.model_copy(update={"augmentation": "symmetries"}).sample(np.random.default_rng(0), 50)
        assert len(np.unique(variants.givens, axis=0)) > 40

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("question,solution\n", "no column 'answer'; its columns are question, solution"),
            (HEADER, "no puzzles in it"),
            (
                f"{HEADER}a,123,{ITS_SOLUTION},0\n",
                r":2: the question has 3 cells, .* 81 \(size=9\)",
            ),
            (
                f"{HEADER}{ROW}a,{WIKIPEDIA[:-1]}x,{ITS_SOLUTION},0\n",
                ":3: 'x' in the question; .* empty",
            ),
            (f"{HEADER}a,{WIKIPEDIA},{ITS_SOLUTION[1:]}9,0\n", ":2: the answer has a digit twice"),
            (f"{HEADER}a,{WIKIPEDIA[::-1]},{ITS_SOLUTION},0\n", ":2: the answer changes a given"),
            (f"{HEADER}a,{'.' * 81},{ITS_SOLUTION},0\n", ":2: the question has more than one solution"),
        ],
    )
    def test_a_file_of_something_else_is_one_line(self, tmp_path, text, reason):
        with pytest.raises(UserError, match=f"some.csv.*{reason}"):
            self.write(tmp_path, text).sample(np.random.default_rng(0), 1)

    def test_a_file_that_was_changed_is_refused(self, tmp_path):
        task = self.write(tmp_path, self.HEADER + self.ROW)
        recorded = read(Sudoku, tree(task), recorded=True)
        assert len(recorded.sample(np.random.default_rng(0), 3)) == 3
        self.write(tmp_path, self.HEADER + self.ROW + self.ROW)
        with pytest.raises(UserError, match=r"some\.csv: it has changed since it was named"):
            recorded.sample(np.random.default_rng(0), 3)

    def test_puzzles_as_they_are_make_a_list_for_each_split(self, tmp_path):
        task = Sudoku(size=6, bases=40, augmentation="none")
        lists = [task.listed(split) for split in SPLITS]
        assert sum(map(len, lists)) == 40
        first = problems(task, 0, "test", 0, 2 * len(lists[2]))
        assert sorted(task.keys(first)) == sorted([*task.keys(lists[2])] * 2)
        with pytest.raises(UserError, match="of its 1 puzzles none falls to the"):
            [self.write(tmp_path, self.HEADER + self.ROW).listed(split) for split in SPLITS]

    def test_a_file_that_is_not_there_is_one_line(self, tmp_path):
        with pytest.raises(UserError, match=r"task.file: .*none.csv is not a file"):
            resolve("quickstart.next_token", ["task=sudoku", f"task.file={tmp_path / 'none.csv'}"])
