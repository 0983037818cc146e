"""Decoders: what each writes, what it may see, which objective it fits, and what its noise depends on."""

import json
from dataclasses import fields, replace
from typing import Literal

import pytest
import torch
from torch import nn

from tests.parts import Rounds
from tests.planted import Planted, chaotic, chaotic_next, ragged
from tests.runs import tiny_run, train
from unforced.data.batch import Prompts
from unforced.decoding.autoregressive import Autoregressive
from unforced.decoding.modes import exact_measures, forced_note, trained_mode
from unforced.decoding.noise import gumbel
from unforced.decoding.one_pass import OnePass
from unforced.errors import UserError
from unforced.evaluation.evaluator import Evaluator, answers
from unforced.models.gpt import GPT
from unforced.registry import DECODERS, OBJECTIVES
from unforced.training.source import split_problems
from unforced.training.train_module import build_train_module

EQUALS, MASK, VOCAB = 8, 9, 10
BATCH = ragged([[1, 2, 3, EQUALS], [4, EQUALS], [5, 6, EQUALS]], [[1, 2, 3]] * 3, MASK)
SAMPLING = Autoregressive(temperature=1.0)


@pytest.fixture(params=DECODERS.names())
def decoder(request):
    return DECODERS.get(request.param)()


class Beam(Rounds):
    """A decoder of another package, for an objective of this one."""

    name: Literal["beam_search"] = "beam_search"
    objectives = ("next_token",)


def small_gpt():
    torch.manual_seed(4)
    return GPT(layers=2, width=16, heads=2, attention="math", init_std=0.5).build(VOCAB, 12).eval()


def write(decoder, model, prompts):
    with torch.inference_mode():
        return decoder.decode(model, nn.Identity(), prompts)


def drawn(row):
    """Prompts of many problems that are alike but for their numbers."""
    return Prompts(torch.tensor([row]).expand(2000, -1), None, 3, MASK, None, torch.arange(2000))


def test_prompts_hold_no_answer_and_no_mask_of_it():
    prompts = BATCH.prompts
    assert {field.name for field in fields(prompts)} == {
        "tokens", "mask", "room", "mask_token", "end", "numbers", "specials",
    }  # fmt: skip
    assert (prompts.room, prompts.mask_token, prompts.end) == (3, MASK, None)
    other = replace(BATCH, answer=BATCH.answer + 1, answer_mask=None).prompts
    for field in fields(prompts):
        one, two = getattr(prompts, field.name), getattr(other, field.name)
        assert torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two, field.name


def test_one_pass_feeds_mask_tokens():
    found = write(OnePass(), chaotic(VOCAB), BATCH.prompts)
    prompts = ([1, 2, 3, EQUALS], [4, EQUALS], [5, 6, EQUALS])
    assert found.tolist() == [[chaotic_next(VOCAB, [*row, *[MASK] * i]) for i in range(3)] for row in prompts]


def test_a_decoder_answers_each_prompt_as_if_it_were_alone(decoder):
    whole = decoder if decoder.writes == "one_pass" else SAMPLING
    model, prompts = small_gpt(), BATCH.prompts
    together = write(whole, model, prompts)
    for i in range(3):
        alone = replace(BATCH, numbers=torch.arange(3)).rows(slice(i, i + 1)).prompts
        assert torch.equal(write(whole, model, alone)[0], together[i])


class TestSampling:
    def test_zero_temperature_and_the_best_token_alone_are_greedy(self):
        model, prompts = small_gpt(), BATCH.prompts
        greedy = write(Autoregressive(), model, prompts)
        assert torch.equal(write(Autoregressive(temperature=3.0, top_k=1), model, prompts), greedy)
        assert torch.equal(write(Autoregressive(temperature=1e-4), model, prompts), greedy)
        assert not torch.equal(write(Autoregressive(temperature=3.0), model, prompts), greedy)

    def test_the_seed_and_the_number_of_the_problem_decide(self):
        model, prompts = small_gpt(), BATCH.prompts
        again, other = (write(Autoregressive(temperature=3.0, seed=seed), model, prompts) for seed in (0, 1))
        assert torch.equal(write(Autoregressive(temperature=3.0), model, prompts), again)
        assert not torch.equal(again, other)
        moved = replace(prompts, numbers=prompts.numbers + 7)
        assert not torch.equal(write(Autoregressive(temperature=3.0), model, moved), again)

    @pytest.mark.parametrize(("top_k", "temperature"), [(None, 1.0), (None, 2.0), (3, 1.0)])
    def test_tokens_are_drawn_as_often_as_they_are_probable(self, top_k, temperature):
        logits = torch.arange(VOCAB) * 0.4
        model = Planted(VOCAB, lambda tokens: logits)
        found = write(Autoregressive(temperature=temperature, top_k=top_k), model, drawn([1, EQUALS]))
        kept = logits.masked_fill(torch.arange(VOCAB) < VOCAB - (top_k or VOCAB), -torch.inf)
        expected = (kept / temperature).softmax(0)
        shares = torch.stack([(found == token).float().mean(0) for token in range(VOCAB)])
        assert (shares - expected[:, None]).abs().max() < 0.04  # four deviations of 2,000 draws
        assert (shares[expected == 0] == 0).all()
        agree = (found[:, 0] == found[:, 1]).float().mean()
        assert abs(agree - (expected**2).sum()) < 0.04  # positions are independent

    def test_noise_is_gumbels(self):
        noise = gumbel(0, torch.arange(5000), 3, torch.arange(20)[None])
        assert noise.mean().item() == pytest.approx(0.5772, abs=0.02)
        assert noise.var().item() == pytest.approx(1.6449, abs=0.05)
        assert noise.isfinite().all()
        assert len(noise.unique()) > 0.99 * 5000 * 20
        assert abs(torch.corrcoef(noise.T).fill_diagonal_(0)).max() < 0.08
        assert torch.equal(noise[4990:, 7], gumbel(0, torch.arange(4990, 5000), 3, torch.tensor([[7]]))[:, 0])

    def test_a_split_is_answered_alike_in_batches_of_any_size(self, monkeypatch):
        run = tiny_run("decoder.temperature=1", "model.init_std=1")
        evaluator = Evaluator.of(run, build_train_module(run))
        problems = split_problems(run, "test", 40)
        whole = answers(evaluator, problems, evaluator.free)
        monkeypatch.setattr("unforced.evaluation.evaluator._MOST_ROWS", 7)
        assert (answers(evaluator, problems, evaluator.free) == whole).all()


class TestConfig:
    def test_a_run_takes_its_objectives_decoder(self):
        assert tiny_run().decoding == Autoregressive()
        run = tiny_run("objective=teacherless")
        assert (run.decoder, run.decoding) == (None, OnePass())
        assert tiny_run().tree()["decoder"] is None

    def test_settings_of_the_decoder_begin_with_the_objectives_own(self):
        run = tiny_run("decoder.temperature=0.5", "decoder.top_k=3")
        assert run.decoder == Autoregressive(temperature=0.5, top_k=3)
        assert str(run.decoder) == "autoregressive(temperature=0.5, top_k=3)"
        assert run.override(["decoder=null"]) == tiny_run()
        assert tiny_run("objective=teacherless", "decoder=autoregressive").decoding == Autoregressive()

    def test_a_decoder_that_does_not_fit_is_refused(self):
        with pytest.raises(
            UserError, match="decoder: one_pass does not fit the objective next_token; choose"
        ):
            tiny_run("decoder=one_pass")

    def test_a_decoder_may_name_the_objectives_that_it_fits(self):
        with pytest.raises(UserError, match="rounds does not fit the objective next_token"):
            tiny_run().replace(decoder=Rounds())
        assert tiny_run().replace(decoder=Beam()).decoding == Beam()

    @pytest.mark.parametrize("override", ["decoder.top_k=3", "decoder.temperature=-1", "decoder=beam"])
    def test_what_is_no_setting_is_refused(self, override):
        with pytest.raises(UserError) as found:
            tiny_run(override)
        assert "decoder" in str(found.value).partition(": ")[0] + str(found.value)
        assert "\n" not in str(found.value)

    def test_every_objective_fits_its_default_decoder(self):
        for name in OBJECTIVES.names():
            objective = OBJECTIVES.get(name)()
            assert objective.fits(objective.decoding())
            assert set(objective.decoders) <= set(DECODERS.names())


@pytest.mark.parametrize(
    ("shows", "writes", "mode"),
    [
        ("prefix", "left_to_right", "forced"),
        ("prefix", "one_pass", "forced"),
        ("parts", "any_order", "forced"),
        ("nothing", "one_pass", "free"),
        ("nothing", "left_to_right", "one_pass"),
    ],
)
def test_the_mode_with_the_inputs_of_training(shows, writes, mode):
    assert trained_mode(shows, writes) == mode
    assert exact_measures(mode, (0, 2)) == (f"{mode}.token_0", f"{mode}.token_2")
    assert exact_measures(mode, None) == ("free.exact",)
    assert bool(forced_note("any", shows)) is (shows != "prefix")


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("other") / "run"
    trained(tiny_run("objective=teacherless", "num_test=1600"), path)
    return path


class TestAnotherDecoder:
    """A teacherless run, decoded token by token."""

    def test_evaluate_says_by_which_decoder(self, folder, call):
        code, printed, _ = call("evaluate", folder, "--split", "test", "--json")
        own = json.loads(printed)
        assert (code, own["decoder"], own["shows"]) == (0, {"name": "one_pass"}, "nothing")
        result = json.loads((folder / "result.json").read_text())
        assert {key: result[key] for key in ("decoder", "writes", "shows")} == {
            key: own[key] for key in ("decoder", "writes", "shows")
        }
        code, printed, _ = call("evaluate", folder, "decoder=autoregressive", "--split", "test", "--json")
        other = json.loads(printed)
        assert (code, other["decoder"]["name"], other["writes"]) == (0, "autoregressive", "left_to_right")
        assert other["test.one_pass.exact"] == own["test.free.exact"]
        assert other["test.forced.exact"] == own["test.forced.exact"]
        assert (
            other["test.free.exact"] == other["test.forced.exact"]
        )  # greedily, right as a whole or not at all
        _, printed, _ = call("evaluate", folder, "decoder=autoregressive", "decoder.temperature=1")
        assert "decoder: autoregressive(temperature=1.0)" in printed

    @pytest.mark.parametrize(
        ("given", "line"),
        [
            ("seed=3", "'seed=3': a run is measured as it was trained"),
            ("decoder=beam", "unknown decoder 'beam'"),
            ("decoder.top_k=3", "decoder.top_k"),
            ("decoder=null", "decoder=null: name a decoder"),
        ],
    )
    def test_what_is_no_decoder_is_one_line(self, folder, call, given, line):
        for verb in ("evaluate", "diagnose"):
            code, _, errors = call(verb, folder, given)
            assert (code, errors.count("\n")) == (2, 1)
            assert line in errors

    def test_diagnose_overwrites_nothing(self, folder, call):
        assert call("diagnose", folder)[0] == 0
        before = (folder / "diagnosis.json").read_bytes()
        code, printed, _ = call("diagnose", folder, "decoder=autoregressive", "--json")
        found = json.loads(printed)
        assert code == 0
        assert (folder / "diagnosis.json").read_bytes() == before
        assert (found["decoder"]["name"], found["shows"]) == ("autoregressive", "nothing")
        assert "not trained on the true answer" in found["clever_hans"]["does_not_apply"]
        assert "forced" in found["snowball"]
        assert "used the decoder one_pass" in found["learned"]["does_not_apply"]
        assert "does not read its own answer" in json.loads(before)["snowball"]["does_not_apply"]


def test_a_run_is_stopped_by_what_it_trained_whatever_decodes_it(tmp_path):
    given = ["objective=teacherless", "objective.train_positions=[1]", "decoder=autoregressive"]
    run = tiny_run(*given, "stop_when=fitted", "max_steps=10")
    train(run, tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert run.exact_measures == ("one_pass.token_1",)
    assert "test.one_pass.token_1" in result
