"""The order in which answers are written, accuracy by decoding steps, and what each head gets right."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from tests.runs import tiny_run, unchecked
from unforced.decoding.any_order import AnyOrderDecoder, Written
from unforced.decoding.autoregressive import Autoregressive
from unforced.decoding.base import next_token_logits
from unforced.evaluation.diagnosis import diagnose
from unforced.evaluation.evaluator import Evaluator
from unforced.evaluation.glossary import definition
from unforced.evaluation.head_accuracy import head_accuracy
from unforced.evaluation.writing import accuracy_by_steps, rank_correlations, writing_order
from unforced.objectives.base import HeadLogits
from unforced.objectives.next_token import NextToken
from unforced.registry import OBJECTIVES
from unforced.reporting.diagnosis import diagnosis_text, rows_of
from unforced.tasks.crossing_lines import CrossingLines
from unforced.tasks.path_star import PathStar
from unforced.tasks.sampling import problems
from unforced.testing.planted import Perfect, planted_subject
from unforced.training.train_module import build_train_module

STAR = PathStar(degree=3, path_length=5, num_nodes=30)


class FromTheEnd(AnyOrderDecoder):
    """Writes what the model says, from the end to the start; with fewer steps than four, nonsense."""

    name: Literal["from_the_end"] = "from_the_end"
    steps: int | None = None

    def check(self, answer):
        if self.steps == 2:
            raise ValueError("steps: 2 do not fit")

    def write(self, model, heads, prompts, cache=None):
        tokens = Autoregressive().decode(model, heads, prompts, cache)
        steps = prompts.room if self.steps is None else self.steps
        step = torch.arange(prompts.room).flip(0) * steps // prompts.room
        return Written(tokens if steps > 3 else tokens * 0, step.expand(tokens.shape))

    def teacher_forced(self, model, heads, batch, cache=None):
        return next_token_logits(model, batch, cache)


class TwoHeads(NextToken):
    """One head knows all it predicts, from the third token on; the other is off by one symbol in the last."""

    name: Literal["two_heads"] = "two_heads"

    def head_logits(self, model, heads, batch):
        logits = torch.nn.functional.one_hot(batch.answer, batch.mask_token + 2).float()
        places = torch.arange(batch.answer.shape[1]).expand(batch.answer.shape)
        real = torch.ones_like(batch.answer, dtype=bool) if batch.answer_mask is None else batch.answer_mask
        wrong = torch.where((places == 4)[..., None], logits.roll(1, -1), logits)
        return {"further": HeadLogits(logits, real & (places >= 2)), "all": HeadLogits(wrong, real)}


def planted(decoder=None, objective=None, task=STAR, order="forward"):
    some = problems(task, 0, "test", 0, 120)
    return replace(planted_subject(task, Perfect(), some, some, 0, objective, decoder), order=order), some


def test_rank_correlations_are_scipys_over_what_is_real():
    rng = np.random.default_rng(0)
    step, real = rng.integers(0, 4, (40, 6)), np.arange(6) < rng.integers(2, 7, (40, 1))
    step[0], step[1] = np.arange(6), 5 - np.arange(6)
    found = rank_correlations(step, real)
    for row, there, value in zip(step, real, found, strict=True):
        some = row[there]
        expected = spearmanr(np.arange(len(some)), some).statistic if len(set(some.tolist())) > 1 else np.nan
        assert value == pytest.approx(expected, nan_ok=True)
    assert found[:2].tolist() == [1, -1]


@pytest.mark.parametrize("order", ["forward", "reversed"])
def test_the_order_of_writing_is_found_again(order):
    found = writing_order(*planted(FromTheEnd(), order=order), 0.95)
    sign = -1 if order == "forward" else 1
    assert found["correlation"] == {"value": sign, "low": sign, "high": sign}
    steps = [5, 4, 3, 2, 1] if order == "forward" else [1, 2, 3, 4, 5]
    assert found["step"] == {f"token_{i}": step for i, step in enumerate(steps)}


def test_what_stands_behind_the_end_is_not_written():
    evaluator, some = planted(FromTheEnd(), task=CrossingLines())
    found = writing_order(evaluator, some, 0.95)
    room, lengths = evaluator.codec.answer_length, evaluator.task.lengths(evaluator.task.answers(some))
    assert found["correlation"]["value"] == pytest.approx(-1)
    assert found["step"] == {
        f"token_{i}": pytest.approx(room - i) for i in range(room) if (lengths > i).any()
    }


def test_one_step_has_no_order_and_other_decoders_have_none():
    found = writing_order(*planted(FromTheEnd(steps=1)), 0.95)
    assert found == {"does_not_apply": "from_the_end(steps=1) writes all of an answer in one step"}
    assert writing_order(*planted(), 0.95) is None


def test_accuracy_by_steps_is_measured_with_those_that_fit():
    found = accuracy_by_steps(*planted(FromTheEnd()), 0.95)
    assert {name: each["value"] for name, each in found.items()} == {
        "steps_1": 0,
        "steps_3": 0,
        "steps_4": 1,
        "steps_5": 1,
    }
    assert found["steps_5"]["total"] == 120
    assert accuracy_by_steps(*planted(), 0.95) is None


def test_heads_are_right_where_they_predict():
    found = head_accuracy(*planted(objective=TwoHeads()), 0.95)
    values = {head: {key: each["value"] for key, each in of_head.items()} for head, of_head in found.items()}
    assert values["further"] == {"all": 1, "token_2": 1, "token_3": 1, "token_4": 1}
    assert values["all"] == {"all": 0.8, "token_0": 1, "token_1": 1, "token_2": 1, "token_3": 1, "token_4": 0}
    assert head_accuracy(*planted(), 0.95) is None


WITH_HEADS = ("multi_token", "belief_state", "joint", "registers", "token_order", "next_latent")
SECTIONS = {
    "masked": {"writing_order", "decoding_steps"},
    "insertion": {"writing_order"},
    **{objective: {"heads"} for objective in WITH_HEADS},
}


@pytest.mark.parametrize("objective", OBJECTIVES.names())
def test_every_objective_is_diagnosed_with_the_sections_of_its_kind(objective):
    run, sections = tiny_run(f"objective={objective}"), SECTIONS.get(objective, set())
    evaluator = Evaluator.of(run, build_train_module(run).eval())
    with unchecked():
        some = (problems(run.task, 0, split, 0, 40) for split in ("train", "test"))
        found = diagnose(evaluator, *some, confidence=0.2)
    assert found["verdict"]["name"] == "not_yet_fitted"
    rarer = {"writing_order", "decoding_steps", "heads"}
    assert rarer & found.keys() == sections
    for section in sections:
        for path, _ in rows_of(section, found[section]):
            assert definition(path), path
    text = diagnosis_text("run", found, explain=False)
    assert ("Order of writing" in text) == ("writing_order" in sections)
