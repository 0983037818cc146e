"""The run's config: exact round trips, overrides, one line for each mistake, and the fingerprint."""

import json
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import Field

from tests.runs import tiny_run
from unforced.config import Run, assignments, flatten
from unforced.errors import UserError
from unforced.models.gpt import GPT
from unforced.objectives.base import Objective
from unforced.objectives.next_token import NextToken
from unforced.objectives.teacherless import Teacherless
from unforced.parts import Named
from unforced.recipes import resolve
from unforced.registry import OBJECTIVES, RECIPES, TASKS
from unforced.tasks.path_star import PathStar

BASE = tiny_run("epochs=5")


def recipes():
    for name in RECIPES.names():
        found = resolve(name, [])
        yield from [found] if isinstance(found, Run) else found.values()


def mistake(*overrides, run=BASE):
    with pytest.raises(UserError) as error:
        run.override(overrides)
    return str(error.value)


def through_json(run):
    return Run.from_tree(json.loads(json.dumps(run.tree())))


def test_every_recipe_comes_back_from_json():
    for run in recipes():
        assert through_json(run) == run
        assert through_json(run).fingerprint == run.fingerprint


def test_the_tree_holds_every_field():
    tree = BASE.tree()
    assert set(tree) == set(Run.model_fields)
    assert tree["task"] == PathStar(degree=2, path_length=3, num_nodes=12).model_dump()
    assert set(tree["model"]) == set(GPT.model_fields)
    assert tree["betas"] == [0.9, 0.999]


@pytest.mark.parametrize("part", ["task", "model", "objective"])
def test_a_tree_without_a_part_or_with_an_unknown_field_is_refused(part):
    tree = BASE.tree()
    with pytest.raises(UserError, match=f"^{part}.colour: unknown key 'colour'; "):
        Run.from_tree(tree | {part: tree[part] | {"colour": 1}})
    with pytest.raises(UserError, match=f"^{part}: missing$"):
        Run.from_tree({key: value for key, value in tree.items() if key != part})


def test_nested_overrides_change_their_field_alone():
    run = BASE.override(["task.degree=3", "model.heads=null", "model.init_std=0.5", "betas=[0.5,0.6]"])
    before, after = flatten(BASE.tree()), flatten(run.tree())
    assert {key: value for key, value in after.items() if value != before[key]} == {
        "task.degree": 3,
        "model.heads": None,
        "model.init_std": 0.5,
        "betas": [0.5, 0.6],
    }


def test_no_overrides_change_nothing():
    assert BASE.override([]) == BASE
    assert through_json(BASE).override([]) == BASE


def test_the_last_assignment_wins():
    assert BASE.override(["seed=3", "seed=4"]).seed == 4


@pytest.mark.parametrize("text", ["reversed", '"reversed"'])
def test_text_needs_no_quotes(text):
    assert BASE.override([f"order={text}"]).order == "reversed"


@pytest.mark.parametrize(("text", "number"), [(".02", 0.02), ("1.", 1.0)])
def test_a_number_needs_no_digit_on_both_sides_of_its_point(text, number):
    assert BASE.override([f"learning_rate={text}"]).learning_rate == number


@pytest.mark.parametrize("assignment", ["objective=teacherless", "objective.name=teacherless"])
def test_a_part_is_chosen_by_name(assignment):
    assert isinstance(BASE.objective, NextToken)
    run = BASE.override([assignment])
    assert run.objective == Teacherless()
    assert run.override(["objective=next_token"]) == BASE


def test_a_name_or_an_object_replaces_a_part_by_one_with_its_defaults():
    assert BASE.override(["model=gpt"]).model == GPT()
    assert BASE.override(['model={"name": "gpt", "width": 128}']).model == GPT(width=128)
    assert BASE.override(["model.width=32"]).model == BASE.model.model_copy(update={"width": 32})


def test_a_part_chosen_by_name_takes_overrides_after_it():
    assert BASE.override(["model=gpt", "model.width=128"]).model == GPT(width=128)


def test_assignments_make_a_tree():
    assert assignments(["num_nodes=50", "name=x"]) == {"num_nodes": 50, "name": "x"}


class Compound(NextToken):
    """An objective that is made of others, in a list and by itself."""

    name: Literal["compound"] = "compound"
    parts: tuple[Named[Objective], ...] = Field(min_length=1, description="what is added up")
    first: Named[Objective] | None = Field(None, description="what is trained at first")
    weight: float = Field(1.0, ge=0, description="of the sum")


@pytest.fixture
def mixed():
    with OBJECTIVES.holding(compound="tests.test_config:Compound"):
        yield BASE.override(
            ['objective={"name": "compound", "parts": ["next_token", {"name": "teacherless"}]}']
        )


def test_parts_are_named_anywhere_in_the_tree(mixed):
    assert mixed.objective.parts == (NextToken(), Teacherless())
    assert through_json(mixed) == mixed
    flat = flatten(mixed.tree())
    assert flat["objective.parts.1.name"] == "teacherless"
    assert flat["objective.first"] is None
    deep = mixed.replace(objective={"first": {"name": "compound", "parts": [Teacherless()], "weight": 2}})
    assert deep.objective.first == Compound(parts=(Teacherless(),), weight=2.0)
    assert deep.objective.parts == mixed.objective.parts
    assert through_json(deep) == deep
    assert len({run.fingerprint for run in (BASE, mixed, deep, mixed.override(["objective.weight=3"]))}) == 4


def test_overrides_reach_into_lists_of_parts(mixed):
    positions = "objective.parts.1.train_positions=[1]"
    assert mixed.override([positions]).objective.parts == (NextToken(), Teacherless(train_positions=(1,)))
    swapped = ["objective.parts.0=teacherless", "objective.parts.0.train_positions=[0]"]
    assert mixed.override(swapped).objective.parts[0] == Teacherless(train_positions=(0,))
    anew = ['objective.parts=["teacherless"]', "objective.parts.0.train_positions=[0]"]
    assert mixed.override(anew).objective.parts == (Teacherless(train_positions=(0,)),)
    assert mixed.override(["objective.first=next_token"]).objective.first == NextToken()
    assert mixed.override(["betas.0=0.5"]).betas == (0.5, 0.999)
    for override, line in {
        "objective.parts.0=teacherles": (
            "objective.parts.0: unknown objective 'teacherles'; did you mean 'teacherless'?"
        ),
        "objective.parts.0.train_position=[1]": (
            "objective.parts.0.train_position: unknown key 'train_position'; did you mean 'train_positions'?"
        ),
        "objective.parts.0.train_positions=[]": (
            "objective.parts.0.train_positions: should have at least 1 item, not 0"
        ),
        "objective.parts.2=next_token": (
            "objective.parts.2: '2' is not an item of this list; its items are 0 to 1"
        ),
        "objective.parts.x.name=next_token": (
            "objective.parts.x.name: 'x' is not an item of this list; its items are 0 to 1"
        ),
        "objective.parts=[3]": f"objective.parts.0: give a name, one of {', '.join(OBJECTIVES.names())}",
        "objective.first.name=next_token": (
            "objective.first.name: objective.first is null; write objective.first=VALUE before it"
        ),
        "objective.part.0=next_token": "objective.part.0: unknown key 'part'; did you mean 'parts'?",
    }.items():
        assert mistake(override, run=mixed) == line


def test_values_replace_fields_and_parts():
    assert BASE.replace() == BASE
    run = BASE.replace(order="reversed", task={"degree": 3}, objective="teacherless", betas=[0.5, 0.6])
    texts = ["order=reversed", "task.degree=3", "objective=teacherless", "betas=[0.5,0.6]"]
    assert run == BASE.override(texts)
    assert BASE.replace(model={"name": "gpt", "width": 32}).model == GPT(width=32)
    assert BASE.replace(model=GPT(width=32), seed=1) == BASE.override(
        ["model=gpt", "model.width=32", "seed=1"]
    )
    assert BASE.replace(stream=True) == BASE.override(["stream=true"])
    assert BASE.replace(decoder={"temperature": 0.5}).decoder.temperature == 0.5
    for changes, line in {
        "sed": "sed: unknown key 'sed'; did you mean 'seed'?",
        "task": "task.degre: unknown key 'degre'; did you mean 'degree'?",
        "objective": "unknown objective 'teacherles'; did you mean 'teacherless'?",
        "seed": 'seed: input should be a valid integer, not "1"',
    }.items():
        value = {"sed": 1, "task": {"degre": 1}, "objective": "teacherles", "seed": "1"}[changes]
        with pytest.raises(UserError) as error:
            BASE.replace(**{changes: value})
        assert str(error.value) == line


ALL_TASKS = ", ".join(TASKS.names())
NO_JSON = "is not JSON: text has double quotes, and numbers begin with a digit, as in"
MISTAKES = {
    "": "'' is not an override; write dotted.key=value, as in seed=3",
    "seed": "'seed' is not an override; write dotted.key=value, as in seed=3",
    "=3": "'=3' is not an override; write dotted.key=value, as in seed=3",
    "batchsize=3": "batchsize: unknown key 'batchsize'; did you mean 'batch_size'?",
    "task.degre=3": "task.degre: unknown key 'degre'; did you mean 'degree'?",
    "objectiv.name=x": "objectiv.name: unknown key 'objectiv'; did you mean 'objective'?",
    "zzz.degree=3": "zzz.degree: unknown key 'zzz'; choose from model, objective, task",
    "objective=teacherles": "unknown objective 'teacherles'; did you mean 'teacherless'?",
    "task=star": "unknown task 'star'; did you mean 'path_star'?",
    "model=zzz": "unknown model 'zzz'; choose from gpt, mamba, pretrained",
    "task=null": f"task: give a name, one of {ALL_TASKS}",
    "task.name=null": f"task: give a name, one of {ALL_TASKS}",
    "seed=1.5": "seed: input should be a valid integer, not 1.5",
    "seed=": 'seed: input should be a valid integer, not ""',
    "seed=-1": "seed: input should be greater than or equal to 0, not -1",
    "learning_rate=fast": 'learning_rate: input should be a valid number, not "fast"',
    "betas=0.9": "betas: input should be a valid list, not 0.9",
    'betas=[0.9,"x"]': 'betas.1: input should be a valid number, not "x"',
    "betas=[0.9]": "betas.1: missing",
    "betas=[a]": f"betas: [a] {NO_JSON} 'betas=[\"a\", 0.5]'",
    "task={name: path_star}": f"task: {{name: path_star}} {NO_JSON} 'task={{\"a\": 0.5}}'",
    "task.degree=0": "task.degree: input should be greater than or equal to 1, not 0",
    "task.num_nodes=4": (
        "task.num_nodes: a graph of degree 2 and path_length 3 has 5 nodes, more than num_nodes 4; "
        "use num_nodes=5 or more"
    ),
    "gradient_accumulation=5": "gradient_accumulation: 5 does not divide batch_size 32",
    "num_train=null": "num_train: give the size of the training set, or stream=true",
    "min_learning_rate=1": "min_learning_rate: 1 is above learning_rate 0.01",
    "order.x=3": "order.x: order has no keys below it; write order=value",
    "task.degree.x=3": "task.degree.x: degree has no keys below it; write task.degree=value",
    "task.num_nodes=99999999999": (
        "task.num_nodes: input should be less than or equal to 10000000, not 99999999999"
    ),
    "task.degree=1000000000": "task.degree: input should be less than or equal to 9999, not 1000000000",
    "task.path_length=9999": (
        "task.path_length: a graph of degree 2 and path_length 9999 has 19997 nodes, more than 10000; "
        "lower path_length or degree"
    ),
}


@pytest.mark.parametrize("assignment", MISTAKES)
def test_a_mistake_is_one_line(assignment):
    assert mistake(assignment) == MISTAKES[assignment]


@pytest.mark.parametrize(
    ("text", "kind"), [("12345e7", "a number"), ("1234567", "a number"), ("true", "JSON")]
)
def test_text_that_json_takes_for_something_else_is_to_be_quoted(text, kind):
    message = f"model.revision: {text} is read as {kind}, not as text; quote it: 'model.revision=\"{text}\"'"
    model = ["model=pretrained", "model.name_or_path=owner/name"]
    assert mistake(*model, f"model.revision={text}") == message


def test_a_run_without_an_end_is_refused():
    assert mistake("max_steps=null", "epochs=null") == "max_steps: give max_steps or epochs"
    assert mistake("max_steps=null", "stream=true") == (
        "max_steps: a stream never ends by itself; give max_steps=STEPS"
    )


def test_a_key_below_a_plain_value_of_an_empty_tree_is_explained():
    with pytest.raises(
        UserError, match=r"^num_nodes.x: num_nodes has no keys below it; write num_nodes=value$"
    ):
        assignments(["num_nodes.x=2"])


@pytest.mark.parametrize("text", ["1" * 5000, "[" * 100_000], ids=["digits", "brackets"])
def test_a_value_beyond_what_json_takes_is_refused(text):
    assert "seed" in mistake(f"seed={text}")[:100]


@pytest.mark.parametrize(
    "assignment",
    [
        "betas=[5,-3]",
        "betas=[0.9,1.0]",
        "betas=[NaN,0.9]",
        "learning_rate=Infinity",
        "learning_rate=NaN",
        "weight_decay=1e400",
        f"seed={2**64}",
    ],
)
def test_a_number_that_no_training_can_take_is_refused(assignment):
    assert mistake(assignment).startswith(assignment.split("=")[0])


def test_a_stream_drops_the_size_of_a_training_set_and_epochs():
    stream = BASE.override(["stream=true"])
    assert (stream.num_train, stream.epochs, stream.num_steps) == (None, None, 40)
    assert BASE.override(["num_train=77"]).override(["stream=true"]) == stream
    assert through_json(stream) == stream


@pytest.mark.parametrize("key", ["num_train", "epochs"])
@pytest.mark.parametrize("stream", [["stream=true"], []])
def test_a_stream_is_not_given_a_training_set(key, stream):
    base = BASE if stream else BASE.override(["stream=true"])
    line = f"^{key}: a stream has no training set; drop it, or give stream=false$"
    with pytest.raises(UserError, match=line):
        base.override([f"{key}=7", *stream])
    assert base.override([f"{key}=null", *stream]).stream
    with pytest.raises(UserError, match=line):
        Run.from_tree(base.override(stream).tree() | {key: 7})
    assert base.override(["num_train=7", "epochs=7", "stream=false"]).num_train == 7


@pytest.mark.parametrize(
    ("max_steps", "epochs", "num_train", "batch_size", "steps"),
    [
        (40, "null", 300, 32, 40),
        (40, 2, 64, 32, 4),
        (3, 2, 64, 32, 3),
        ("null", 5, 10, 4, 12),
        ("null", 1, 10, 32, 1),
        ("null", 100, 200_000, 256, 78_125),
    ],
)
def test_a_run_ends_at_its_first_limit(max_steps, epochs, num_train, batch_size, steps):
    values = f"max_steps={max_steps} epochs={epochs} num_train={num_train} batch_size={batch_size}"
    assert BASE.override(values.split()).num_steps == steps


OPERATIONAL = {"checkpoint_every": 7, "keep_checkpoints": 5}
CHANGES = {
    "task.degree": 3, "task.path_length": 4, "task.num_nodes": 13, "model.width": 32,
    "model.tie_embeddings": True,
    "objective.name": "teacherless", "decoder.temperature": 1.0, "order": "reversed", "seed": 1,
    "stream": True, "num_train": 301, "goals_per_graph": 2,
    "batch_size": 64, "gradient_accumulation": 2, "max_steps": 41, "max_seconds": 9.5,
    "epochs": 6, "stop_when": "solved", "train_past_stop": 1.5,
    "learning_rate": 0.02, "schedule": "cosine", "schedule_steps": 9, "min_learning_rate": 0.001,
    "optimizer": "muon", "muon_factor": 2.0, "warmup_steps": 1, "warmup_from_zero": True,
    "betas": [0.9, 0.99], "weight_decay": 0.02,
    "clip_norm": None, "precision": "auto", "compile": True,
    "evaluate_every": 11, "num_evaluate": 51, "num_test": 61,
}  # fmt: skip


def test_every_field_is_of_the_experiment_or_operational():
    assert {key.split(".")[0] for key in CHANGES} == set(Run.model_fields) - set(OPERATIONAL)


def test_the_fingerprint_changes_with_every_field_of_the_experiment():
    changed = [BASE.override([f"{key}={json.dumps(value)}"]) for key, value in CHANGES.items()]
    fingerprints = {run.fingerprint for run in [BASE, *changed]}
    assert len(fingerprints) == len(CHANGES) + 1


@pytest.mark.parametrize("key", OPERATIONAL)
def test_the_fingerprint_does_not_change_with_operational_fields(key):
    run = BASE.override([f"{key}={OPERATIONAL[key]}"])
    assert run != BASE
    assert run.fingerprint == BASE.fingerprint


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from([*flatten(BASE.tree()), "task", "model", "objective", "task.degree.x"])
NAMES = st.sampled_from(["path_star", "gpt", "teacherless", "next_token", "cosine", "reversed", "1e9", "-0"])
OVERRIDES = st.builds("{}={}".format, KEYS | st.text(max_size=8), JSON.map(json.dumps) | st.text() | NAMES)


@settings(deadline=None, max_examples=200)
@given(st.lists(OVERRIDES | st.text(), min_size=1, max_size=3))
@example(["\n=3"])
def test_any_override_gives_a_run_or_one_line(overrides):
    try:
        run = BASE.override(overrides)
    except UserError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
    else:
        assert through_json(run).tree() == run.tree()
        assert through_json(run).fingerprint == run.fingerprint
