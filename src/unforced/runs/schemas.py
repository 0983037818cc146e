"""Schemas of a run folder's JSON files; files may hold further keys."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from unforced.errors import UserError
from unforced.tasks.base import Order


class Record(BaseModel):
    """A JSON object with these keys, of exactly these types."""

    model_config = ConfigDict(strict=True)


class Part(Record):
    """A part of a run, chosen by its name."""

    name: str


class Config(Record):
    """The keys of config.json that a report needs."""

    task: Part
    model: Part
    objective: Part
    order: Order
    seed: NonNegativeInt


class Environment(Record):
    """The keys of env.json that a resumed run needs."""

    implementation: dict[str, str]


class Count(Record):
    """`correct` of `total` answers."""

    correct: NonNegativeInt
    total: PositiveInt


class PositionCount(Record):
    """A count at an answer position, where `total` is 0 if no answer is that long."""

    correct: NonNegativeInt
    total: NonNegativeInt


class Evaluation(Record):
    """A line of metrics.jsonl."""

    step: NonNegativeInt
    loss: float | None
    samples_per_second: float | None
    train_forced: Count = Field(alias="train.forced.exact")
    train_free: Count = Field(alias="train.free.exact")
    validation_forced: Count = Field(alias="validation.forced.exact")
    validation_free: Count = Field(alias="validation.free.exact")


class CheckpointState(Record):
    """state.json of a checkpoint."""

    format: str
    run: str
    config: dict[str, Any] | None = None
    step: NonNegativeInt
    seconds: float
    training_seconds: float | None = None
    sha256: dict[str, str]
    frozen_sha256: str | None = None


class Proportion(Count):
    """A count with its fraction and the interval of the fraction."""

    value: float
    low: float
    high: float


DIVERGED = "diverged"
"""`ended_by` of a run whose loss or gradient is not finite; the results are of its last finite weights."""

OUT_OF_TIME = "time"
"""`ended_by` of a run that ended because it had trained for `max_seconds`."""


class Result(Record):
    """result.json."""

    steps: NonNegativeInt
    chance: float | None
    ended_by: str = ""
    train_forced: Proportion = Field(alias="train.forced.exact")
    train_free: Proportion = Field(alias="train.free.exact")
    test_forced: Proportion = Field(alias="test.forced.exact")
    test_free: Proportion = Field(alias="test.free.exact")


class Drawing(Record):
    """The graph of a problem, or rows of text, with the model's own right answer; empty if it has none."""

    own: list[str] = []
    edges: list[list[str]] = []
    start: str = ""
    goal: str = ""
    rows: list[str] = []


class Question(Record):
    """One question of traces.json, with the predictions."""

    prompt: str
    answer: str
    drawing: Drawing
    decisive: list[NonNegativeInt]
    true: list[str]
    free: list[str]
    verdict: str
    chances: dict[str, list[list[list[str | float]]]]


class Traces(Record):
    """traces.json."""

    order: Order
    reads_answers: bool
    problems: list[list[Question]]


_PRESENT_NAMES = {
    "matrix_dtype": "autocast_dtype",
    "goal_blindness": "question_blindness",
    "followers": "given_away",
    "other_options": "other_choices",
    "wrong_arm_following": "decoy_following",
}
_KERNELS = {
    "attention": {"explicit": "math", "explicit_fp32": "math_fp32", "fused": "sdpa"},
    "scan": {"steps": "sequential", "doubling": "parallel", "kernels": "mamba_ssm"},
    "convolution": {"shifts": "pytorch", "kernels": "causal_conv1d"},
}


def with_present_names(value: Any) -> Any:
    """Rename keys and kernels of the first release in env.json, result.json or diagnosis.json."""
    if isinstance(value, list):
        return [with_present_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    kernels = value.get("implementation")
    if isinstance(kernels, dict):
        kernels = {kind: _KERNELS.get(kind, {}).get(name, name) for kind, name in kernels.items()}
        value = value | {"implementation": kernels}
    return {_PRESENT_NAMES.get(key, key): with_present_names(item) for key, item in value.items()}


def with_prompts(traces: Any) -> Any:
    """Split questions of traces.json that were recorded as one line into prompt and answer."""
    problems = traces.get("problems") if isinstance(traces, dict) else None
    if not isinstance(problems, list):
        return traces
    return traces | {"problems": [_with_prompts(questions) for questions in problems]}


def _with_prompts(questions: Any) -> Any:
    if not isinstance(questions, list):
        return questions
    return [
        _with_prompt(question) if isinstance(question, dict) and "line" in question else question
        for question in questions
    ]


def _with_prompt(question: dict[str, Any]) -> dict[str, Any]:
    prompt, equals, answer = str(question["line"]).partition("=")
    return {"prompt": prompt + equals, "answer": answer} | question


class ShortVerdict(Record):
    """The verdict of a diagnosis."""

    name: str
    title: str
    because: list[str]


class Diagnosis(Record):
    """The keys of diagnosis.json that a report needs."""

    verdict: ShortVerdict
    clever_hans: dict[str, Any]
    indecipherable_token: dict[str, Any]


def check(shape: type[Record], value: Any, where: str) -> dict[str, Any]:
    """Return `value` if it fits the schema. Raises UserError: one line, beginning with `where`."""
    if not isinstance(value, dict):
        raise UserError(f"{where}: not a JSON object")
    try:
        shape.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = "".join(f"{part}: " for part in first["loc"])
        raise UserError(f"{where}: {path}{first['msg'][0].lower()}{first['msg'][1:]}") from None
    return value
