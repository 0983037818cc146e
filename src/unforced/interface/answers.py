"""Free answers to prompts: read, answered and scored."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from unforced.errors import UserError
from unforced.evaluation.evaluator import Evaluator
from unforced.evaluation.evaluator import answers as answer_problems
from unforced.evaluation.trace import symbol_texts
from unforced.interface.problems import Example
from unforced.tasks.base import Problems, Symbols, Task

COLUMNS = ["prompt", "answer", "true", "verdict", "reason"]
UNREADABLE = "unreadable"
Prompts = str | Iterable[str] | Iterable[Example]
"""Prompts as text, as the task writes them; or problems of `uf.problems`."""


def answer(evaluator: Evaluator, prompts: Prompts) -> pd.DataFrame:
    """Answer prompts freely; a row for each: `prompt`, `answer`, `true`, `verdict`, `reason`.

    Answers are in forward order; `?` stands for what is not a symbol. `true` and `verdict` are None where the
    prompt does not say the right answer. A text that is not a prompt of the task has the verdict
    `unreadable`. `reason` says what is wrong. Raises UserError where the task reads no prompts.
    """
    asked = [prompts] if isinstance(prompts, str) else list(prompts)
    if not asked:
        raise UserError("answer: give a prompt, or several")
    texts = [prompt for prompt in asked if isinstance(prompt, str)]
    examples = [prompt.problem for prompt in asked if isinstance(prompt, Example)]
    if len(examples) == len(asked):
        return _answered(evaluator, _of_task(evaluator.task, examples), "answer")
    if len(texts) < len(asked):
        raise UserError("answer: give prompts as text, or problems of uf.problems, and not both")
    return _answered_texts(evaluator, texts)


def _answered_texts(evaluator: Evaluator, prompts: Sequence[str]) -> pd.DataFrame:
    """Answer those prompts that are the task's, and say of the others why they are not."""
    reader = evaluator.task.text.prompt_reader
    if reader is None:
        raise UserError(
            f"answer: the task {evaluator.task.name} cannot read a prompt from text; give problems of it, as "
            "in fit.answer(uf.problems(fit.run, split='test', count=3))"
        )
    refused: dict[int, dict[str, str]] = {}
    for row, prompt in enumerate(prompts):
        try:
            reader.read([prompt])
        except UserError as error:
            refused[row] = {"prompt": prompt, "verdict": UNREADABLE, "reason": str(error)}
    others = pd.DataFrame.from_dict(refused, orient="index", columns=COLUMNS, dtype=object)
    read = [row for row in range(len(prompts)) if row not in refused]
    if not read:
        first = refused[0]["reason"]
        warnings.warn(f"answer: no prompt could be read; the first: {first}", stacklevel=4)
        return others
    answered = _answered(evaluator, reader.read([prompts[row] for row in read]), reader.knows)
    return pd.concat([answered.set_axis(read), others]).sort_index() if refused else answered


def _answered(evaluator: Evaluator, problems: Problems, knows: str) -> pd.DataFrame:
    task = evaluator.task
    free = answer_problems(evaluator, problems, evaluator.free)
    verdicts = task.score(problems, free)
    kinds = [verdicts.kinds[kind] for kind in verdicts.kind.tolist()]
    unknown = [None] * len(free)
    columns: dict[str, Sequence[Any]] = {
        "prompt": task.text.prompts(problems),
        "answer": _texts(task, free),
        "true": _texts(task, task.answers(problems)) if knows == "answer" else unknown,
        "verdict": unknown if knows == "prompt" else kinds,
        "reason": unknown if knows == "prompt" else [task.verdict_kinds[kind] for kind in kinds],
    }
    return pd.DataFrame(columns, columns=COLUMNS, dtype=object)


def _texts(task: Task, answers: Symbols) -> list[str]:
    return [task.text.separator.join(symbol_texts(task, row)) for row in answers]


def _of_task(task: Task, problems: Sequence[Problems]) -> Problems:
    """Join problems of a task. Raises UserError if they are another task's."""
    kind = type(problems[0])
    try:
        joined = kind.concatenate(problems)
        same = task.prompts(joined).shape[1] == task.prompt_length
        same = same and task.answers(joined).shape[1] == task.answer_length
    except (ValueError, AttributeError, IndexError, TypeError):
        same = False
    if not same:
        raise UserError(f"answer: these are not problems of {task}; take uf.problems(fit.run)")
    return joined
