"""What is said of a model follows what its training shows and how its decoder writes."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from tests.parts import Blend, Partial
from tests.runs import tiny_run
from unforced.decoding.autoregressive import Autoregressive
from unforced.decoding.one_pass import OnePass
from unforced.evaluation.accuracy import measure_problems
from unforced.evaluation.diagnosis import diagnose
from unforced.evaluation.diagnostics import clever_hans
from unforced.evaluation.evaluator import Evaluator
from unforced.evaluation.probe import probe
from unforced.evaluation.trace import trace
from unforced.objectives.mixture import Mixture
from unforced.objectives.next_token import NextToken
from unforced.objectives.teacherless import Teacherless
from unforced.reporting.card import Card
from unforced.tasks.path_star import PathStar
from unforced.tasks.sampling import problems
from unforced.testing.planted import Cheater, Perfect, Snowballer, planted_subject
from unforced.training.train_module import build_train_module

STAR = PathStar(degree=3, path_length=5, num_nodes=30)


@dataclass(frozen=True)
class OnlyAhead:
    """Knows the answer to what it was trained on, if it reads nothing but mask tokens; else the start."""

    def next(self, known, so_far, chance):
        masked = (so_far == len(known.task.alphabet)).all(axis=1)
        said = np.where(masked & known.trained, known.truth[:, so_far.shape[1]], known.truth[:, 0])
        return said.astype(np.int64)


def planted(behaviour, objective, decoder=None):
    train, held_out = problems(STAR, 0, "train", 0, 400), problems(STAR, 0, "test", 0, 1600)
    return planted_subject(STAR, behaviour, train, held_out, 0, objective, decoder), train, held_out


def diagnosis(behaviour, objective, decoder=None):
    return diagnose(*planted(behaviour, objective, decoder))


class TestNothingIsShownAndOnePassWrites:
    """A blend with nothing of next-token prediction in it."""

    OBJECTIVE = Blend(teacherless=1, parallel=True)

    def test_no_word_is_of_teacher_forcing(self):
        found = diagnosis(OnlyAhead(), self.OBJECTIVE)
        assert found["verdict"]["name"] == "memorised"
        assert "blend is not trained on the true answer" in found["clever_hans"]["does_not_apply"]
        assert found["snowball"] == {"does_not_apply": "one_pass does not read its own answer"}
        assert found["exact"]["as_trained"]["train"]["value"] == found["exact"]["train"]["value"] == 1
        assert "given the true" not in json.dumps(found["verdict"])

    def test_it_has_nothing_forced_to_trace(self):
        evaluator, _, held_out = planted(Perfect(), self.OBJECTIVE)
        found = trace(evaluator, held_out.take(slice(0, 3)))
        assert (found["shows"], found["writes"], found["reads_answers"]) == ("nothing", "one_pass", False)
        assert all(set(question["chances"]) == {"free"} for each in found["problems"] for question in each)


def test_the_same_objective_is_another_with_other_settings():
    found = diagnosis(Cheater(), Blend(teacherless=0.5))
    assert found["verdict"]["name"] == "clever_hans"
    assert "forced" in found["snowball"]
    parallel = diagnosis(Cheater(), Blend(teacherless=0.5, parallel=True))
    assert parallel["clever_hans"]["cheat_accuracy"]["value"] == 1
    assert "one_pass does not read" in parallel["snowball"]["does_not_apply"]


@dataclass(frozen=True)
class BlindToAnswers(Cheater):
    """A cheater where it reads an answer; nearly always right where it reads mask tokens alone."""

    def next(self, known, so_far, chance):
        said = super().next(known, so_far, chance)
        masked = (so_far == len(known.task.alphabet)).all(axis=1) & (so_far.shape[1] > 0)
        knows = np.where(chance < 0.9, known.truth[:, so_far.shape[1]], 0)
        return np.where(masked, knows, said)


def test_a_cheat_is_no_failure_of_answers_that_are_not_written_from_left_to_right():
    found = diagnosis(BlindToAnswers(), Mixture(), OnePass())
    decision = found["indecipherable_token"]["token_1"]
    assert decision["test"]["value"] == pytest.approx(1 / 3, abs=0.05)
    assert decision["written"]["value"] == pytest.approx(0.9, abs=0.03)
    assert found["clever_hans"]["cheat_accuracy"]["value"] == 1
    assert found["verdict"]["name"] == "not_yet_fitted"
    assert any(
        "% [" in reason and "as one_pass writes it" in reason for reason in found["verdict"]["because"]
    )
    guessed = diagnosis(Cheater(), Mixture(), OnePass())["indecipherable_token"]["token_1"]
    assert guessed["written_chance"] == pytest.approx(1 / 3)


def test_a_decoder_in_blocks_is_fed_no_decoy():
    evaluator = Evaluator.of(
        run := tiny_run("objective=masked", "objective.block_size=2"), build_train_module(run)
    )
    some = problems(run.task, 0, "test", 0, 4)
    following = clever_hans(probe(evaluator, some), 0.95)["decoy_following"]
    assert following["does_not_apply"].endswith("does not go on with an answer that begins in the prompt")


class TestNothingIsShownAndTokenByTokenWrites:
    """Teacherless training, decoded token by token."""

    def test_a_fitted_model_fails_in_decoding(self):
        found = diagnosis(OnlyAhead(), Teacherless(), Autoregressive())
        assert found["verdict"]["name"] == "decoding"
        assert found["verdict"]["because"][0].startswith(
            "whole answers on training problems, on the inputs of training: 100.0%"
        )
        assert "as autoregressive writes them" in found["verdict"]["because"][1]
        assert "not trained on the true answer" in found["clever_hans"]["does_not_apply"]
        assert found["snowball"]["free_exact"]["value"] == 0
        assert found["indecipherable_token"]["token_1"]["train"]["value"] == 1

    def test_errors_that_compound_are_seen(self):
        assert diagnosis(Snowballer(0.05), Teacherless(), Autoregressive())["snowball"]["forced"]

    def test_the_inputs_of_training_are_measured_too(self):
        evaluator, train, _ = planted(OnlyAhead(), Teacherless(), Autoregressive())
        counts = measure_problems(evaluator, train)
        assert counts["one_pass.exact"] == {"correct": 400, "total": 400}
        assert counts["free.exact"]["correct"] == 0
        assert not any("one_pass" in key for key in measure_problems(*planted(Perfect(), NextToken())[:2]))

    def test_its_own_answers_are_traced(self):
        evaluator, _, held_out = planted(Perfect(), Teacherless(), Autoregressive())
        found = trace(evaluator, held_out.take(slice(0, 3)))
        assert found["reads_answers"] is True
        questions = [question for each in found["problems"] for question in each]
        assert all(set(question["chances"]) == {"free", "forced"} for question in questions)


class TestPartsAreShownAndAnyOrderIsWritten:
    """Training as masked diffusion has it."""

    def test_the_cheat_is_looked_for_and_the_note_says_how(self):
        found = diagnosis(Cheater(), Partial())
        assert found["verdict"]["name"] == "clever_hans"
        assert "random parts of the true answer" in found["clever_hans"]["note"]
        assert found["clever_hans"]["decoy_following"]["value"] == 1
        assert found["snowball"] == {
            "does_not_apply": "rounds does not write from left to right: no error is the first"
        }
        assert "note" not in diagnosis(Cheater(), NextToken())["clever_hans"]

    def test_free_probabilities_cannot_be_told(self):
        evaluator, _, held_out = planted(Cheater(), Partial())
        question = trace(evaluator, held_out.take(slice(0, 1)))["problems"][0][0]
        assert question["chances"]["free"] == [[]] * STAR.answer_length
        assert all(question["chances"]["forced"])


@pytest.mark.parametrize(
    ("objective", "decoder", "code", "said"),
    [
        (NextToken(), None, "model.generate(", ""),
        (Blend(teacherless=1), None, "model.generate(", "never gives the true answer"),
        (Blend(parallel=True), None, "load_exported", "`generate` of transformers writes token by token"),
        (Teacherless(), None, "load_exported", "reads a mask token"),
        (Teacherless(), Autoregressive(), "model.generate(", "never gives the true answer"),
        (NextToken(), Autoregressive(temperature=0.7, top_k=5), "load_exported", "temperature=0.7, top_k=5"),
        (Partial(), None, "load_exported", "random parts of the true answer"),
    ],
)
def test_a_card_shows_the_decoder_that_was_measured(objective, decoder, code, said):
    run = tiny_run().replace(objective=objective, decoder=decoder)
    share = {"value": 0.5, "low": 0.4, "high": 0.6, "correct": 1, "total": 2}
    result = {"test.free.exact": share, "test.forced.exact": share}
    text = Card(run, "GPT2LMHeadModel", 1000, 0, 7, [("1,2/1,2=", "1,2")], "", result).text()
    assert code in text.partition("```python")[2].partition("```")[0]
    assert ("load_exported" in text) is (code == "load_exported")
    assert ("pipeline_tag" in text) is (code != "load_exported")
    assert f"decoder `{run.decoding}`" in text
    assert said in text
