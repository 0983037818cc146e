"""`diagnose --model`: what is typed about a model that was trained elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from unforced.errors import UserError, unknown
from unforced.wording import renamed

if TYPE_CHECKING:
    from unforced.evaluation.elsewhere import Encoding
    from unforced.tasks.base import Order

_COUNT = 2000  # problems of each split
_CHOICES = {"order": ("forward", "reversed"), "encoding": ("text", "symbol")}


@dataclass(frozen=True)
class Options:
    """The options of `diagnose` that are about a model which was trained elsewhere, by their names."""

    task: str | None
    data: Path | None
    train: Path | None
    objective: str | None
    order: str | None
    template: str | None
    chat: bool
    mask_token: str | None
    encoding: str | None
    first_symbol: int | None
    seed: int | None

    def check_unused(self) -> None:
        """Raise UserError if one is given, though there is no such model."""
        for name, value in vars(self).items():
            if value not in (None, False):
                raise UserError(
                    "it is about a model that was trained elsewhere, which --model names; "
                    "a run's config says all that itself",
                    about=name,
                )

    def check(self) -> None:
        """Raise UserError: a choice is unknown, or options exclude one another."""
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise unknown(name, value, choices)
        if self.train is not None and self.data is None:
            raise UserError("--train: it goes with --data FILE, held-out problems of the same task")
        if self.data is not None and self.seed is not None:
            raise UserError("--seed: it draws problems of a task; --data gives them")


def diagnose_elsewhere(
    model: str, texts: Sequence[str], options: Options, count: int | None, confidence: float
) -> dict[str, Any]:
    """Diagnose a model that was trained elsewhere. Raises UserError."""
    from unforced.cli.parts import settings_of_parts
    from unforced.decoding.base import Decoder
    from unforced.elsewhere import as_recorded, diagnose_model, objective_of, of_files, of_splits
    from unforced.evaluation.elsewhere import SETTINGS, Elsewhere, Format
    from unforced.models.huggingface import FIELD
    from unforced.objectives.base import Objective
    from unforced.objectives.next_token import NextToken
    from unforced.parts import read_part
    from unforced.registry import TASKS
    from unforced.tasks.base import Task

    options.check()
    names = {"task": options.task, "objective": options.objective, "decoder": None}
    parts = settings_of_parts(texts, names)
    usual = {"name": NextToken.model_fields["name"].default}
    given = usual | parts["objective"] if parts["objective"] else None
    objective = (
        objective_of(model) if given is None else read_part(Objective, "objective", given)  # type: ignore[type-abstract]
    )
    usual = {"name": objective.default_decoder.name}
    changed = usual | parts["decoder"] if parts["decoder"] else None
    decoder = None if changed is None else read_part(Decoder, "decoder", changed)  # type: ignore[type-abstract]
    order = cast("Order | None", options.order)
    if options.data is not None:
        fields = dict(parts["task"])
        files = options.data, options.train, fields.pop("name", None), fields
        task, order, train, held_out = of_files(model, *files, order, count, confidence)
    elif "name" not in parts["task"]:
        raise UserError(f"say what to ask: --task and one of {', '.join(TASKS.names())}, or --data FILE")
    else:
        task = as_recorded(read_part(Task, "task", parts["task"]), model)  # type: ignore[type-abstract]
        train, held_out = of_splits(task, options.seed or 0, count or _COUNT, confidence)
    setting = Elsewhere(
        task,
        objective,
        order or "forward",
        decoder,
        Format(
            cast("Encoding | None", options.encoding),
            options.mask_token,
            options.first_symbol or 0,
            options.template,
            options.chat,
        ),
    )
    with renamed({**SETTINGS, FIELD: "model", "tokenizer": "model"}):
        reads_text = options.first_symbol is None
        return diagnose_model(model, setting, train, held_out, confidence, reads_text)


def title(model: str, found: Mapping[str, Any]) -> str:
    """Say what was diagnosed, and how it was asked."""
    asked = found["asked"]
    form = "symbols" if asked["template"] is None else repr(asked["template"])
    name = asked["objective"]["name"]
    if "trained_on" in asked:
        name = f"trained on {asked['trained_on']['name']}, without its heads: diagnosed as {name}"
    return f"{model} ({name}, {asked['order']} answers, asked as {form})"
