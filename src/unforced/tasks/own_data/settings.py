"""The settings of own data: where they are, what is in which column, and what is decided about their rows."""

from abc import ABC
from types import MappingProxyType
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from unforced.tasks.base import Task
from unforced.tasks.own_data.splits import Normalise

SPLIT = "split"
"""The column of split names that need not be there."""


class DataFile(NamedTuple):
    """A file or folder of data.

    name: of the field or option that it is given as. split: of all its rows; None: rows or a hash decide.
    """

    path: str
    name: str
    split: str | None


class OwnSettings(Task, ABC):
    """Every field of `own_data`."""

    file_fields = MappingProxyType(
        {"path": "sha256", "test_path": "test_sha256", "tokenizer": "tokenizer_sha256"}
    )
    path_fields = ("tokenizer",)

    path: str = Field(
        "", description="a .jsonl, .csv, .tsv or .parquet file, or a folder that datasets saved"
    )
    sha256: str = Field("", description="SHA-256 of the data; filled in where path is given")
    test_path: str = Field("", description="a second file or folder, all of which is the test split")
    test_sha256: str = Field("", description="SHA-256 of test_path; filled in where that is given")
    prompt_column: str = Field("prompt", description="column of prompts")
    answer_column: str = Field("answer", description="column of right answers, or of lists of them")
    split_column: str | None = Field(
        SPLIT,
        description="column of split names; null, or if there is none named split: by hash of the prompt",
    )
    held_out: float = Field(
        0.1, gt=0, lt=0.5, description="share of prompts by hash in validation, and in test, if not named"
    )
    normalise: Normalise = Field(
        "whitespace",
        description="what does not count in comparing answers: nothing, blanks, also case, also punctuation",
    )
    separator: str = Field("\n", description="text between prompt and answer; may be empty")
    tokenizer: str | None = Field(
        None, description="folder or name of the tokenizer whose tokens are the symbols (null: characters)"
    )
    tokenizer_sha256: str = Field(
        "", description="SHA-256 of the tokenizer's files; filled in where tokenizer is a folder"
    )
    conflicts: Literal["refuse", "accept", "first"] = Field(
        "refuse", description="prompts with two answers: refuse, accept all as right, or keep the first"
    )
    overlaps: Literal["refuse", "drop"] = Field(
        "refuse", description="prompts in two splits: refuse, or leave them to the training split"
    )
    unseen: Literal["refuse", "drop", "keep"] = Field(
        "refuse",
        description="held-out problems with symbols that training never shows, where each is new to the "
        "model: refuse, drop the problems, or keep them",
    )

    @model_validator(mode="after")
    def _check_columns(self) -> "OwnSettings":
        if self.prompt_column == self.answer_column:
            raise ValueError(
                f"answer_column: {self.answer_column!r} is the column of prompts, too; name another one"
            )
        return self

    @property
    def files(self) -> list[DataFile]:
        """Where the data are."""
        tests = [DataFile(self.test_path, "task.test_path", "test")] if self.test_path else []
        return [DataFile(self.path, "task.path", None), *tests]
