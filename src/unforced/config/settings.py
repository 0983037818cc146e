"""Settings of a run other than its parts: data, length, optimiser, evaluation. No torch."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field

from unforced.config.overrides import flatten
from unforced.parts import Config, Role, keys_of
from unforced.tasks.base import Order

SOLVED = 0.99
"""Accuracy of whole answers from which a split counts as solved (held-out) or fitted (training set)."""

Decay = Annotated[float, Field(ge=0, lt=1)]


class Settings(Config):
    """Every field of a run that is not a part. A field's role is written on it, and nowhere else."""

    former_names = MappingProxyType({"overtrain": "train_past_stop"})
    former_values = MappingProxyType({"precision": {"bf16": "bf16-mixed"}})

    order: Order = Field("forward", description="the order in which the answer is written")
    seed: int = Field(
        0, ge=0, lt=2**63, description="decides the data, the initial weights and the order of training"
    )

    stream: bool = Field(
        False, description="an endless stream of fresh problems instead of a finite training set"
    )
    num_train: Annotated[int | None, Role.TRAINING_SET] = Field(
        None, ge=1, description="problems in the finite training set (null: all of a task that lists them)"
    )
    goals_per_graph: int = Field(
        1,
        ge=1,
        description="goals that training asks of each graph, one after the other in a batch (other tasks: "
        "questions about the same material)",
    )
    batch_size: int = Field(256, ge=1, description="problems per optimiser step, over all processes")
    gradient_accumulation: int = Field(1, ge=1, description="parts that each batch is worked through in")
    stop_when: Annotated[Literal["never", "solved", "fitted"], Role.LENGTH] = Field(
        "never", description="stop once two evaluations in a row are solved (validation) or fitted (train)"
    )
    train_past_stop: Annotated[float, Role.LENGTH] = Field(
        1.0, ge=1, description="continue until this multiple of the steps after which stop_when was reached"
    )
    max_steps: Annotated[int | None, Role.LENGTH] = Field(
        None, ge=1, description="optimiser steps at the most"
    )
    max_seconds: Annotated[float | None, Role.LENGTH] = Field(
        None, gt=0, description="seconds of training at the most, evaluations and checkpoints not counted"
    )
    epochs: Annotated[int | None, Role.TRAINING_SET, Role.LENGTH] = Field(
        None, ge=1, description="passes over the training set at the most"
    )

    learning_rate: float = Field(5e-4, gt=0, description="peak learning rate")
    schedule: Literal["constant", "cosine"] = Field("constant", description="learning rate after warm-up")
    schedule_steps: Annotated[int | None, Role.LENGTH] = Field(
        None, ge=1, description="steps the cosine spans (null: all steps)"
    )
    min_learning_rate: float = Field(0.0, ge=0, description="where the cosine ends")
    warmup_steps: int = Field(0, ge=0, description="optimiser steps of linear warm-up")
    warmup_from_zero: bool = Field(False, description="warm up from 0, not from 1/warmup_steps")
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw", description="AdamW, or Muon for the matrices inside blocks and AdamW for all else"
    )
    muon_factor: float = Field(1.0, gt=0, description="Muon's learning rate, in learning rates of AdamW")
    betas: tuple[Decay, Decay] = Field((0.9, 0.999), description="AdamW's moment decays")
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay, on matrices only")
    clip_norm: float | None = Field(1.0, gt=0, description="largest global gradient norm (null: no clipping)")
    precision: Literal["auto", "fp32", "bf16-mixed"] = Field(
        "auto", description="fp32, or autocast to bf16 (auto: bf16-mixed where the hardware supports it)"
    )
    compile: bool = Field(
        False, description="compile the step (torch.compile): for long runs of large models on a GPU"
    )

    evaluate_every: Annotated[int, Role.LENGTH] = Field(
        1000, ge=1, description="optimiser steps between evaluations"
    )
    num_evaluate: Annotated[int, Role.MEASURING] = Field(
        1000, ge=1, description="problems per split in each scheduled evaluation"
    )
    num_test: Annotated[int, Role.MEASURING] = Field(
        20_000, ge=1, description="problems per split in the final evaluation"
    )
    checkpoint_every: Annotated[int, Role.OPERATIONAL] = Field(
        1000, ge=1, description="optimiser steps between checkpoints; there is one a minute, too"
    )
    keep_checkpoints: Annotated[int, Role.OPERATIONAL] = Field(
        2, ge=1, description="how many of the newest checkpoints stay"
    )


def size_in_words(num_train: int | None) -> str:
    """Write the size of a finite training set."""
    return "all training problems" if num_train is None else f"{num_train:,} problems"


def settings_of(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return, by dotted key, what decides how a run with this config (as JSON values) comes out.

    What is operational or measuring is left out.
    """
    ignored = {*keys_of(Settings, Role.OPERATIONAL), *keys_of(Settings, Role.MEASURING)}
    return {key: value for key, value in flatten(tree).items() if key not in ignored}
