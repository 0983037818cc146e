"""Multi-token prediction: its view by hand, and each kind of heads against its source's equations."""

import pytest
import torch
import torch.nn.functional as F

from tests.planted import ragged
from tests.runs import tiny_run, unchecked
from unforced.data.batch import Batch
from unforced.errors import UserError
from unforced.models.gpt import GPT
from unforced.objectives.moment import Moment
from unforced.objectives.multi_token import MultiToken
from unforced.objectives.next_token import NextToken
from unforced.objectives.schedule import Schedule
from unforced.provenance import records_of
from unforced.registry import HEADS
from unforced.testing import check_objectives as rules
from unforced.testing.check_models import disturbed

BAR, EQUALS, SLASH, DUMMY, VOCAB = 10, 11, 12, 13, 14
PROMPT = [1, 7, BAR, 1, 4, BAR, 7, 9, BAR, 4, 2, SLASH, 1, 9, EQUALS]
PROMPTS = [PROMPT, [3, 8, SLASH, 3, 8, EQUALS], [5, EQUALS]]
ANSWERS = [[1, 7, 9], [3, 8], [6]]
EXAMPLE = Batch(torch.tensor([PROMPT]), torch.tensor([[1, 7, 9]]), DUMMY)
RAGGED = ragged(PROMPTS, ANSWERS, DUMMY, 0)


def terms(objective, batch, progress=0.0):
    """What the view's terms count, and their weights."""
    view = objective.view(batch, Moment(len(batch), step=round(100 * progress), num_steps=100))
    counts = {name: term.count.tolist() for name, term in view.terms.items()}
    return counts, {name: round(term.weight, 6) for name, term in view.terms.items()}


class TestView:
    def test_it_is_that_of_next_token_with_targets_for_each_offset(self):
        view = MultiToken(horizon=3).view(EXAMPLE, Moment(1))
        assert view.inputs.tolist() == [[*PROMPT, 1, 7]]
        assert view.targets.tolist() == [[1, 7, 9]]
        assert (view.query_positions, view.weights) == (slice(14, 17), None)
        counts, weights = terms(MultiToken(horizon=3), EXAMPLE)
        assert counts == {"next_token": [3], "offset_2": [2], "offset_3": [1]}
        assert weights == {"next_token": 1, "offset_2": 1, "offset_3": 1}

    def test_heads_count_what_is_real_and_at_the_positions_to_train(self):
        assert terms(MultiToken(horizon=3), RAGGED)[0] == {
            "next_token": [3, 2, 1],
            "offset_2": [2, 1, 0],
            "offset_3": [1, 0, 0],
        }
        counts, _ = terms(MultiToken(horizon=3, train_positions=(0, 1)), RAGGED)
        assert counts == {"next_token": [2, 2, 1], "offset_2": [1, 1, 0], "offset_3": [0, 0, 0]}

    def test_leaping_heads_skip_offsets(self):
        counts, _ = terms(MultiToken(heads="leap"), RAGGED)
        assert counts == {"next_token": [3, 2, 1], "offset_3": [1, 0, 0]}

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({"heads": "shared"}, {0: [0.5, 0.25], 1 / 6: [0.5, 0.125], 0.5: [0.25, 0], 0.7: [0, 0]}),
            ({"heads": "sequential"}, {0: [0.15, 0.15], 0.6: [0.15, 0.15], 0.7: [0.05, 0.05]}),
            ({"offset_weights": (0.3,)}, {0: [0.3, 0.3]}),
            ({"offset_weights": (0.3, Schedule(first=0.0, last=1.0))}, {0: [0.3, 0], 0.5: [0.3, 0.5]}),
        ],
    )
    def test_weights_follow_the_source_or_the_settings(self, settings, expected):
        objective = MultiToken(horizon=3, **settings)
        for progress, weights in expected.items():
            assert list(terms(objective, EXAMPLE, progress)[1].values())[1:] == pytest.approx(
                weights, abs=0.02
            )


def parallel(model, heads, sequence, at, index):
    states = model.hidden(sequence[:, : at + 1])
    return heads[index].norm(heads[index].layer(states)[:, -1])


def sequential(model, heads, sequence, at, index):
    states, embedded = model.hidden(sequence[:, : at + 1]), model.embed(sequence)
    for depth, head in enumerate(heads[: index + 1], start=1):
        pairs = [
            torch.cat([head.state_norm(states[:, t]), head.token_norm(embedded[:, t + depth])], dim=-1)
            for t in range(at + 1)
        ]
        states = head.layer(head.projection(torch.stack(pairs, dim=1)))
    return heads[index].final_norm(states[:, -1])


def shared(model, heads, sequence, at, index):
    return model.hidden(sequence[:, : at + 1])[:, -1]


def transfer(model, heads, sequence, at, index):
    states, embedded = model.hidden(sequence[:, : at + 1]), model.embed(sequence)
    kappa = 0 if heads.kappa is None else heads.kappa
    carried = torch.stack([states[:, t] + kappa * embedded[:, t + 1] for t in range(at + 1)], dim=1)
    own = heads.transfers[index]
    if hasattr(own, "map"):
        return carried[:, -1] @ own.map.weight.T
    for layer in own.layers:
        carried = layer(carried)
    return carried[:, -1]


def leap(model, heads, sequence, at, index):
    z = model.hidden(sequence[:, : at + 1])[:, -1]
    return z + F.silu(z @ heads[index].weight.T + heads[index].bias)


KINDS = [
    (parallel, "parallel"),
    (sequential, "sequential"),
    (shared, "shared"),
    (transfer, "transfer"),
    (transfer, {"name": "transfer", "injects": "nothing"}),
    (transfer, {"name": "transfer", "layers": 2}),
    (leap, "leap"),
    (leap, {"name": "leap", "stride": 1}),
]


def settings_of(heads):
    """Three tokens ahead."""
    return MultiToken(heads=heads, horizon=2 if heads == "leap" else 3)


def build(objective):
    """A model and heads with noise in every parameter."""
    torch.manual_seed(4)
    config = GPT(layers=2, width=16, heads=2, token_shift=True, attention="math", init_std=0.5)
    model = config.build(VOCAB, 18)
    return model, disturbed(objective.build_heads(model.trunk()))


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[1]}".translate({ord(c): None for c in "{}' "}))
def kind(request):
    return request.param


def test_every_kind_is_tested_here():
    assert {slow.__name__ for slow, _ in KINDS} == set(HEADS.names())


def test_losses_and_predictions_are_those_of_the_source(kind):
    state_of, heads = kind
    objective = settings_of(heads)
    model, modules = build(objective)
    expected = {name: [0.0] * len(PROMPTS) for name in objective.names}
    predictions = {name: {} for name in objective.names[1:]}
    for row, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
        sequence = torch.tensor([[*prompt, *answer]])
        for index, (name, offset) in enumerate(zip(objective.names, objective.offsets, strict=True)):
            for at in range(len(prompt) - 1, sequence.shape[1] - offset):
                if index:
                    state = state_of(model, modules, sequence, at, index - 1)
                else:
                    state = model.hidden(sequence[:, : at + 1])[:, -1]
                logits = model.unembedding(state)[0]
                expected[name][row] -= logits.log_softmax(-1)[sequence[0, at + offset]]
                if index:
                    predictions[name][row, at + offset - len(prompt)] = logits
    losses = objective.loss(model, modules, objective.view(RAGGED, Moment(3)))
    assert losses.keys() == expected.keys()
    for name, rows in expected.items():
        torch.testing.assert_close(losses[name], torch.stack([torch.as_tensor(loss) for loss in rows]))
    found = objective.head_logits(model, modules, RAGGED)
    assert found.keys() == predictions.keys()
    for name, logits in predictions.items():
        assert {tuple(place) for place in found[name].predicts.nonzero().tolist()} == logits.keys()
        for place, wanted in logits.items():
            torch.testing.assert_close(found[name].logits[place], wanted, atol=1e-4, rtol=1e-4)


def test_each_position_is_unembedded_once_for_each_head_that_is_asked(kind, monkeypatch):
    objective = settings_of(kind[1])
    model, modules = build(objective)
    asked, logits = [], model.logits
    monkeypatch.setattr(model, "logits", lambda states: asked.append(states.shape[1]) or logits(states))
    objective.loss(model, modules, objective.view(RAGGED, Moment(3)))
    assert asked == [3 if kind[1] == "shared" else sum(3 - offset + 1 for offset in objective.offsets)]


@pytest.mark.parametrize("heads", sorted({*HEADS.names()} - {"parallel"}))
def test_losses_of_every_kind_keep_to_the_contract(heads):  # the default one: tests/test_objectives.py
    subject = rules.ObjectiveSubject(MultiToken(heads=heads), rules.small_transformer(), *rules.CASES[-1])
    with unchecked():
        for name in (
            "purity",
            "rows",
            "parts",
            "padding",
            "next_token_part",
            "gradients",
            "trained_positions",
        ):
            getattr(rules, name)(subject)


def test_leaping_heads_begin_as_the_model():
    model = GPT(layers=1, width=16, heads=2).build(VOCAB, 18)
    objective = MultiToken(heads="leap")
    found = objective.head_logits(model, objective.build_heads(model.trunk()), EXAMPLE)["offset_3"]
    view = NextToken().view(EXAMPLE, Moment(1))
    expected = model.logits(model.hidden(view.inputs, query_positions=view.query_positions))
    torch.testing.assert_close(found.logits[:, 2:], expected[:, :1])


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["horizon=1"], "objective.horizon: input should be greater than or equal to 2"),
        (
            ["horizon=4"],
            "objective.horizon: 4 parallel heads look 4 tokens ahead, beyond answers of 3 tokens; ",
        ),
        (["horizon=3", "heads=leap"], "3 leap heads look 5 tokens ahead, .*; the largest is 2"),
        (["heads=leap", "heads.stride=3"], "look 4 tokens ahead, .*; with horizon=2, give heads.stride=2 at"),
        (["heads=paralel"], "objective.heads: unknown kind of heads 'paralel'; did you mean 'parallel'"),
        (
            ["horizon=3", "offset_weights=[1,1,1]"],
            "objective.*offset_weights: there are 3 weights for the 2 fur",
        ),
        (["offset_weights=[1,1]"], "for the 1 further offset of horizon 2; give one$"),
        (
            ["horizon=3", "offset_weights.0.first=1"],
            "offset_weights.0.first: objective.offset_weights is null; write objective.offset_w",
        ),
        (["offset_weights=[-1]"], "objective.offset_weights.0: input should be a number of at least 0, or a"),
        (['offset_weights=[{"first":1,"last":0,"end":0}]'], "offset_weights.0.end: input should be greater"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, complaint):
    with pytest.raises(UserError, match=complaint):
        tiny_run("objective=multi_token", *(f"objective.{setting}" for setting in settings))


OWN = """
from typing import Literal
from unforced.objectives.multi_token_heads.shared import SharedHead

class Own(SharedHead):
    name: Literal["own"] = "own"

    def further_weights(self, horizon):
        return (0.5,) * (horizon - 1)
"""


def test_a_file_may_add_a_kind(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    run = tiny_run("objective=multi_token", f"objective.heads={file}:Own", "objective.horizon=3")
    assert terms(run.objective, EXAMPLE)[1] == {"next_token": 1, "offset_2": 0.5, "offset_3": 0.5}
    assert [(each["kind"], each["name"], each["file"]) for each in records_of(run)] == [
        ("kind of heads", "own", str(file))
    ]


def test_a_curriculum_is_set_from_the_command_line():
    run = tiny_run(
        "objective=multi_token",
        "objective.horizon=3",
        'objective.offset_weights=[0.5,{"first":0,"last":1}]',
        "objective.heads=transfer",
        "objective.heads.layers=1",
    )
    assert run.objective.offset_weights == (0.5, Schedule(first=0.0, last=1.0))
    assert run.objective.heads.layers == 1
    weights = "objective.offset_weights=.5", "objective.offset_weights.0.first=1"
    falling = run.override([*weights, "objective.offset_weights.0.last=0"])
    assert falling.objective.offset_weights == (Schedule(first=1.0, last=0.0),)
    assert run.override(weights[:1]).objective.offset_weights == (0.5,)
