"""The run: one frozen tree that says everything an experiment depends on.

A `Run` round-trips exactly through JSON, can be changed field by field, and has a fingerprint. Parts with
several kinds (task, model, objective, decoder) are chosen by name through the registry.
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, Field, ValidationError, model_validator

from unforced.config.fingerprint import changes, fingerprint
from unforced.config.overrides import assign, flatten, with_quoting
from unforced.config.positions import check_positions
from unforced.config.settings import Settings, size_in_words
from unforced.data.codec import Codec
from unforced.data.vocabulary import build_codec
from unforced.decoding.base import Decoder
from unforced.decoding.modes import Mode, exact_measures, forced_note, trained_mode
from unforced.errors import ConfigError, UserError
from unforced.models.base import FromScratch, ModelConfig
from unforced.objectives.base import Objective
from unforced.parts import (
    Config,
    Named,
    Part,
    Role,
    Tree,
    is_recorded,
    keys_of,
    read,
    read_part,
    settled,
    settled_part,
    tree,
)
from unforced.registry import DECODERS, MODELS
from unforced.tasks.base import Task
from unforced.tasks.sampling import split_size


class Run(Settings):
    """One training run. Equal runs name the same folder and, on one machine, give the same numbers."""

    part_keys: ClassVar[tuple[str, ...]] = ("task", "model", "objective", "decoder")
    _part_kinds: ClassVar[Mapping[str, type[Part]]] = {
        "task": Task,
        "model": ModelConfig,
        "objective": Objective,
        "decoder": Decoder,
    }

    task: Named[Task] = Field(description="the generator of problems and its verifier")
    model: Named[ModelConfig] = Field(description="the architecture")
    objective: Named[Objective] = Field(description="what is trained")
    decoder: Named[Decoder] | None = Field(
        None, description="how answers are written (null: as fits the objective)"
    )

    @model_validator(mode="after")
    def _check(self, info: Any) -> "Run":  # a ValidationInfo, which beartype cannot check
        for key in keys_of(Run, Role.TRAINING_SET) if self.stream else ():
            if getattr(self, key) is not None:
                raise ValueError(f"{key}: a stream has no training set; drop it, or give stream=false")
        if self.stream and self.max_steps is None:
            raise ValueError("max_steps: a stream never ends by itself; give max_steps=STEPS")
        readable = self.task.ready and not is_recorded(info)  # a recorded run's files may be elsewhere now
        if readable:
            self.task.check_data()
        if not self.stream and readable:
            self._check_training_set()
        if self.max_steps is None and self.epochs is None:
            raise ValueError("max_steps: give max_steps or epochs")
        self._check_goals()
        if self.batch_size % self.gradient_accumulation:
            raise ValueError(
                f"gradient_accumulation: {self.gradient_accumulation} does not divide "
                f"batch_size {self.batch_size}"
            )
        self._check_decoder()
        if readable or not self.task.file_fields:
            check_positions(self.objective, self.task.answer_length, "this task")
            self._check_parts()
        if not is_recorded(info):  # a recorded run was checked, and its model may be elsewhere now
            self._check_attention()
        if self.model.origin.keeps_bf16 and self.precision == "fp32":
            raise ValueError("precision: fp32 does not go with weights in bf16; use precision=bf16-mixed")
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate: {self.min_learning_rate:g} is above learning_rate {self.learning_rate:g}"
            )
        return self

    def _check_training_set(self) -> None:
        """Check the size of a finite training set against the problems that there are."""
        size = split_size(self.task, "train")
        if self.num_train is None and size is None:
            raise ValueError("num_train: give the size of the training set, or stream=true")
        if self.num_train is not None and size is not None and self.num_train > size:
            raise ValueError(
                f"num_train: {self.num_train:,} problems, but {self.task} has {size:,} in its training "
                f"split; give {size} at the most, or null for all"
            )

    def _check_decoder(self) -> None:
        """Check that the decoder fits the objective, and that its settings are those of training."""
        try:
            decoder = self.decoding
        except ValueError as error:
            raise ValueError(f"decoder.{error}") from None
        if not self.objective.fits(decoder):
            raise ValueError(
                f"decoder: {decoder.name} does not fit the objective {self.objective.name}; "
                f"choose {' or '.join(_decoders_for(self.objective))}, or null; a decoder of your own names "
                "the objectives that it fits (objectives)"
            )

    def _check_goals(self) -> None:
        """Check that each graph's goals are in one batch, and in the training set together."""
        goals = self.goals_per_graph
        if goals == 1:
            return
        if goals > (most := _questions(self.task)):
            asked = "1 question" if most == 1 else f"at most {most} questions"
            raise ValueError(
                f"goals_per_graph: {self.task} asks {asked} of each graph or other material, not {goals}; "
                f"give {'1' if most == 1 else f'at most {most}'}"
            )
        for key, count in (("batch_size", self.batch_size), ("num_train", self.num_train)):
            if count is not None and count % goals:
                below = count // goals * goals
                fitting = " or ".join(f"{key}={n}" for n in (below, below + goals) if n)
                raise ValueError(f"goals_per_graph: {goals} does not divide {key} {count}; use {fitting}")

    def _check_parts(self) -> None:
        """Check settings of the parts against the answer's tokens, where these are the task's symbols."""
        if isinstance(self.model, FromScratch):
            check_length(self.objective, self.decoding, self.task.answer_length + self.task.varied)

    def _check_attention(self) -> None:
        needed = self.objective.needs.attention
        if needed == "causal" or needed in self.model.attends:
            return
        able = [name for name in MODELS.names() if needed in _attends(name)]
        raise ValueError(
            f"objective {self.objective.name} needs {needed} attention; model {self.model.name} is "
            f"{' and '.join(sorted(self.model.attends))} only; use model={' or model='.join(able)}"
        )

    @property
    def title(self) -> str:
        """The task, the kinds of model and objective, and the data, in a line."""
        order = "" if self.order == "forward" else f" {self.order}"
        data = "a stream" if self.stream else size_in_words(self.num_train)
        return f"{self.task}, {self.model.name}, {self.objective.name}{order}, {data}"

    @property
    def training_count(self) -> int | None:
        """How many problems the training set has; None for a stream."""
        if self.stream or self.num_train is not None:
            return self.num_train
        return split_size(self.task, "train")

    @cached_property
    def codec(self) -> Codec:
        """How the run's model reads and writes the task's problems."""
        return build_codec(self.task, self.model.vocabulary(), self.objective.needs.specials)

    @property
    def decoding(self) -> Decoder:
        """The decoder that writes the answers."""
        return self.objective.decoding(self.decoder)

    @property
    def trained_mode(self) -> Mode:
        """The mode of measuring that gives a position the inputs of training."""
        return trained_mode(self.objective.shows, self.decoding.writes)

    @property
    def exact_measures(self) -> tuple[str, ...]:
        """The accuracies that are all near one where all that is trained is right."""
        return exact_measures(self.trained_mode, self.objective.train_positions)

    @property
    def forced_note(self) -> str:
        """What a reader of forced accuracies must know; empty where nothing."""
        return forced_note(self.objective.name, self.objective.shows)

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole run: max_steps or epochs, whichever comes first."""
        limits = [self.max_steps] if self.max_steps is not None else []
        count = None if self.epochs is None else self.training_count
        if self.epochs is not None and count is not None:
            limits.append(max(1, self.epochs * count // self.batch_size))
        return min(limits)

    @property
    def fingerprint(self) -> str:
        """Hash of all that changes the experiment and is not at its default (16 hexadecimal digits)."""
        operational = keys_of(Run, Role.OPERATIONAL)
        changed = tree(self, changed=True)
        return fingerprint({key: value for key, value in changed.items() if key not in operational})

    def changes(self, other: "Run") -> list[str]:
        """Return the dotted keys in which another run is another experiment."""
        hashes = [f"task.{digest}" for digest in self.task.file_fields.values()]
        return changes(flatten(self.tree()), flatten(other.tree()), keys_of(Run, Role.OPERATIONAL), hashes)

    def belongs(self, recorded: Mapping[str, Any]) -> bool:
        """Whether a recorded config is of this experiment. Raises UserError if it is the config of none."""
        return not self.changes(Run.from_tree(recorded))

    def tree(self) -> Tree:
        """Every field, as JSON values: the parts first."""
        found = tree(self)
        return {key: found[key] for key in sorted(found, key=lambda key: key not in self.part_keys)}

    @classmethod
    def from_tree(cls, recorded: Mapping[str, Any]) -> "Run":
        """Build a run from what `tree` returned. Raises UserError: one line that names the path."""
        return read(cls, recorded, recorded=True)

    def replace(self, **changes: Any) -> "Run":
        """Return this run with other values in some fields. Raises UserError.

        A mapping changes fields of a part: `task={"degree": 5}`. A name, a mapping with a name, or a part
        replaces the part; what is not given is at its default. `stream=True` drops what only a finite
        training set has.
        """
        fields = {key: getattr(self, key) for key in Run.model_fields}
        for key, value in sorted(changes.items(), key=lambda item: item[0] == "decoder"):
            known = fields.get(key)
            if key == "decoder" and known is None and isinstance(value, Mapping):
                known = _objective(fields).default_decoder
            fields[key] = _updated(known, value, self._part_kinds.get(key))
        return read(Run, fields | self._dropped(fields["stream"], changes), is_settled=True)

    def override(self, assignments: Iterable[str]) -> "Run":
        """Return this run with `dotted.key=value` assignments applied, in order: for what a user types.

        Those of the decoder come last, since its settings begin with those that fit the objective.
        A value is read as JSON (.8 as 0.8), and as text where it is not JSON. A name replaces a part by that
        kind with its defaults (`objective=teacherless`); `stream=true` drops what only a finite training set
        has. Raises UserError.
        """
        fields = self.tree()
        given = sorted(assignments, key=lambda each: each.startswith(("decoder=", "decoder.")))
        for assignment in given:
            if assignment.startswith("decoder.") and fields["decoder"] is None:
                fields["decoder"] = tree(_objective(fields).default_decoder)
            self._spell_out(fields, assignment.partition("=")[0])
            assign(fields, assignment, self.part_keys)
        named = [assignment.partition("=")[0] for assignment in given]
        for key, kind in self._part_kinds.items():
            _settle(kind, key, fields[key], named)
        try:
            return read(Run, fields | self._dropped(fields["stream"], named), is_settled=True)
        except ConfigError as error:
            raise ConfigError(with_quoting(str(error), given), error.part, error.newer) from None

    def _spell_out(self, fields: Tree, path: str) -> None:
        """Fill in the defaults of a part that was chosen by name, where a path leads into one of them."""
        key, *below = path.split(".")
        if key in self._part_kinds and len(below) > 1 and isinstance(fields[key], dict):
            with suppress(UserError):  # of what is said more exactly when all is read
                fields[key] = tree(read_part(self._part_kinds[key], key, fields[key]))

    def _dropped(self, stream: Any, given: Iterable[str]) -> Tree:
        if stream is not True or self.stream:
            return {}
        return {key: None for key in keys_of(Run, Role.TRAINING_SET) if key not in given}


def check_length(objective: Objective, decoder: Decoder, answer: int) -> None:
    """Raise ValueError if a setting of objective or decoder does not go with answers of `answer` tokens."""
    for key, part in (("objective", objective), ("decoder", decoder)):
        try:
            part.check(answer)
        except ValueError as error:
            raise ValueError(f"{key}.{error}") from None


def build_decoder(fields: Tree) -> Decoder:
    """Build a decoder from its name and its other fields. Raises UserError."""
    return read_part(Decoder, "decoder", fields)  # type: ignore[type-abstract]


def _objective(fields: Tree) -> Objective:
    return read_part(Objective, "objective", fields["objective"])  # type: ignore[type-abstract]


def _decoders_for(objective: Objective) -> list[str]:
    """Return the names of the decoders that fit an objective, with their default settings."""
    fitting = []
    for name in DECODERS.names():
        with suppress(ValidationError, UserError):  # one of another package, without a setting that it needs
            if objective.fits(DECODERS.get(name)()):
                fitting.append(name)
    return fitting


def _questions(task: Task) -> int:
    """Count the questions that there are about the material of one problem."""
    ahead = task.lookahead
    one = task.sample(np.random.default_rng(0), 1)
    return 1 if ahead is None else 1 + len(ahead.counterfactual_prompts(one))


def _attends(name: str) -> frozenset[str]:
    """Return how a model with its default settings attends; nothing, where it has none."""
    try:
        return MODELS.get(name)().attends
    except (ValidationError, UserError):
        return frozenset()


def build_task(name: str, fields: Tree) -> Task:
    """Build a task by name, with its other fields as given. Raises UserError."""
    return read_part(Task, "task", fields | {"name": name})  # type: ignore[type-abstract]


def _updated(known: Any, value: Any, kind: type[Part] | None = None) -> Any:
    """Return a part with some fields changed, where a mapping without a name is given for one.

    kind: of parts that the value may be the fields of.
    """
    if not isinstance(known, BaseModel) or not isinstance(value, Mapping) or "name" in value:
        return value if kind is None else settled_part(kind, value)
    fields = {key: getattr(known, key) for key in type(known).model_fields}
    given = settled(type(known), value) if isinstance(known, Config) else value
    return fields | {key: _updated(getattr(known, key, None), item) for key, item in given.items()}


def _settle(kind: type[Part], key: str, fields: Any, named: Collection[str]) -> None:
    """Make the paths absolute that an override named, in the fields of the part at a key."""
    if isinstance(fields, dict):
        given = {name: value for name, value in fields.items() if {key, f"{key}.{name}"} & {*named}}
        fields |= settled_part(kind, given | {"name": fields.get("name")})
