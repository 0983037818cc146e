"""The problems of a task, one by one or as many as are asked for: texts and symbols."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, overload

from unforced.config import Run
from unforced.data.files import arrow_tables
from unforced.errors import UserError
from unforced.tasks.base import Order, Problems, Task
from unforced.tasks.given import GivenTask, check_part, given_task
from unforced.tasks.problems import END
from unforced.tasks.sampling import block, split_size
from unforced.tasks.sampling import problems as part_of_stream

AnyTask = GivenTask | Run
"""A task, its name, its fields with the name, or a run, whose task it is."""


@dataclass(frozen=True)
class Example:
    """One problem: its prompt and its reference answer, as text and as symbols of the task's alphabet.

    problem: what the task generated, a batch of one, from which the verifier scores answers.
    """

    prompt: str
    answer: str
    prompt_symbols: tuple[int, ...]
    answer_symbols: tuple[int, ...]
    problem: Problems = field(repr=False, compare=False)


@dataclass(frozen=True)
class ProblemStream:
    """Problems of one split, in the order in which runs with this seed see them; it can be iterated again.

    Runs with `goals_per_graph` see other problems between those of the training split.

    count: how many there are; None: there is no end, and only what is asked for is made.
    """

    task: Task
    split: str = "train"
    seed: int = 0
    count: int | None = None
    order: Order = "forward"
    start: int = 0

    def __iter__(self) -> Iterator[Example]:
        size = self.task.block_size
        index, place = divmod(self.start, size)
        left = self.count
        while left is None or left > 0:
            part = block(self.task, self.seed, self.split, index)
            stop = size if left is None else min(size, place + left)
            yield from examples(self.task, part.take(slice(place, stop)), self.order)
            left = None if left is None else left - (stop - place)
            index, place = index + 1, 0

    def __len__(self) -> int:
        if self.count is None:
            raise TypeError("a stream of problems without an end has no length; give count=")
        return self.count

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> "ProblemStream": ...
    def __getitem__(self, index: int | slice) -> "Example | ProblemStream":
        """Return one problem, or the stream of a part of them."""
        if isinstance(index, slice):
            return self._part(index)
        place = index + self.count if index < 0 and self.count is not None else index
        if place < 0 or (self.count is not None and place >= self.count):
            raise IndexError(
                f"problem {index} of {'an endless stream' if self.count is None else self.count}"
            )
        return next(iter(replace(self, start=self.start + place, count=1)))

    def arrays(self) -> Problems:
        """Return all of them at once, as the task generates them. Raises UserError without a count."""
        if self.count is None:
            raise UserError("problems: this stream has no end; give count=")
        if self.count == 0:
            raise UserError("problems: this part of a stream has none")
        return part_of_stream(self.task, self.seed, self.split, self.start, self.count)

    def to_dataset(self) -> Any:
        """Return all of them as a `datasets.Dataset` with the columns of `unforced data export`.

        Raises UserError without a count, or where datasets is not installed.
        """
        try:
            datasets: Any = importlib.import_module("datasets")
        except ImportError:
            raise UserError("to_dataset needs datasets: pip install 'unforced[datasets]'") from None
        drawn, index = self.arrays(), range(self.start, self.start + len(self))
        origin = {"task": self.task.model_dump(mode="json"), "order": self.order}
        tables = arrow_tables(
            self.task, drawn, self.order, origin | {"seed": self.seed, "split": self.split}, index
        )
        return datasets.concatenate_datasets([datasets.Dataset(table) for table in tables])

    def _part(self, index: slice) -> "ProblemStream":
        if (index.step or 1) != 1 or min(index.start or 0, 0 if index.stop is None else index.stop) < 0:
            raise IndexError("a part of a stream is [first:last], counted from its beginning")
        first, stop = index.start or 0, self.count if index.stop is None else index.stop
        if self.count is not None and stop is not None:
            first, stop = min(first, self.count), min(stop, self.count)
        count = None if stop is None else max(0, stop - first)
        return replace(self, start=self.start + first, count=count)


def problems(
    task: AnyTask,
    split: str = "train",
    seed: int = 0,
    count: int | None = None,
    order: Order = "forward",
    **fields: Any,
) -> ProblemStream:
    """Return the problems of a split, to iterate over as often as you like.

    task: a task, its name, or a run. fields: of a task given by name, as in `degree=3`. count: how many
    (None: all of a split that is a list, else without end). order: in which answers are written. Raises
    UserError.
    """
    built = as_task(task, **fields)
    check_part(built, split, seed, order, count)
    return ProblemStream(built, split, seed, split_size(built, split) if count is None else count, order)


def as_task(task: AnyTask, **fields: Any) -> Task:
    """Build a task from what names it. Raises UserError."""
    return given_task(task.task if isinstance(task, Run) else task, **fields)


def examples(task: Task, problems: Problems, order: Order = "forward") -> Iterator[Example]:
    """Write problems out."""
    prompts, answers = task.prompts(problems).tolist(), task.in_order(task.answers(problems), order).tolist()
    for i, (texts, prompt, answer) in enumerate(
        zip(task.texts(problems, order), prompts, answers, strict=True)
    ):
        asked, right = (tuple(symbol for symbol in row if symbol != END) for row in (prompt, answer))
        yield Example(*texts, asked, right, problems.take(slice(i, i + 1)))
