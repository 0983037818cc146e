"""A diagnosis as an object: the verdict, what it rests on, every number, readable in a notebook."""

import itertools
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

from unforced.decoding.base import Decoder
from unforced.elsewhere import as_recorded, diagnose_model, objective_of
from unforced.errors import UserError, unknown
from unforced.evaluation.diagnosis import check_enough
from unforced.evaluation.elsewhere import SETTINGS, Elsewhere, Encoding, Format, Given
from unforced.evaluation.statistics import CONFIDENCE, check_confidence
from unforced.interface.problems import AnyTask, Example, ProblemStream, as_task, problems
from unforced.models.huggingface import FIELD
from unforced.objectives.base import Objective
from unforced.objectives.next_token import NextToken
from unforced.parts import read_part
from unforced.reporting.diagnosis import diagnosis_html, diagnosis_text
from unforced.tasks.base import Order, Task
from unforced.wording import renamed

_COUNT = 2000
_NAMES = {**SETTINGS, FIELD: "network"}


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """Whether a model fails, already in training or only at inference, by which mechanism, how surely.

    name: of the model. values: what diagnosis.json holds; docs/metrics.md defines each number.
    """

    name: str
    values: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        """The name of the failure: `clever_hans`, `memorised`, ..., or `solved`, or `inconclusive`."""
        return str(self.values["verdict"]["name"])

    @property
    def title(self) -> str:
        """The verdict in words."""
        return str(self.values["verdict"]["title"])

    @property
    def reasons(self) -> tuple[str, ...]:
        """What the verdict rests on, a line each."""
        return tuple(self.values["verdict"]["because"])

    @property
    def settle(self) -> str:
        """What would mend the failure, or settle an open question; empty where the model is right."""
        return str(self.values["verdict"]["settle"])

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict and every number as JSON values, as in diagnosis.json."""
        return deepcopy(dict(self.values))

    def explain(self) -> str:
        """Return all of it as text, and below each number what it means."""
        return diagnosis_text(self.name, self.values, explain=True)

    def __str__(self) -> str:
        return diagnosis_text(self.name, self.values, explain=False)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return diagnosis_html(self.name, self.values)


def diagnose(
    network: Any,
    tokenizer: Any = None,
    *,
    task: AnyTask,
    objective: str | Mapping[str, Any] | Objective | None = None,
    decoder: str | Mapping[str, Any] | Decoder | None = None,
    order: Order = "forward",
    encoding: Encoding | None = None,
    mask_token: str | None = None,
    first_symbol: int | None = None,
    template: str | None = None,
    chat: bool = False,
    train: Iterable[Example] | None = None,
    held_out: Iterable[Example] | None = None,
    seed: int = 0,
    count: int = _COUNT,
    confidence: float = CONFIDENCE,
) -> Diagnosis:
    """Diagnose a causal language model of transformers that was trained elsewhere.

    network: the model, with adapters of peft or without; or its folder, or its name on the hub, with the
    tokenizer that is saved there. tokenizer: that of training; None where each symbol of the task is a
    token id, from `first_symbol` (0) on. task, order, objective: the problems, in which order it writes
    answers, and what its inputs were in training (`next_token`: the true answer so far; `teacherless`: mask
    tokens; None: as ObjectiveTrainer wrote into a folder, else `next_token`). Own data have the separator
    that it wrote there, unless the task was given another. encoding: problems as text, closed by the
    tokenizer's end-of-text token, or a token for each symbol (None: as the tokenizer can).
    template: what stood around prompt and answer, as in "Q: {prompt} A: {answer}"; what follows the answer
    ends it. chat: it was the tokenizer's chat template.
    train: the whole training set, as `uf.problems` gives it; of an endless stream, or of more than `count`,
    the first `count` are asked about. held_out: other problems. None: the first `count` of the task's splits
    with this `seed`. confidence: of every interval.

    The network is left as it was. Raises UserError: it cannot be read so, the problems are too few.
    """
    built = as_task(task)
    if isinstance(network, str | PathLike):
        built = as_recorded(built, fspath(network))
    if order not in ("forward", "reversed"):
        raise unknown("order", str(order), ["forward", "reversed"])
    if encoding not in (None, "text", "symbol"):
        raise unknown("encoding", str(encoding), ["text", "symbol"])
    check_confidence(confidence)
    with renamed(_NAMES):
        check_enough(count, confidence, built)
        known = _first(count, problems(built, "train", seed) if train is None else train, "train")
        fresh = _first(count, problems(built, "test", seed) if held_out is None else held_out, "held_out")
        setting = Elsewhere(
            built,
            _objective(network) if objective is None else _part(Objective, "objective", objective),
            order,
            None if decoder is None else _part(Decoder, "decoder", decoder),
            Format(encoding, mask_token, first_symbol or 0, template, chat),
        )
        if isinstance(network, str | PathLike):
            reads_text = first_symbol is None
            found = diagnose_model(fspath(network), setting, known, fresh, confidence, reads_text)
            return Diagnosis(_title(fspath(network), built, found), found)
        found = setting.diagnose(network, tokenizer, known, fresh, confidence)
    return Diagnosis(_title(type(network).__name__, built, found), found)


def _objective(network: Any) -> Objective:
    return objective_of(fspath(network)) if isinstance(network, str | PathLike) else NextToken()


def _title(name: str, task: Task, found: Mapping[str, Any]) -> str:
    """Name a model and its task; and its objective, where it is asked as a model of another."""
    asked = found["asked"]
    if "trained_on" not in asked:
        return f"{name} on {task}"
    return (
        f"{name} on {task} (trained on {asked['trained_on']['name']}, asked as {asked['objective']['name']})"
    )


def _part(kind: type[Any], name: str, given: Any) -> Any:
    return read_part(kind, name, dict(given) if isinstance(given, Mapping) else given)


def _first(count: int, given: Iterable[Example], name: str) -> Given:
    """Return the first `count` problems. Raises UserError if there is none."""
    if isinstance(given, ProblemStream):
        whole = given.count is not None and given.count <= count
        source = f"the {given.split} split (seed {given.seed})"
        return Given((given if whole else given[:count]).arrays(), source, whole)
    examples = list(itertools.islice(given, count + 1))
    if not examples or not all(isinstance(each, Example) for each in examples):
        raise UserError(f"{name}: give problems of uf.problems, as in uf.problems(task, count=1000)")
    kind, first = type(examples[0].problem), examples[:count]
    return Given(kind.concatenate([each.problem for each in first]), name, len(examples) <= count)
