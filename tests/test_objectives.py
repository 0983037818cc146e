"""What each objective trains on, written by hand, and what every objective owes its callers."""

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch

from tests.objectives import Scribbled
from tests.planted import autoregressive, certain, chaotic, chaotic_next, oracle, ragged, uniform
from tests.runs import tiny_run, unchecked
from unforced.config import Run
from unforced.data.batch import Batch
from unforced.data.codec import SymbolCodec
from unforced.decoding.iterative import Iterative
from unforced.errors import UserError
from unforced.evaluation.evaluator import Evaluator
from unforced.models.gpt import GPT
from unforced.objectives.base import Needs
from unforced.objectives.masked import Masked
from unforced.objectives.moment import Moment
from unforced.objectives.multi_token import MultiToken
from unforced.objectives.next_latent import NextLatent
from unforced.objectives.next_token import NextToken
from unforced.objectives.registers import Registers
from unforced.objectives.token_order import TokenOrder
from unforced.objectives.view import Term, View
from unforced.registry import OBJECTIVES
from unforced.tasks.path_star import PathStar
from unforced.testing import ConformanceError, check_objective
from unforced.training.source import encode

STAR = PathStar(degree=2, path_length=3, num_nodes=10)
BAR, EQUALS, SLASH, DUMMY, VOCAB = 10, 11, 12, 13, 14
PROMPT = [1, 7, BAR, 1, 4, BAR, 7, 9, BAR, 4, 2, SLASH, 1, 9, EQUALS]
PROMPTS = [PROMPT, [3, 8, SLASH, 3, 8, EQUALS], [5, EQUALS]]
ANSWERS = [[1, 7, 9], [3, 8], [6]]


ALL = [*map(OBJECTIVES.get, OBJECTIVES.names()), Scribbled]


def trains_on_the_answer_alone(kind):
    """Whether the loss is the cross-entropy of the answer, read causally, as planted models do."""
    objective = kind()
    view = None if objective.needs != Needs() else objective.view(padded_batch(), Moment(3))
    return view is not None and "answer" in view.terms


def star_batch(order="forward", count=1):
    """The docstrings' example, then random problems of its kind."""
    lines = ["1,7|1,4|7,9|4,2/1,9=1,7,9"]
    task, example = PathStar.read_lines(lines, "docstring", known={"num_nodes": BAR})
    run = Run(
        task=task, model=GPT(), objective=OBJECTIVES.get("next_token")(), order=order, num_train=1, epochs=1
    )
    return encode(run, type(example).concatenate([example, task.sample(np.random.default_rng(0), count - 1)]))


def padded_batch(padding=0):
    return ragged(PROMPTS, ANSWERS, DUMMY, padding)


KINDS = [kind for kind in ALL if trains_on_the_answer_alone(kind)]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def objective(request):
    return request.param()


@pytest.fixture(params=["forward", "reversed", "ragged"])
def batch(request):
    return padded_batch() if request.param == "ragged" else star_batch(request.param, count=4)


def masks(batch):
    """The batch's masks, spelled out."""
    pairs = (batch.prompt, batch.prompt_mask), (batch.answer, batch.answer_mask)
    return [torch.ones_like(ids, dtype=torch.bool) if mask is None else mask for ids, mask in pairs]


def knowing(batch):
    """An oracle for the batch."""
    rows = zip(batch.prompt, batch.answer, *masks(batch), strict=True)
    known = {tuple(prompt[p].tolist()): answer[a].tolist() for prompt, answer, p, a in rows}
    return oracle(VOCAB, EQUALS, known)


def heads_of(objective, model):
    torch.manual_seed(5)
    return objective.build_heads(model.trunk())


def small_gpt(positions):
    return GPT(layers=2, width=16, heads=2, positions=positions, attention="math", init_std=0.5)


def random_model(positions):
    torch.manual_seed(4)
    return small_gpt(positions).build(VOCAB, 18)


def decode(objective):
    """The answers of the objective's decoder."""
    decoder = objective.default_decoder
    return lambda model, heads, batch, cache=None: decoder.decode(model, heads, batch.prompts, cache)


def forced(objective):
    """The logits given the true answer."""
    return objective.default_decoder.teacher_forced


def trained(objective):
    """The logits on the inputs of training."""
    decoder, cpu = objective.default_decoder, torch.device("cpu")

    def logits(model, heads, batch, cache=None):
        evaluator = Evaluator(STAR, batch.order, objective, decoder, model, heads, cpu, SymbolCodec.of(STAR))
        return evaluator.trained_logits(batch, cache)

    return logits


def forced_tokens(objective):
    """The forced predictions, as tokens."""
    return lambda *arguments: forced(objective)(*arguments).argmax(-1)


def losses_of(objective, model, batch, moment=None):
    """The losses of each term and row, and what they count."""
    view = objective.view(batch, moment or Moment(len(batch)))
    rows = objective.loss(model, heads_of(objective, model), view)
    counts = {name: term.count for name, term in view.terms.items()}
    assert rows.keys() == counts.keys()
    assert all(each.shape == (len(batch),) for each in [*rows.values(), *counts.values()])
    return torch.stack(list(rows.values())), torch.stack(list(counts.values()))


def total_of(objective, model, batch):
    """The summed loss of all terms."""
    return losses_of(objective, model, batch)[0].sum()


@pytest.mark.parametrize(
    ("name", "order", "fed", "targets"),
    [
        ("next_token", "forward", [1, 7], [1, 7, 9]),
        ("next_token", "reversed", [9, 7], [9, 7, 1]),
        ("teacherless", "forward", [DUMMY, DUMMY], [1, 7, 9]),
        ("teacherless", "reversed", [DUMMY, DUMMY], [9, 7, 1]),
    ],
)
def test_view_of_the_docstrings_example(name, order, fed, targets):
    view = OBJECTIVES.get(name)().view(star_batch(order), Moment(1))
    assert isinstance(view, View)
    assert view.inputs.tolist() == [PROMPT + fed]
    assert view.targets.tolist() == [targets]
    assert view.query_positions == slice(14, 17)
    assert (view.weights, view.positions, view.padding, view.attention) == (None, None, None, "causal")
    assert view.terms["answer"].count.tolist() == [3]


@pytest.mark.parametrize(
    ("name", "fed"),
    [("next_token", [[2, 3], [4, 0]]), ("teacherless", [[DUMMY, DUMMY], [DUMMY, DUMMY]])],
)
def test_view_of_ragged_prompts_keeps_padding_out(name, fed):
    batch = ragged([[5, 6, EQUALS], [EQUALS]], [[2, 3, 1], [4]], DUMMY)
    view = OBJECTIVES.get(name)().view(batch, Moment(2))
    assert view.inputs.tolist() == [[5, 6, EQUALS, *fed[0]], [0, 0, EQUALS, *fed[1]]]
    assert view.targets.tolist() == [[2, 3, 1], [4, 0, 0]]
    assert view.weights.tolist() == [[True, True, True], [True, False, False]]
    assert view.terms["answer"].count.tolist() == [3, 1]
    assert view.query_positions == slice(2, 5)
    drawn = ["".join(".x"[real] for real in row) for row in view.padding.tolist()]
    assert (drawn, view.attention) == (["xxxxx", "..xxx"], "causal")


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_objective_keeps_to_the_contract(kind):
    with unchecked():
        check_objective(kind())


class Drawn(NextToken):
    """Draws from torch's own generator."""

    name: Literal["wrong"] = "wrong"

    def view(self, batch, moment):
        view = super().view(batch, moment)
        return replace(view, weights=torch.rand(view.targets.shape))


class Mean(NextToken):
    """Takes means over the batch."""

    name: Literal["wrong"] = "wrong"

    def loss(self, model, heads, view):
        return {name: rows - rows.mean() for name, rows in super().loss(model, heads, view).items()}


class Longer(NextToken):
    """States too short a sequence; the model must not notice."""

    name: Literal["wrong"] = "wrong"

    def sequence_length(self, prompt, answer):
        return prompt + answer - 2


class Padded(NextToken):
    """Forgets that answers have padding."""

    name: Literal["wrong"] = "wrong"

    def view(self, batch, moment):
        view = super().view(batch, moment)
        return replace(view, weights=None, terms={"answer": Term(torch.full((len(batch),), 12.0))})


class Claiming(NextToken):
    """Says that it shows nothing."""

    name: Literal["wrong"] = "wrong"

    @property
    def shows(self):
        return "nothing"


class Lost(MultiToken):
    """Forgets a term."""

    name: Literal["wrong"] = "wrong"

    def loss(self, model, heads, view):
        return {"next_token": super().loss(model, heads, view)["next_token"]}


class Full(NextToken):
    """Looks ahead in training."""

    name: Literal["wrong"] = "wrong"

    def view(self, batch, moment):
        return replace(super().view(batch, moment), attention="full")


class Peeking(Iterative):
    """Looks ahead when it is teacher-forced."""

    name: Literal["peeking"] = "peeking"
    objectives: ClassVar[tuple[str, ...]] = ("wrong",)

    def teacher_forced(self, model, heads, batch, cache=None):
        return (
            super().teacher_forced(model, heads, batch.rows(slice(None)), cache) + batch.answer[:, -1:, None]
        )


class Peeks(Masked):
    """Is decoded by one that looks ahead."""

    name: Literal["wrong"] = "wrong"

    @property
    def default_decoder(self):
        return Peeking()


@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        (Drawn, "- View and loss are functions .*: term answer differs when it is asked for again"),
        (Mean, r"- The losses of some rows are .*: the loss of answer in rows 0::2 of the batch is"),
        (Padded, "- What stands in padding, .*: another padding: the loss of answer is"),
        (Claiming, '- Where `shows` says "nothing", .*: what it reads depends on the answer'),
        (Lost, r"the view's terms are \['next_token', 'offset_2'\], the loss's \['next_token'\]"),
        (Full, r"it asks for \['full'\] attention, and needs names \['causal'\]"),
        (Peeks, "- Teacher-forced logits .*: the logits of tokens 0 to 0 change with token 0 and later"),
        (Longer, "- No sequence is longer .*sequence_length says"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_objective_that_breaks_the_contract_is_found_out(kind, broken):
    with unchecked(), pytest.raises(ConformanceError, match=broken):
        check_objective(kind())


class TestEveryObjective:
    def test_a_perfect_model_has_zero_loss(self, objective, batch):
        losses, counts = losses_of(objective, knowing(batch), batch)
        assert (losses == 0).all()
        assert counts.sum() > 0

    def test_gradients_reach_only_what_weighs(self, objective, batch):
        model = uniform(VOCAB)
        total_of(objective, model, batch).backward()
        assert torch.equal(model.asked.grad.abs().sum(-1) > 0, masks(batch)[1])

    def test_an_oracle_decodes_to_the_answers_freely_and_forced(self, objective, batch):
        model, real = knowing(batch), masks(batch)[1]
        for answer in (decode(objective), forced_tokens(objective)):
            found = answer(model, heads_of(objective, model), batch)
            assert found.shape == batch.answer.shape
            assert torch.equal(found[real], batch.answer[real])

    def test_decoding_never_reads_the_answers(self, objective, batch):
        model = chaotic(VOCAB)
        other = replace(batch, answer=(batch.answer + 1) % BAR)
        found = decode(objective)(model, heads_of(objective, model), batch)
        assert torch.equal(found, decode(objective)(model, heads_of(objective, model), other))

    def test_forced_reads_the_true_answer_up_to_each_token(self, objective, batch):
        prompt_mask, answer_mask = masks(batch)
        model = chaotic(VOCAB)
        found = forced_tokens(objective)(model, heads_of(objective, model), batch)
        for i, row in enumerate(found.tolist()):
            prompt, answer = batch.prompt[i][prompt_mask[i]].tolist(), batch.answer[i].tolist()
            for j in range(int(answer_mask[i].sum())):
                assert row[j] == chaotic_next(VOCAB, prompt + answer[:j])


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("padding", [0, DUMMY])
def test_ragged_problems_are_decoded_and_weighed_as_one_at_a_time(objective, positions, padding):
    model, together = random_model(positions), padded_batch(padding)
    heads = heads_of(objective, model)
    decoded, told = (
        answer(model, heads, together) for answer in (decode(objective), forced_tokens(objective))
    )
    losses, _ = losses_of(objective, model, together)
    for i, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
        alone = Batch(torch.tensor([prompt]), torch.tensor([answer]), DUMMY)
        assert decoded[i, : len(answer)].tolist() == decode(objective)(model, heads, alone)[0].tolist()
        assert told[i, : len(answer)].tolist() == forced_tokens(objective)(model, heads, alone)[0].tolist()
        of_one, _ = losses_of(objective, model, alone, Moment(3, slice(i, i + 1)))
        torch.testing.assert_close(losses[:, i : i + 1], of_one)


def test_padding_that_a_model_holds_impossible_weighs_nothing(objective):
    batch = padded_batch(padding=0)
    model = uniform(VOCAB)
    model.rule = lambda tokens: certain(VOCAB, 1).index_fill_(0, torch.tensor(0), -torch.inf)
    assert total_of(objective, model, batch).isfinite()


def read_ahead(model, batch, count):
    """A cache that holds the first tokens of the batch's prompts."""
    real = batch.prompt_mask
    cache = model.new_cache(len(batch), 18)
    model.hidden(batch.prompt[:, :count], padding=None if real is None else real[:, :count], cache=cache)
    return cache


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("count", [1, 6, 14])
def test_a_prompt_read_ahead_and_shared_by_forks_changes_nothing(objective, positions, batch, count):
    model = random_model(positions)
    heads = heads_of(objective, model)
    cache = read_ahead(model, batch, count)
    for answer in (trained(objective), forced(objective), decode(objective), trained(objective)):
        torch.testing.assert_close(
            answer(model, heads, batch, cache.fork()), answer(model, heads, batch), atol=1e-4, rtol=1e-4
        )
    assert cache.length == count


@pytest.mark.parametrize("objective", [each for each in KINDS if each().shows != "parts"])
def test_predictions_are_made_on_the_inputs_of_training(objective, batch):
    objective, model = objective(), chaotic(VOCAB)
    objective.loss(model, heads_of(objective, model), objective.view(batch, Moment(len(batch))))
    in_training = model.asked.argmax(-1)
    real = masks(batch)[1]
    found = trained(objective)(model, heads_of(objective, model), batch).argmax(-1)
    assert torch.equal(found[real], in_training[real])


@pytest.mark.parametrize(
    ("order", "chosen", "counted"),
    [
        ("forward", (1,), [False, True, False]),
        ("forward", (2, 0), [True, False, True]),
        ("reversed", (2,), [True, False, False]),
        ("reversed", (0, 1), [False, True, True]),
    ],
)
def test_the_loss_counts_only_the_positions_to_train(objective, order, chosen, counted):
    objective = type(objective)(train_positions=chosen)
    batch, model = star_batch(order, count=4), uniform(VOCAB)
    total_of(objective, model, batch).backward()
    assert ((model.asked.grad.abs().sum(-1) > 0) == torch.tensor(counted)).all()


def test_positions_to_train_are_found_in_answers_of_different_lengths():
    objective = OBJECTIVES.get("next_token")(train_positions=(1,))
    forward = padded_batch()
    assert objective.weights(forward).tolist() == [[False, True, False], [False, True, False], [False] * 3]
    backward = replace(forward, order="reversed")
    assert objective.weights(backward).tolist() == [[False, True, False], [True, False, False], [False] * 3]


def longhand(say, prompt, length):
    """Decode without a cache, reading everything anew for each token."""
    sequence = list(prompt)
    for _ in range(length):
        sequence.append(say(sequence))
    return sequence[len(prompt) :]


def test_autoregressive_feeds_its_own_output_back():
    batch = replace(padded_batch(), answer=torch.zeros(3, 7, dtype=torch.long), answer_mask=None)
    found = autoregressive(chaotic(VOCAB), batch)
    for row, prompt in zip(found.tolist(), PROMPTS, strict=True):
        assert row == longhand(lambda tokens: chaotic_next(VOCAB, tokens), prompt, 7)


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_autoregressive_with_a_cache_equals_an_uncached_loop(positions, batch):
    model = random_model(positions)

    def say(tokens):
        return model.logits(model.hidden(torch.tensor([tokens])))[0, -1].argmax().item()

    found = autoregressive(model, batch)
    for row, prompt, real in zip(found.tolist(), batch.prompt, masks(batch)[0], strict=True):
        assert row == longhand(say, prompt[real].tolist(), batch.answer.shape[1])
    assert len(found.unique()) > 2


def test_random_numbers_of_a_moment_are_even_and_independent():
    moment = Moment(400, step=3, seed=1)
    one, other = moment.uniform(50), moment.uniform(50, stream=1)
    later = replace(moment, step=4).uniform(50)
    assert 0 <= one.min() < 0.001 < 0.999 < one.max() < 1
    for numbers in (one, one[:, 0], one[0]):
        assert numbers.mean().item() == pytest.approx(0.5, abs=2.6 / (12 * numbers.numel()) ** 0.5)
    pairs = [(one, other), (one, later), (one[1:], one[:-1]), (one[:, 1:], one[:, :-1])]
    for left, right in pairs:
        correlation = torch.corrcoef(torch.stack([left.flatten(), right.flatten()]))[0, 1].item()
        assert abs(correlation) < 0.03
    counts = moment.integers(2, 7, 50).flatten().bincount(minlength=8)
    assert counts[[0, 1, 7]].tolist() == [0, 0, 0]
    assert counts[2:7].tolist() == pytest.approx([4000] * 5, rel=0.06)


@pytest.mark.parametrize(
    ("objective", "settings", "complaint"),
    [
        ("registers", ["weight=1"], "weight: 1 for the whole run leaves .*; give less than 1, as in 0.9"),
        ("registers", ['weight={"first": 1, "last": 1}'], "weight: 1 for the whole run leaves"),
        (
            "registers",
            ["weight=0"],
            "weight: 0 for the whole run trains next_token alone; use objective=",
        ),
        ("token_order", ["weight=0"], "weight: 0 for the whole run"),
        ("future_summary", ['weight={"first": 0, "last": 0}'], "weight: 0 for the whole run"),
        ("next_latent", ["latent_weight=0", "kl_weight=0"], "latent_weight, kl_weight: 0 for the whole run"),
        ("multi_token", ["offset_weights=[0]"], "offset_weights: 0 for the whole run"),
        ("multi_token", ["horizon=3", "offset_weights=[0,0]"], "offset_weights: 0 for the whole run"),
    ],
)
def test_weights_that_leave_a_loss_out_of_the_whole_run_are_refused(objective, settings, complaint):
    with pytest.raises(UserError, match=rf"^objective\.{complaint}"):
        tiny_run(f"objective={objective}", *(f"objective.{setting}" for setting in settings))


def test_weights_that_leave_a_loss_out_of_a_part_of_the_run_are_kept():
    for weight in ({"first": 1, "last": 0}, {"first": 0, "last": 1, "end": 0.1}):
        Registers(weight=weight)
        TokenOrder(weight=weight)
    NextLatent(latent_weight=0.0)
    MultiToken(horizon=3, offset_weights=(0.0, 1.0))
