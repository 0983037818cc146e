"""What a diagnosis says where no counterfactual is known: planted models on own data."""

import json
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.runs import tiny_run, unchecked
from unforced.evaluation.by_position import position_groups
from unforced.evaluation.diagnosis import diagnose
from unforced.evaluation.evaluator import Evaluator
from unforced.evaluation.glossary import definition
from unforced.evaluation.reliance import _in_place, _inner, reliance
from unforced.objectives.teacherless import Teacherless
from unforced.reporting.report_figures.positions import positions as figure
from unforced.reporting.report_tables.diagnoses import _reliance
from unforced.reporting.report_tables.diagnoses import positions as table
from unforced.runs.finished import FinishedRun
from unforced.runs.groups import group_runs
from unforced.tasks.own_data import OwnData
from unforced.testing.planted import (
    Memoriser,
    Perfect,
    PrefixReader,
    Snowballer,
    Uniform,
    planted_subject,
)
from unforced.training.train_module import build_train_module

COLOURS = ["amber", "blue", "crimson", "denim", "emerald", "fawn", "green", "hazel"]
COUNT = 2500


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "colours.jsonl"
    rows = ({"prompt": f"item {i}", "answer": COLOURS[i * 7919 % 8]} for i in range(COUNT))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return OwnData(path=str(path), held_out=0.4)


@cache
def found(task, behaviour, **options):
    """The diagnosis of a planted model, made once."""
    train, held_out = task.listed("train").take(slice(300)), task.listed("test")
    with unchecked():
        return diagnose(planted_subject(task, behaviour, train, held_out, **options), train, held_out)


VERDICTS = {
    Perfect(): "solved",
    PrefixReader(): "relies_on_prefix",
    PrefixReader(memorises=True): "relies_on_prefix",
    Memoriser(): "memorised",
    Snowballer(error=0.03): "compounding",
    Uniform(): "not_yet_fitted",
}


@pytest.mark.parametrize("behaviour", VERDICTS, ids=repr)
def test_each_planted_failure_is_named(task, behaviour):
    verdict = found(task, behaviour)["verdict"]
    assert verdict["name"] == VERDICTS[behaviour]
    if verdict["name"] not in ("solved", "relies_on_prefix"):
        assert "neither named nor excluded" in verdict["because"][-1]


def test_who_reads_the_answer_so_far_follows_another_one(task):
    said = found(task, PrefixReader())
    assert said["reliance"]["hidden_by"] == "tokens of other answers"
    assert said["reliance"]["given"]["value"] == 1
    assert said["reliance"]["follows"]["value"] == 1
    assert said["reliance"]["swapped_gap"]["low"] > 0.5
    first = said["positions"]["token_0"]
    assert first["forced"]["value"] == first["free"]["value"] == pytest.approx(1 / 8, abs=0.03)
    assert first["first_error"]["value"] == pytest.approx(7 / 8, abs=0.03)
    assert said["positions"]["token_2"]["forced"]["value"] == 1
    assert said["positions"]["token_2"]["first_error"]["value"] == 0
    assert said["after_error"]["forced"]["value"] == 1
    assert said["after_error"]["gap"]["low"] > 0.5
    assert "does_not_apply" in said["by_heart"]["recited"]


def test_who_knows_the_answer_needs_no_prefix(task):
    said = found(task, Perfect())
    assert said["reliance"]["hidden"]["value"] == said["reliance"]["swapped"]["value"] == 1
    assert said["reliance"]["hidden_gap"]["value"] == said["reliance"]["follows"]["value"] == 0
    assert said["after_error"] == {"does_not_apply": "no wrong answer goes on behind its first error"}


def test_steady_errors_stay_alone_and_are_steady(task):
    rate = 0.03
    said = found(task, Snowballer(error=rate))
    rates = [each["first_error"]["value"] for each in said["positions"].values() if "first_error" in each]
    assert rates[:4] == pytest.approx([rate] * 4, abs=0.02)
    assert said["after_error"]["gap"]["low"] < 0.02 < 0.1 > abs(said["after_error"]["gap"]["value"])
    assert abs(said["by_heart"]["tokens"]["gap"]["value"]) < 0.03
    assert any("behind its first error" in reason for reason in said["verdict"]["because"])


def test_what_is_known_by_heart_is_known_of_training_problems_alone(task):
    said = found(task, Memoriser())["by_heart"]["tokens"]
    assert said["train"]["value"] == 1
    assert said["gap"]["low"] > 0.5


def test_a_mask_token_hides_where_training_showed_it_and_nothing_is_hidden_where_it_showed_nothing(task):
    run = tiny_run("objective=masked", "num_train=100").replace(task=task)
    parts = reliance(Evaluator.of(run, build_train_module(run)), task.listed("test").take(slice(40)), 0.95)
    assert parts["hidden_by"] == "the mask token"
    nothing = found(task, Perfect(), objective=Teacherless())["reliance"]
    assert "not trained on the true answer" in nothing["does_not_apply"]


def test_what_hides_an_answer_is_of_another_one_however_few_and_long_they_are(tmp_path):
    answers = ["abcdef", "ghijkl", "mnopqrst"]
    rows = [
        {"prompt": f"{split} {i}", "answer": answer, "split": split}
        for split in ("train", "validation", "test")
        for i, answer in enumerate(answers)
    ]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = tiny_run("num_train=3").replace(task=OwnData(path=str(path), unseen="keep"))
    evaluator = Evaluator.of(run, build_train_module(run))
    batch = evaluator.encode(run.task.listed("test"))
    inner = _inner(batch)
    replaced = _in_place(evaluator, batch, inner) != batch.answer
    assert int(inner.sum()) == sum(map(len, answers))
    assert torch.equal(replaced, inner)


def test_long_answers_are_cut_into_ten_ranges():
    groups = position_groups(200)
    assert len(groups) == 10
    assert [*range(200)] == [i for at in groups.values() for i in range(at.start, at.stop)]
    assert list(position_groups(3)) == ["token_0", "token_1", "token_2"]
    assert definition("positions.tokens_3_to_6.free") == definition("positions.token_0.free") != ""


def test_a_table_of_diagnoses_has_its_columns_where_one_was_made(task):
    said = _reliance([found(task, PrefixReader()), {}])
    assert said["follows another answer"] == "100.0 (one seed)"
    assert set(_reliance([{}]).values()) == {""}  # a column that is left out


def test_positions_of_several_seeds_are_a_table_and_a_figure(task):
    told = [found(task, PrefixReader()), found(task, Perfect()), None]
    trees = [tiny_run(f"seed={seed}").tree() for seed in range(3)]
    groups = group_runs(
        FinishedRun(str(seed), Path(), tree, {}, [], diagnosis, {})
        for seed, (tree, diagnosis) in enumerate(zip(trees, told, strict=True))
    )
    low = told[0]["positions"]["token_0"]["free"]["value"]
    made = table(groups, [])
    assert made is not None
    assert made.frame["position"].tolist() == [name.split("_")[1] for name in told[0]["positions"]]
    assert made.frame["free-running"].iloc[0] == f"{50 * (1 + low):.1f} ({100 * low:.1f}–100.0)"
    assert "seeds 2" in made.note
    (axes,) = figure(groups)[""].axes
    first = [bar.get_height() for bar in axes.patches]
    assert first[:2] == [pytest.approx((1 - low) / 2), 0]
    assert axes.lines[1].get_ydata()[0] == pytest.approx((1 + low) / 2)
    assert table([], []) is None
    assert figure([]) == {}
