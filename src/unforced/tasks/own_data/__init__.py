"""Prompts and answers of one's own: formats of files, splits, symbols, and the task that reads them."""

from unforced.tasks.own_data.given import GivenData
from unforced.tasks.own_data.task import OwnData

__all__ = ["GivenData", "OwnData"]
