"""The half of `evaluate` that asks a model which was not trained here."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from unforced.errors import UserError, unknown

if TYPE_CHECKING:
    from unforced.evaluation.prompting import Answerer, Asked
    from unforced.tasks.base import Order

NUM_SHOTS, NUM_PROBLEMS, NUM_SHOWN = 3, 100, 1

ModelName = Annotated[
    str | None, typer.Option("--model", help="Ask this language model: a folder, or a name on the hub.")
]
TaskName = Annotated[str | None, typer.Option("--task", help="With --model: the task to ask it.")]
Shots = Annotated[
    int | None,
    typer.Option(min=0, help=f"With --model: worked examples before each question. (default: {NUM_SHOTS})"),
]
Seed = Annotated[int | None, typer.Option(min=0, help="With --model: of the problems. (default: 0)")]
AnswerOrder = Annotated[
    str | None, typer.Option("--order", help="With --model: forward or reversed answers. (default: forward)")
]
Chat = Annotated[bool, typer.Option("--chat", help="With --model: ask by the tokenizer's chat template.")]
Show = Annotated[
    int | None,
    typer.Option(min=0, help=f"With --model: problems shown, as asked and answered. (default: {NUM_SHOWN})"),
]


@dataclass(frozen=True)
class Wanted:
    """What the command line says of asking a model; None where it does not."""

    task: str | None
    shots: int | None
    seed: int | None
    order: str | None
    chat: bool
    show: int | None

    def check_unused(self) -> None:
        """Raise UserError if an option was given, though no model is asked."""
        for name, value in vars(self).items():
            if value is not None and value is not False:
                raise UserError(
                    f"--{name} is for a model that was not trained here; give --model too, or drop --{name}"
                )


def ask_model(model: str, fields: Sequence[str], wanted: Wanted, count: int | None, as_json: bool) -> None:
    """Ask a language model problems of a task in words; print what it gets right. Raises UserError."""
    from accelerate import PartialState

    from unforced.config import assignments, build_task
    from unforced.evaluation.prompting import Questions, ask
    from unforced.models.generation import Reader, Writer
    from unforced.registry import TASKS
    from unforced.training.memory import oom_as_user_error

    for field in fields:
        if "=" not in field:
            raise UserError(
                f"{field!r} is no field of the task, as in degree=3; to measure a run folder, drop --model"
            )
    if wanted.task is None:
        raise UserError(f"--model: say what to ask, with --task and one of {', '.join(TASKS.names())}")
    if wanted.order not in (None, "forward", "reversed"):
        raise unknown("order", wanted.order, ["forward", "reversed"])
    task = build_task(wanted.task, assignments(fields))
    order = cast("Order", wanted.order or "forward")
    num_shots = NUM_SHOTS if wanted.shots is None else wanted.shots
    questions = Questions.draw(task, order, wanted.seed or 0, count or NUM_PROBLEMS, num_shots)
    reader = Reader.load(model, wanted.chat)
    prompts = reader.converse(questions.conversations()) if wanted.chat else questions.prompts()
    reader.check(prompts, questions.most_tokens())
    with oom_as_user_error("take a smaller model, lower --shots, or make the task smaller"):
        writer = Writer(reader, questions.most_tokens(), PartialState().device)
        with _watched(writer, len(prompts), as_json) as answer:
            asked = ask(questions, prompts, answer)
    facts = {"model": model, "task": task.model_dump(), "order": order, "seed": wanted.seed or 0}
    facts |= {"shots": num_shots, "chat": wanted.chat, **asked.result()}
    shown = asked.shown(NUM_SHOWN if wanted.show is None else wanted.show)
    if as_json:
        print(json.dumps(facts | {"shown": shown}))
        return
    show_asked(asked, facts, shown)


def show_asked(asked: "Asked", facts: Mapping[str, Any], shown: Sequence[Mapping[str, str]]) -> None:
    """Print problems as they were asked and answered, then the accuracies."""
    from unforced.reporting.tables import accuracy_table, error_table, show

    count = len(asked.prompts)
    for number, one in enumerate(shown, start=1):
        print(f"--- prompt {number} of {count} " + "-" * 40, one["prompt"], "---", sep="\n")
        print(f"written  {one['written']!r}", f"read as  {one['read']}", f"true     {one['true']}", sep="\n")
        print(f"verdict  {one['verdict'].replace('_', ' ')}", "", sep="\n")
    print(
        f"{facts['model']}: {count} held-out problems of {asked.questions.task}, {facts['shots']} shots, "
        f"answers {facts['order']}\n"
    )
    show(accuracy_table(facts, facts["chance"]))
    print()
    show(error_table(facts))


@contextmanager
def _watched(answer: "Answerer", count: int, quiet: bool) -> Iterator["Answerer"]:
    """Show on a terminal how many prompts are answered."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=quiet or not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("answered", total=count)

        def watched(prompts: Sequence[str]) -> Sequence[str]:
            texts = answer(prompts)
            progress.advance(bar, len(prompts))
            return texts

        yield watched
