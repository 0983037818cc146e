"""Sudoku: grids and their solver, puzzles and their symmetric variants, files of puzzles, and the task."""

from unforced.tasks.sudoku.task import Sudoku

__all__ = ["Sudoku"]
