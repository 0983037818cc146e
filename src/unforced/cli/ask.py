"""`ask`: problems in words, for a language model that was not trained here."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from unforced.cli.options import AsJson
from unforced.errors import UserError, unknown
from unforced.wording import renamed

if TYPE_CHECKING:
    from unforced.evaluation.prompting import Answerer, Asked
    from unforced.tasks.base import Order


def ask(
    model: Annotated[
        str, typer.Argument(help="A language model: a folder, or a name on the Hugging Face Hub.")
    ],
    fields: Annotated[
        list[str] | None, typer.Argument(help="Fields of the task, as in task.degree=3.", show_default=False)
    ] = None,
    task: Annotated[str | None, typer.Option(help="The task, as in path_star (unforced list tasks).")] = None,
    count: Annotated[int, typer.Option(min=1, help="Problems.")] = 100,
    shots: Annotated[int, typer.Option(min=0, help="Worked examples before each question.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of the problems.")] = 0,
    order: Annotated[str, typer.Option(help="forward or reversed answers.")] = "forward",
    chat: Annotated[bool, typer.Option("--chat", help="Ask through the tokenizer's chat template.")] = False,
    show: Annotated[int, typer.Option(min=0, help="Problems shown, with the text of the answer.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Ask a language model problems of a task in words, and score its answers.

    Example: unforced ask FOLDER_OR_NAME --task path_star task.degree=3 task.path_length=4 --shots 5
    """
    from unforced.cli.parts import settings_of_parts
    from unforced.config import build_task
    from unforced.evaluation.prompting import Questions
    from unforced.evaluation.prompting import ask as put
    from unforced.models.generation import Reader, Writer
    from unforced.models.huggingface import FIELD
    from unforced.registry import TASKS
    from unforced.training.memory import oom_as_user_error
    from unforced.training.processes import find_device

    chosen = settings_of_parts(fields or [], {"task": task})["task"]
    if "name" not in chosen:
        raise UserError(f"say what to ask, with --task and one of {', '.join(TASKS.names())}")
    if order not in ("forward", "reversed"):
        raise unknown("order", order, ["forward", "reversed"])
    asked_task, asked_order = build_task(chosen.pop("name"), chosen), cast("Order", order)
    questions = Questions.draw(asked_task, asked_order, seed, count, shots)
    questions.check()
    memory = oom_as_user_error("take a smaller model, lower --shots, or make the task smaller")
    with renamed({FIELD: "MODEL", "base": None}), memory:
        reader = Reader.load(model, chat, questions.characters | set(asked_task.text.separator))
        prompts = reader.converse(questions.conversations()) if chat else questions.prompts()
        reader.check(prompts, questions.most_tokens())
        writer = Writer(reader, questions.most_tokens(), find_device())
        with _watched(writer, len(prompts), as_json) as answer:
            asked = put(questions, prompts, answer)
    facts = {"model": model, "task": asked_task.model_dump(), "order": order, "seed": seed}
    facts |= {"shots": shots, "chat": chat, **asked.result()}
    shown = asked.shown(show)
    if as_json:
        print(json.dumps(facts | {"shown": shown}))
        return
    _show_asked(asked, facts, shown)


def _show_asked(asked: "Asked", facts: Mapping[str, Any], shown: Sequence[Mapping[str, str]]) -> None:
    """Print problems as they were asked and answered, then the accuracies."""
    from unforced.reporting.tables import accuracy_table, error_table, set_table, show

    count = len(asked.prompts)
    for number, one in enumerate(shown, start=1):
        print(f"--- prompt {number} of {count} " + "-" * 40, one["prompt"], "---", sep="\n")
        print(f"written  {one['written']!r}", f"read as  {one['read']}", f"true     {one['true']}", sep="\n")
        print(f"verdict  {one['verdict'].replace('_', ' ')}", "", sep="\n")
    print(
        f"{facts['model']}: {count} held-out problems of {asked.questions.task}, {facts['shots']} shots, "
        f"answers {facts['order']}\n"
    )
    for frame in (accuracy_table(facts, facts["chance"]), set_table(facts)):
        if len(frame):
            show(frame)
            print()
    show(error_table(facts))


@contextmanager
def _watched(answer: "Answerer", count: int, quiet: bool) -> Iterator["Answerer"]:
    """Show on a terminal how many prompts are answered."""
    from rich.progress import Progress

    from unforced.reporting.terminal import progress_console

    console = progress_console()
    with Progress(console=console, disable=quiet or not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("answered", total=count)

        def watched(prompts: Sequence[str]) -> Sequence[str]:
            texts = answer(prompts)
            progress.advance(bar, len(prompts))
            return texts

        yield watched
