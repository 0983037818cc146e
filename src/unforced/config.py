"""The run: one frozen tree that says everything an experiment depends on.

A `Run` round-trips exactly through JSON, takes `dotted.key=value` overrides, and has a fingerprint.
Parts with several kinds (task, model, objective) are chosen by name through the registry.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, model_validator

from unforced.data.codec import Codec
from unforced.errors import UserError, unknown
from unforced.models.base import ModelConfig
from unforced.objectives.base import Objective
from unforced.registry import MODELS, OBJECTIVES, TASKS, Registry
from unforced.tasks.base import Order, Task

Tree = dict[str, Any]

SOLVED = 0.99
"""Accuracy of whole answers from which a split counts as solved (held-out) or fitted (training set)."""

_OF_A_TRAINING_SET = ("num_train", "epochs")

Decay = Annotated[float, Field(ge=0, lt=1)]


class Run(BaseModel):
    """One training run. Equal runs name the same folder and, on one machine, give the same numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    named: ClassVar[dict[str, Registry]] = {"task": TASKS, "model": MODELS, "objective": OBJECTIVES}
    operational: ClassVar[frozenset[str]] = frozenset({"checkpoint_every", "keep_checkpoints"})

    task: SerializeAsAny[Task] = Field(description="the generator of problems and its verifier")
    model: SerializeAsAny[ModelConfig] = Field(description="the architecture")
    objective: SerializeAsAny[Objective] = Field(description="what is trained, and how it is decoded")
    order: Order = Field("forward", description="the order in which the answer is written")
    seed: int = Field(
        0, ge=0, lt=2**63, description="decides the data, the initial weights and the order of training"
    )

    stream: bool = Field(False, description="fresh problems for ever, instead of a finite training set")
    num_train: int | None = Field(None, ge=1, description="problems in the finite training set")
    batch_size: int = Field(256, ge=1, description="problems per optimiser step, over all processes")
    gradient_accumulation: int = Field(1, ge=1, description="parts that each batch is worked through in")
    max_steps: int | None = Field(None, ge=1, description="optimiser steps at the most")
    epochs: int | None = Field(None, ge=1, description="passes over the training set at the most")
    stop_when: Literal["never", "solved", "fitted"] = Field(
        "never", description="stop once two evaluations in a row are solved (validation) or fitted (train)"
    )
    overtrain: float = Field(
        1.0, ge=1, description="go on until this many times the steps after which stop_when was reached"
    )

    learning_rate: float = Field(5e-4, gt=0, description="peak learning rate")
    schedule: Literal["constant", "cosine"] = Field("constant", description="learning rate after warm-up")
    schedule_steps: int | None = Field(None, ge=1, description="steps the cosine spans (null: all steps)")
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
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="matrix products in bf16 (auto: where the processor has it) or fp32"
    )

    evaluate_every: int = Field(1000, ge=1, description="optimiser steps between evaluations")
    num_evaluate: int = Field(1000, ge=1, description="problems per split in each scheduled evaluation")
    num_test: int = Field(20_000, ge=1, description="problems per split in the final evaluation")
    checkpoint_every: int = Field(
        1000, ge=1, description="optimiser steps between checkpoints; there is one a minute, too"
    )
    keep_checkpoints: int = Field(2, ge=1, description="how many of the newest checkpoints stay")

    @model_validator(mode="after")
    def _check(self) -> "Run":
        for key in _OF_A_TRAINING_SET if self.stream else ():
            if getattr(self, key) is not None:
                raise ValueError(f"{key}: a stream has no training set; drop it, or give stream=false")
        if self.stream and self.max_steps is None:
            raise ValueError("max_steps: a stream never ends by itself; give max_steps=STEPS")
        if not self.stream and self.num_train is None:
            raise ValueError("num_train: give the size of the training set, or stream=true")
        if self.max_steps is None and self.epochs is None:
            raise ValueError("max_steps: give max_steps or epochs")
        if self.batch_size % self.gradient_accumulation:
            raise ValueError(
                f"gradient_accumulation: {self.gradient_accumulation} does not divide "
                f"batch_size {self.batch_size}"
            )
        last = self.task.answer_length - 1
        for position in self.objective.train_positions or ():
            if not 0 <= position <= last:
                raise ValueError(
                    f"objective.train_positions: {position} is no answer position of this task; "
                    f"they are 0 to {last}"
                )
        if self.model.keeps_bf16 and self.precision == "fp32":
            raise ValueError("precision: fp32 does not go with weights in bf16; use precision=bf16")
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate: {self.min_learning_rate} is above learning_rate {self.learning_rate}"
            )
        return self

    @property
    def codec(self) -> Codec:
        """How the run's model reads and writes the task's problems."""
        return self.model.codec(self.task)

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole run: max_steps or epochs, whichever comes first."""
        limits = [self.max_steps] if self.max_steps is not None else []
        if self.epochs is not None and self.num_train is not None:
            limits.append(max(1, self.epochs * self.num_train // self.batch_size))
        return min(limits)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes the experiment (16 hexadecimal digits)."""
        tree = {key: value for key, value in self.tree().items() if key not in self.operational}
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]

    def tree(self) -> Tree:
        """Every field, as JSON values."""
        return self.model_dump(mode="json")

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> "Run":
        """Build a run from JSON values. Raises UserError: one line that names the path."""
        tree = dict(tree)
        for key, registry in cls.named.items():
            if key in tree:
                tree[key] = _build_named(registry, key, tree[key])
        return _validate(cls, tree, "")

    def override(self, assignments: Iterable[str]) -> "Run":
        """Return this run with `dotted.key=value` assignments applied, in order.

        A value is read as JSON, and as text where it is not JSON. A name (`objective=teacherless`)
        replaces a part by that kind with its defaults; `stream=true` drops what only a finite training set
        has. Raises UserError.
        """
        tree, given = self.tree(), list(assignments)
        for assignment in given:
            _assign(tree, assignment)
        if tree["stream"] is True and not self.stream:
            named = [assignment.partition("=")[0] for assignment in given]
            tree |= {key: None for key in _OF_A_TRAINING_SET if key not in named}
        return Run.from_tree(tree)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn a nested tree into `dotted.key -> value`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def assignments(texts: Iterable[str]) -> Tree:
    """Read `key=value` texts into a tree, as overrides are read."""
    tree: Tree = {}
    for text in texts:
        _assign(tree, text)
    return tree


def build_task(name: str, fields: Tree) -> Task:
    """Build a task by name, with its other fields as given. Raises UserError."""
    return _build_named(TASKS, "task", fields | {"name": name})


def _assign(tree: Tree, assignment: str) -> None:
    path, equals, text = assignment.partition("=")
    if not equals or not path or not path.isprintable():
        raise UserError(f"{assignment!r} is not an override; write dotted.key=value, as in seed=3")
    *parents, leaf = path.split(".")
    node = tree
    for depth, parent in enumerate(parents, start=1):
        if parent in Run.named and isinstance(node.get(parent), str):
            node[parent] = {"name": node[parent]}  # chosen by name a moment ago
        if not isinstance(node.get(parent), dict):
            parts = [key for key in node if isinstance(node[key], dict)]
            if parent in node or not parts:
                above = ".".join(parents[:depth])
                raise UserError(f"{path}: {parent} has no keys below it; write {above}=value")
            raise UserError(f"{path}: {unknown('key', parent, parts)}")
        node = node[parent]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    node[leaf] = value


def _build_named(registry: Registry, path: str, value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise UserError(f"{path}: give a name, one of {', '.join(registry.names())}")
    return _validate(registry.get(value["name"]), value, f"{path}.")


Model = TypeVar("Model", bound=BaseModel)


def _validate(cls: type[Model], tree: Tree, prefix: str) -> Model:
    try:
        return cls.model_validate(_lists_to_tuples(tree))
    except ValidationError as error:
        raise _one_line(cls, error, prefix) from None


def _lists_to_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists_to_tuples(item) for key, item in value.items()}
    return tuple(map(_lists_to_tuples, value)) if isinstance(value, list) else value


def _one_line(cls: type[BaseModel], error: ValidationError, prefix: str) -> UserError:
    first = error.errors()[0]
    path = prefix + ".".join(str(part) for part in first["loc"] if not str(part).startswith("function-"))
    if first["type"] == "extra_forbidden":
        return UserError(f"{path}: {unknown('key', str(first['loc'][-1]), cls.model_fields)}")
    if first["type"] == "missing":
        return UserError(f"{path}: missing")
    if first["type"] == "value_error":
        message = str(first["ctx"]["error"])
        return UserError(f"{prefix}{message}")
    message = (first["msg"][0].lower() + first["msg"][1:]).replace("tuple", "list")
    given = json.dumps(first["input"], default=str)
    return UserError(f"{path}: {message}, not {given if len(given) < 80 else given[:80] + '...'}")
