"""Free answers to prompts: read, answered and scored."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from unforced.errors import UserError
from unforced.evaluation.evaluator import Evaluator
from unforced.evaluation.evaluator import answers as answer_problems
from unforced.evaluation.trace import symbol_texts
from unforced.interface.problems import Example
from unforced.tasks.base import Problems, Symbols, Task

Prompts = str | Iterable[str] | Iterable[Example]
"""Prompts as text, as the task writes them; or problems of `uf.problems`."""


def answer(evaluator: Evaluator, prompts: Prompts) -> pd.DataFrame:
    """Answer prompts freely; a row for each: `prompt`, `answer`, `true`, `verdict`.

    Answers are in forward order; `?` stands for what is not a symbol. `true` and `verdict` are None where the
    prompt does not say the right answer. Raises UserError for a text that is not a prompt of the task.
    """
    task = evaluator.task
    problems, knows = _read(task, [prompts] if isinstance(prompts, str) else list(prompts))
    free = answer_problems(evaluator, problems, evaluator.free)
    verdicts = task.score(problems, free)
    kinds = [verdicts.kinds[kind] for kind in verdicts.kind.tolist()]
    unknown = [None] * len(free)
    columns: dict[str, Sequence[Any]] = {
        "prompt": task.text.prompts(problems),
        "answer": _texts(task, free),
        "true": _texts(task, task.answers(problems)) if knows == "answer" else unknown,
        "verdict": unknown if knows == "prompt" else kinds,
    }
    return pd.DataFrame(columns, dtype=object)


def _texts(task: Task, answers: Symbols) -> list[str]:
    return [task.text.separator.join(symbol_texts(task, row)) for row in answers]


def _read(task: Task, prompts: Sequence[str | Example]) -> tuple[Problems, str]:
    if not prompts:
        raise UserError("answer: give a prompt, or several")
    examples = [prompt.problem for prompt in prompts if isinstance(prompt, Example)]
    if len(examples) == len(prompts):
        return _of_task(task, examples), "answer"
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    if len(texts) != len(prompts):
        raise UserError("answer: give prompts as text, or problems of uf.problems, and not both")
    reader = task.text.prompt_reader
    if reader is None:
        raise UserError(
            f"answer: the task {task.name} cannot read a prompt from text; give problems of it, as in "
            f"fit.answer(uf.problems(fit.run, split='test', count=3))"
        )
    return reader.read(texts), reader.knows


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
