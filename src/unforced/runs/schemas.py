"""The shapes of a run folder's JSON: what is read back must have them, and may hold more."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from unforced.errors import UserError
from unforced.tasks.base import Order


class Record(BaseModel):
    """A JSON object with these keys, of exactly these types."""

    model_config = ConfigDict(strict=True)


class Part(Record):
    """A part of a run that is chosen by its name."""

    name: str


class Config(Record):
    """config.json, as far as a report depends on it."""

    task: Part
    model: Part
    objective: Part
    order: Order
    seed: NonNegativeInt


class Environment(Record):
    """env.json, as far as a resumed run depends on it."""

    implementation: dict[str, str]


class Count(Record):
    """So many right out of so many."""

    correct: NonNegativeInt
    total: PositiveInt


class PositionCount(Record):
    """The same of an answer position, which no answer may reach."""

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
    sha256: dict[str, str]
    frozen_sha256: str | None = None


class Proportion(Count):
    """A count with its share and the share's interval."""

    value: float
    low: float
    high: float


DIVERGED = "diverged"
"""What ends a run whose loss or gradient is not finite; its results are those of its last finite weights."""


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
    """What a picture of a problem shows; empty where there is nothing to draw."""

    edges: list[list[str]] = []
    start: str = ""
    goal: str = ""


class Question(Record):
    """One question of traces.json, and what was predicted."""

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
    """Give the keys and kernels of env.json, result.json or diagnosis.json the names that they have now."""
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
    """Give questions of traces.json a prompt and an answer, where they were recorded as one line."""
    problems = traces.get("problems") if isinstance(traces, dict) else None
    if not isinstance(problems, list):
        return traces
    return traces | {"problems": [_with_prompts(questions) for questions in problems]}


def _with_prompts(questions: Any) -> Any:
    if not isinstance(questions, list):
        return questions
    return [_with_prompt(each) if isinstance(each, dict) and "line" in each else each for each in questions]


def _with_prompt(question: dict[str, Any]) -> dict[str, Any]:
    prompt, equals, answer = str(question["line"]).partition("=")
    return {"prompt": prompt + equals, "answer": answer} | question


class ShortVerdict(Record):
    """The verdict of a diagnosis."""

    name: str
    title: str
    because: list[str]


class Diagnosis(Record):
    """diagnosis.json, as far as a report depends on it."""

    verdict: ShortVerdict
    clever_hans: dict[str, Any]
    indecipherable_token: dict[str, Any]


def check(shape: type[Record], value: Any, where: str) -> dict[str, Any]:
    """Return `value` if it has the shape. Raises UserError: one line, beginning with `where`."""
    if not isinstance(value, dict):
        raise UserError(f"{where}: no JSON object")
    try:
        shape.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = "".join(f"{part}: " for part in first["loc"])
        raise UserError(f"{where}: {path}{first['msg'][0].lower()}{first['msg'][1:]}") from None
    return value
