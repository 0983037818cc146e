"""Models that were trained elsewhere: the problems that they are asked, and the diagnosis of a folder."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unforced.config import build_task
from unforced.data.files import lines_of, read_problems, task_of
from unforced.errors import UserError
from unforced.evaluation.diagnosis import check_enough
from unforced.evaluation.elsewhere import Elsewhere, Format, Given
from unforced.evaluation.statistics import problems_needed
from unforced.evaluation.verdict import MARGIN
from unforced.files import read_json
from unforced.models.trained import load_trained
from unforced.objectives.base import Objective
from unforced.objectives.next_token import NextToken
from unforced.objectives.plain import OBJECTIVE
from unforced.parts import read_part, tree
from unforced.registry import TASKS
from unforced.tasks.base import Order, Task
from unforced.tasks.own_data import GivenData, OwnData
from unforced.tasks.sampling import problems, split_size
from unforced.training.memory import oom_as_user_error
from unforced.training.processes import find_device
from unforced.wording import typed

_ENDED = r"{prompt}{answer}\n"
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
        _check_ends(name_or_path, setting.format)
        network, tokenizer = load_trained(name_or_path, find_device(), with_tokenizer=reads_text)
        mask_token = setting.format.mask_token or _recorded_mask(name_or_path, tokenizer)
        setting = replace(setting, format=replace(setting.format, mask_token=mask_token))
        found = setting.diagnose(network, tokenizer, train, held_out, confidence, name_or_path)
    return {"model": name_or_path, **found}


def objective_of(name_or_path: str) -> Objective:
    """Return the objective that a folder says its model was trained on; next_token where it says nothing.

    Raises UserError: it is none that is known here.
    """
    file = Path(name_or_path) / OBJECTIVE
    if not file.is_file():
        return NextToken()
    try:
        return read_part(Objective, "objective", _recorded(file, "objective"))  # type: ignore[type-abstract]
    except UserError as error:
        raise UserError(
            f"{file}: {error}; say what its inputs were in training with {typed('objective')}"
        ) from error


def _recorded(file: Path, key: str) -> Any:
    found = read_json(file)
    if not isinstance(found, dict) or not isinstance(found.get(key), dict):
        raise UserError(f"it does not hold {key!r}, as ObjectiveTrainer writes it")
    return found[key]


def _recorded_mask(name_or_path: str, tokenizer: Any) -> str | None:
    """Return the text of the token that a folder says hid answer tokens in training; None without one."""
    file = Path(name_or_path) / OBJECTIVE
    if tokenizer is None or not file.is_file():
        return None
    number = _recorded(file, "special_tokens").get("mask")
    return tokenizer.convert_ids_to_tokens(number) if isinstance(number, int) and number >= 0 else None


def as_recorded(task: Task, name_or_path: str) -> Task:
    """Return own data with the separator that a folder says its model was trained with.

    Where another one was given, or the folder says nothing, the task is returned as it is.
    """
    file = Path(name_or_path) / OBJECTIVE
    if not isinstance(task, OwnData) or "separator" in task.model_fields_set or not file.is_file():
        return task
    found = read_json(file)
    separator = found.get("separator") if isinstance(found, dict) else None
    return task.model_copy(update={"separator": separator}) if isinstance(separator, str) else task


def _check_ends(name_or_path: str, form: Format) -> None:
    """Refuse a model for which nothing ended answers, unless something is said to have. Raises UserError."""
    file = Path(name_or_path) / OBJECTIVE
    if form.template is not None or form.chat or form.encoding == "symbol" or not file.is_file():
        return
    found = read_json(file)
    if isinstance(found, dict) and found.get("closes") is False:
        raise UserError(
            f"{file}: no token closed answers in training (closes: false), and nothing ends one; say what "
            f"stood behind them, as in {typed('template', _ENDED)}"
        )


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
    model: str,
    data: Path,
    train: Path | None,
    name: str | None,
    known: Mapping[str, Any],
    order: Order | None,
    count: int | None,
    confidence: float,
) -> tuple[Task, Order, Given | None, Given]:
    """Read held-out problems, and those of training, which are of the same task.

    model: that is asked. name: of the task whose problems `unforced data export` wrote; None: as a table's
    metadata say, or own data. Raises UserError: a file cannot be read, or there are too few held-out problems
    for the confidence.
    """
    for setting, path in (("data", data), ("train", train)):
        if path is not None and not path.exists():
            raise UserError(f"there is no {path}; give a file with problems", about=setting)
    name = name or task_of(data) or _OWN
    if name == _OWN:
        task, known_problems, held_out = of_own_files(model, data, train, known, count)
        return task, order or "forward", known_problems, held_out
    task, read_order, held_out = of_file(data, name, known, order, count)
    needed = problems_needed(confidence, MARGIN / 2)
    if len(held_out.problems) < needed:
        more = "give more of them" if held_out.whole else f"use {typed('count', needed)} or more"
        raise UserError(
            f"{data}: {len(held_out.problems)} held-out problems are too few for a verdict at confidence "
            f"{confidence:g}, which takes {needed} (intervals of ±{100 * MARGIN / 2:g} points): {more}, or a "
            f"lower {typed('confidence')}"
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
    model: str, data: Path, train: Path | None, fields: Mapping[str, Any], count: int | None
) -> tuple[Task, Given | None, Given]:
    """Read prompts and answers of one's own: all of `data` is held out, all of `train` is known.

    model: that is asked. fields: other ones of the task. Raises UserError.
    """
    for key in ("path", "test_path"):
        if key in fields:
            raise UserError(
                f"task.{key}: {typed('data')} names held-out problems, and {typed('train')} those of training"
            )
    paths = {"path": str(data)} if train is None else {"path": str(train), "test_path": str(data)}
    built = as_recorded(build_task(_OWN, {**fields, **paths}), model)
    task = GivenData.model_construct(**vars(built))
    known = None if train is None else _some(task, "train", train, count)
    return task, known, _some(task, "test", data, count)


def _some(task: OwnData, split: str, path: Path, count: int | None) -> Given:
    found = task.listed(split)
    part = found if count is None else found.take(slice(0, count))
    return Given(part, str(path), whole=len(part) == len(found))
