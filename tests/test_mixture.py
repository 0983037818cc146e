"""Mixtures of objectives: views, weights, names of terms, heads of the right part, and bad settings."""

import pytest
import torch

from tests.every_objective import every_objective
from tests.objectives import Scribbled
from tests.runs import tiny_run
from unforced.config import Run
from unforced.decoding.one_pass import OnePass
from unforced.errors import UserError
from unforced.models.gpt import GPT
from unforced.objectives.base import Needs, Objective
from unforced.objectives.mixture import Mixture, MixturePart
from unforced.objectives.moment import Moment
from unforced.objectives.next_token import NextToken
from unforced.objectives.schedule import Schedule
from unforced.objectives.teacherless import Teacherless
from unforced.registry import OBJECTIVES
from unforced.testing import check_objective
from unforced.testing.check_objectives import CASES, ObjectiveSubject, readings, small_transformer
from unforced.training.flops import flops_of
from unforced.training.train_module import build_train_module, loss_of

STAR, _, RAGGED = CASES


def mixture(*parts, **more):
    """A mixture of (objective, weight)."""
    return Mixture(parts=tuple(MixturePart(objective=each, weight=weight) for each, weight in parts), **more)


def subject(objective, case=STAR):
    return ObjectiveSubject(objective, small_transformer(), *case)


def test_each_part_has_its_own_view_of_the_batch():
    batch = subject(Mixture()).batch
    view = Mixture().view(batch, Moment(6))
    answers = [part.inputs[:, batch.prompt.shape[1] :] for part in view.parts]
    assert torch.equal(answers[0], batch.answer[:, :-1])
    assert (answers[1] == batch.mask_token).all()
    terms = {name: (term.count.tolist(), term.weight) for name, term in view.terms.items()}
    assert terms == {"next_token.answer": ([3] * 6, 0.5), "teacherless.answer": ([3] * 6, 0.5)}


@pytest.mark.parametrize("name", every_objective())
def test_its_losses_are_those_of_its_parts_and_a_decoder_of_a_part_writes(name):
    parts = (every_objective()[name], 2.0), (Teacherless(), 0.25)
    both = subject(mixture(*parts), RAGGED)
    module, batch, moment = both.module, both.batch, both.moment()
    found, expected, whole = both.losses(batch), {}, 0.0
    for place, (key, (part, weight)) in enumerate(zip(both.objective.objectives, parts, strict=True)):
        view = part.view(batch, moment.part(place))
        for term, rows in part.loss(module.model, module.heads[place], view).items():
            expected[f"{key}.{term}"] = rows
            whole += weight * view.terms[term].weight * rows.sum() / view.terms[term].count.sum()
    assert [*found] == [*expected]
    for term, rows in expected.items():
        torch.testing.assert_close(found[term][0], rows, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(loss_of(module, both.objective.view(batch, moment)), whole, rtol=1e-4, atol=0)
    assert both.decoder.decode(module.model, both.heads, batch.prompts).shape == batch.answer.shape


def separately(monkeypatch, subject):
    """The losses where each part is read in a pass of its own."""
    with monkeypatch.context() as patch:
        patch.setattr(subject.module.model, "attends", frozenset({"causal"}), raising=False)
        return subject.losses(subject.batch)


@pytest.mark.parametrize("case", [STAR, RAGGED], ids=["even", "ragged"])
@pytest.mark.parametrize(
    "model", [small_transformer(), GPT(layers=2, width=16, heads=2, positions="learned", token_shift=True)]
)
def test_plain_parts_share_one_reading_of_the_prompt(monkeypatch, case, model):
    objective = mixture((NextToken(), 1.0), (Scribbled(), 1.0), (Teacherless(), 0.5))
    checked = ObjectiveSubject(objective, model, *case)
    batch = checked.batch
    with readings(checked.module) as read:
        found = checked.losses(batch)
    prompt, answer = batch.prompt.shape[1], batch.answer.shape[1]
    # `Scribbled` asks the model itself
    assert [each.length for each in read] == [prompt + 2 * (answer - 1), prompt + answer - 1]
    for name, (rows, _) in separately(monkeypatch, checked).items():
        torch.testing.assert_close(found[name][0], rows, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", every_objective())
def test_it_costs_at_most_what_its_parts_cost_alone(name):
    objective, run = every_objective()[name], tiny_run()
    Objective.registry.add(type(objective))
    alone = sum(flops_of(run.replace(objective=each)) for each in (objective, Teacherless()))
    together = flops_of(run.replace(objective=mixture((objective, 1.0), (Teacherless(), 1.0))))
    assert together <= 1.001 * alone  # the special tokens of one are in the vocabulary of both


def test_weights_follow_their_schedules():
    objective = mixture((NextToken(), Schedule(first=1, last=0, begin=0.5)), (Teacherless(), 0.3))
    weights = [
        [round(term.weight, 9) for term in objective.view(subject(objective).batch, moment).terms.values()]
        for moment in (Moment(6, step=step, num_steps=4) for step in range(4))
    ]
    assert weights == [[1, 0.3], [1, 0.3], [1, 0.3], [0.5, 0.3]]


def test_parts_of_one_kind_have_names_and_noise_of_their_own():
    objective = mixture((Teacherless(), 1.0), (Scribbled(), 1.0), (Scribbled(), 1.0))
    view = objective.view(subject(objective).batch, Moment(6))
    assert [*view.terms][1:4] == ["scribbled.answer", "scribbled.head", "scribbled_2.answer"]
    assert not torch.equal(view.parts[1].weights, view.parts[2].weights)


def test_positions_to_train_are_those_of_the_mixture_where_a_part_has_none():
    objective = mixture((NextToken(), 1.0), (Teacherless(train_positions=(1,)), 1.0))
    counts = [
        term.count[0].item() for term in objective.view(subject(objective).batch, Moment(6)).terms.values()
    ]
    assert counts == [3, 1]
    some = mixture((NextToken(), 1.0), (Teacherless(train_positions=(1,)), 1.0), train_positions=(0, 1))
    counts = [term.count[0].item() for term in some.view(subject(some).batch, Moment(6)).terms.values()]
    assert counts == [2, 1]


class Needy(NextToken):
    """Next token, with a mask, a special token and a length of its own."""

    name: str = "needy"

    @property
    def needs(self):
        return Needs("mask", ("bos", "class"))

    def sequence_length(self, prompt, answer):
        return 2 * prompt


def test_a_mixture_needs_what_its_parts_need():
    objective = mixture((Teacherless(), 1.0), (Needy(), 1.0), (Scribbled(), 0.1))
    assert objective.needs == Needs("mask", ("bos", "class"))
    assert objective.sequence_length(9, 3) == 18
    assert objective.default_decoder == OnePass()


@pytest.mark.parametrize(
    ("parts", "shows"),
    [
        (["teacherless", "teacherless"], "nothing"),
        (["teacherless", "scribbled"], "parts"),
        (["scribbled", "next_token"], "prefix"),
        (["teacherless", {"objective": "next_token", "weight": {"first": 1.0, "last": 0.0}}], "prefix"),
        ([{"name": "mixture", "parts": ["teacherless"]}], "nothing"),
    ],
)
def test_it_shows_the_most_that_a_part_shows(parts, shows):
    Objective.registry.add(Scribbled)
    assert Mixture.model_validate({"parts": parts}).shows == shows


def test_a_decoder_gets_the_heads_of_the_part_that_it_fits():
    inner = mixture((Scribbled(), 1.0), (Teacherless(), 1.0))
    both = subject(mixture((Teacherless(), 1.0), (inner, 0.5)))
    heads, decoders = both.module.heads, [each.default_decoder for each in (Teacherless(), Scribbled())]
    assert both.objective.heads_for(decoders[0], heads) is heads[0]
    assert mixture((inner, 1.0)).heads_for(decoders[1], heads[1:]) is heads[1][0]


def test_it_keeps_to_the_contract_with_heads_schedules_and_a_mixture_inside():
    inner = mixture((Scribbled(), Schedule(first=0, last=2)), (NextToken(), 1.0))
    check_objective(mixture((Teacherless(), 0.1), (inner, 0.5)))


def test_settings_are_overridden_by_path_and_read_back():
    run = tiny_run("objective=mixture", "objective.parts.0.weight=0.3", "decoder=one_pass")
    assert [part.weight for part in run.objective.parts] == [0.3, 0.5]
    annealed = run.override(["objective.parts.0.weight.first=1", "objective.parts.0.weight.last=0"])
    assert annealed.objective.parts[0].weight == Schedule(first=1, last=0)
    later = annealed.override(["objective.parts.0.weight.begin=0.5"])
    assert later.objective.parts[0].weight.begin == 0.5
    assert Run.from_tree(later.tree()) == later
    with pytest.raises(UserError, match="choose autoregressive or one_pass, or null"):
        run.override(["decoder=iterative"])
    short = tiny_run('objective={"name": "mixture", "parts": ["next_token", {"name": "teacherless"}]}')
    assert short.objective == mixture((NextToken(), 1.0), (Teacherless(), 1.0))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objective.parts=[]"], "objective.parts: should have at least 1 item, not 0"),
        (
            ["objective.parts.1.weight=0", "decoder=one_pass"],
            "objective.parts.1.weight: 0 for the whole run; drop the part, or give a weight above 0",
        ),
        (
            ['objective.parts.0.weight={"first": 0, "last": 0}'],
            "objective.parts.0.weight: 0 for the whole run; drop the part, or give a weight above 0",
        ),
        (
            [
                'objective.parts.0.weight={"first": 1, "last": 0, "end": 0.5}',
                'objective.parts.1.weight={"first": 1, "last": 0, "end": 0.75}',
            ],
            "objective.parts: from progress 0.75 to 1 all weights are 0; give a part a weight above 0, as in "
            "1",
        ),
        (
            ["objective.parts.0.weight=-1"],
            "objective.parts.0.weight: input should be a number of at least 0, or a schedule with first and "
            "last, not -1",
        ),
        (
            ['objective.parts.0.weight={"first": 1, "last": 0, "begin": 0.5, "end": 0.4}'],
            "objective.parts.0.weight.end: 0.4 is not above begin 0.5; give a later one, up to 1",
        ),
        (["objective.parts.0.weight.first=1"], "objective.parts.0.weight.last: missing"),
        (
            ["objective.parts.0.weight.begn=1"],
            "objective.parts.0.weight.begn: unknown key 'begn'; did you mean 'begin'?",
        ),
        (
            ['objective.parts=[{"objective":"next_token","wieght":1}]'],
            "objective.parts.0.wieght: unknown key 'wieght'; did you mean 'weight'?",
        ),
        (
            ["objective.parts=[3]"],
            f"objective.parts.0.objective: give a name, one of {', '.join(OBJECTIVES.names())}",
        ),
        (
            ["objective.parts=[next_token,teacherless]"],
            "objective.parts: [next_token,teacherless] is not JSON: text has double quotes, and numbers "
            "begin with a digit, as in 'objective.parts=[\"a\", 0.5]'",
        ),
        (
            ['objective.parts=[{"objective":{"name":"next_token","train_positions":[9]}}]'],
            "objective.parts.0.objective.train_positions: 9 is not an answer position of this task; they are "
            "0 to 2",
        ),
        (
            ["objective.parts.1.objective=teacherles"],
            "objective.parts.1.objective: unknown objective 'teacherles'; did you mean 'teacherless'?",
        ),
        (
            ["objective.parts.1.objective.train_positions=[3]"],
            "objective.parts.1.objective.train_positions: 3 is not an answer position of this task; they are "
            "0 to 2",
        ),
        (
            ["objective.train_positions=[0]", "objective.parts.1.objective.train_positions=[2]"],
            "objective.train_positions: the parts together train [0, 2]; give these",
        ),
    ],
)
def test_bad_settings_are_refused_in_a_line(overrides, message):
    with pytest.raises(UserError) as error:
        tiny_run("objective=mixture", *overrides)
    assert str(error.value) == message


class Short(NextToken):
    """Wants long answers."""

    name: str = "short"

    def check(self, answer):
        if answer < 9:
            raise ValueError(f"horizon: 9 is beyond the answer's {answer} tokens")


def test_what_a_part_says_of_the_answers_length_names_the_part():
    with pytest.raises(
        ValueError, match=r"^parts\.1\.objective\.horizon: 9 is beyond the answer's 3 tokens$"
    ):
        mixture((NextToken(), 1.0), (Short(), 1.0)).check(3)


def test_heads_are_built_in_the_order_of_the_parts():
    run = tiny_run().replace(objective=mixture((Teacherless(), 1.0), (Scribbled(), 1.0)))
    names = [name for name in build_train_module(run).trained() if name.startswith("heads.")]
    assert names == ["heads.1.weight", "heads.1.bias"]
