"""What a Trainer on an objective saves beside a model, and reads on resuming."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from unforced.errors import UserError
from unforced.files import read_json, write_json
from unforced.integrations.answer_collator import AnswerCollator
from unforced.models.failures import first_words
from unforced.objectives.base import Objective
from unforced.objectives.plain import OBJECTIVE
from unforced.parts import tree

HEADS = "heads.safetensors"
"""Beside a saved model: the heads that were trained with it."""


def save_beside(
    folder: Path, heads: nn.Module, objective: Objective, specials: Mapping[str, int], collator: Any
) -> None:
    """Save heads, if there are any, and what the model was trained on.

    That is the objective, the ids of special tokens, and how an AnswerCollator made tokens of text.
    """
    weights = {key: each.detach().clone().cpu() for key, each in heads.state_dict().items()}
    if weights:
        save_file(weights, folder / HEADS)
    said: dict[str, Any] = {"objective": tree(objective), "special_tokens": dict(specials)}
    if isinstance(collator, AnswerCollator) and collator.tokenizer is not None:
        said |= {"separator": collator.separator, "closes": collator.closes}
    write_json(folder / OBJECTIVE, said)


def check_checkpoint(folder: Path, objective: Objective) -> None:
    """Refuse to resume what was trained on another objective. Raises UserError."""
    file = folder / OBJECTIVE
    said = read_json(file).get("objective", {}) if file.is_file() else {}
    own = tree(objective)
    for key in ("name", *own):
        if key in said and said[key] != own[key]:
            raise UserError(
                f"{file}: it was trained with objective.{key}={said[key]!r}, which is {own[key]!r} here; "
                "resume with that objective, or train its model without resume_from_checkpoint"
            )


def load_heads(folder: Path, heads: nn.Module, objective: Objective) -> None:
    """Load the heads of a checkpoint. Raises UserError."""
    if not heads.state_dict():
        return
    try:
        heads.load_state_dict(load_file(folder / HEADS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{folder / HEADS}: these are no heads of {objective.name} for this model "
            f"({first_words(error)}); resume a checkpoint that this objective trained"
        ) from None
