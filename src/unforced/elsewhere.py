"""Models that were trained elsewhere: the problems that they are asked, and the diagnosis of a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unforced.config import build_task
from unforced.data.files import lines_of, read_problems, task_of
from unforced.errors import UserError
from unforced.evaluation.diagnosis import check_enough
from unforced.evaluation.elsewhere import NAME, Elsewhere, Given
from unforced.evaluation.statistics import problems_needed
from unforced.evaluation.verdict import MARGIN
from unforced.models.trained import load_trained
from unforced.parts import tree
from unforced.registry import TASKS
from unforced.tasks.base import Order, Task
from unforced.tasks.own_data import OwnData
from unforced.tasks.sampling import problems, split_size
from unforced.training.memory import oom_as_user_error
from unforced.training.processes import find_device

_OWN: str = OwnData.model_fields["name"].default


def diagnose_model(
    name_or_path: str,
    setting: Elsewhere,
    train: Given | None,
    held_out: Given,
    confidence: float,
    reads_text: bool = True,
) -> dict[str, Any]:
    """Diagnose a folder or a name on the hub, as `Elsewhere.diagnose` does. Raises UserError.

    reads_text: by its tokenizer; else each symbol of the task is a token id.
    """
    with oom_as_user_error("take a smaller model, or make the task smaller"):
        network, tokenizer = load_trained(name_or_path, NAME, find_device(), with_tokenizer=reads_text)
        found = setting.diagnose(network, tokenizer, train, held_out, confidence)
    return {"model": name_or_path, **found}


def of_splits(task: Task, seed: int, count: int, confidence: float) -> tuple[Given, Given]:
    """Return the first `count` problems of a task's training and test split, or all that there are.

    Raises UserError if these are too few for the confidence.
    """
    check_enough(count, confidence, task)
    return _of_split(task, seed, "train", count), _of_split(task, seed, "test", count)


def _of_split(task: Task, seed: int, split: str, count: int) -> Given:
    size = split_size(task, split)
    known = count if size is None else min(count, size)
    whole = size is not None and size <= count
    return Given(problems(task, seed, split, 0, known), f"the {split} split (seed {seed})", whole)


def of_file(
    path: Path, name: str, known: Mapping[str, Any], order: Order | None, count: int | None = None
) -> tuple[Task, Order, Given]:
    """Read the first `count` problems of a file that `unforced data export` wrote, or all of them.

    name: of their task. order: of the answers; None: as a table's metadata say. Returns their task, their
    order and the problems. Raises UserError that names the line.
    """
    task, found, read_order = read_problems(path, TASKS.get(name), order, known)
    part = found if count is None else found.take(slice(0, count))
    return task, read_order, Given(part, str(path), len(part) == len(found), lines_of(path))


def of_files(
    data: Path,
    train: Path | None,
    name: str | None,
    known: Mapping[str, Any],
    order: Order | None,
    count: int | None,
    confidence: float,
) -> tuple[Task, Order, Given | None, Given]:
    """Read held-out problems, and those of training, which are of the same task.

    name: of the task whose problems `unforced data export` wrote; None: as a table's metadata say, or own
    data. Raises UserError: a file cannot be read, or there are too few held-out problems for the confidence.
    """
    name = name or task_of(data) or _OWN
    if name == _OWN:
        task, known_problems, held_out = of_own_files(data, train, known, count)
        return task, order or "forward", known_problems, held_out
    task, read_order, held_out = of_file(data, name, known, order, count)
    needed = problems_needed(confidence, MARGIN / 2)
    if len(held_out.problems) < needed:
        raise UserError(
            f"{data}: {len(held_out.problems)} held-out problems are too few for a verdict at confidence "
            f"{confidence:g}, which takes {needed} (intervals of ±{100 * MARGIN / 2:g} points): give more of "
            "them, or a lower --confidence"
        )
    if train is None:
        return task, read_order, None, held_out
    fields = tree(task)
    del fields["name"]
    _, train_order, known_problems = of_file(train, name, fields, order, count)
    if train_order != read_order:
        raise UserError(f"{train}: its answers are {train_order}, and those of {data} are {read_order}")
    return task, read_order, known_problems, held_out


def of_own_files(
    data: Path, train: Path | None, fields: Mapping[str, Any], count: int | None
) -> tuple[Task, Given | None, Given]:
    """Read prompts and answers of one's own: all of `data` is held out, all of `train` is known.

    fields: other ones of the task. Raises UserError.
    """
    paths = {"path": str(data)} if train is None else {"path": str(train), "test_path": str(data)}
    task = build_task(_OWN, {**fields, **paths})
    if train is None:
        return task, None, _some(task, ("train", "validation", "test"), data, count)
    return task, _some(task, ("train", "validation"), train, count), _some(task, ("test",), data, count)


def _some(task: Task, splits: Sequence[str], path: Path, count: int | None) -> Given:
    parts = [part for split in splits if (part := task.listed(split)) is not None]
    found = type(parts[0]).concatenate(parts)
    part = found if count is None else found.take(slice(0, count))
    return Given(part, str(path), whole=len(part) == len(found))
