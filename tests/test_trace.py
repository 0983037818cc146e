"""Traces: what is written of a few problems, symbol by symbol, checked against planted models."""

import json

import numpy as np
import pytest
import torch

from tests.runs import tiny_run, train
from tests.tasks import READY
from tests.test_text import KINDS, codec_of, drawn
from unforced.data.codec import SymbolCodec
from unforced.evaluation.evaluator import Evaluator
from unforced.evaluation.trace import MOST_OTHERS, on_its_own, trace
from unforced.registry import TASKS
from unforced.runs.folder import RunFolder
from unforced.tasks.path_star import PathStar
from unforced.testing.planted import Cheater, Perfect, planted_subject
from unforced.training.train_module import build_train_module

STAR = PathStar(degree=3, path_length=4, num_nodes=20)


def traced(behaviour, task=STAR, count=6):
    problems = drawn(task, count)
    if task.of_a_set is not None:  # prompts that say nothing have many references
        problems = problems.take(task.of_a_set.asked(problems))
    return trace(planted_subject(task, behaviour, problems, problems), problems)["problems"]


def cut(entries, length):
    return entries[:length], entries[length:]


@pytest.mark.parametrize("name", READY)
def test_a_perfect_model_is_sure_of_the_true_answer_to_every_question(name):
    for questions in traced(Perfect(), TASKS.get(name)()):
        assert len({question["prompt"] for question in questions}) == len(questions) <= 1 + MOST_OTHERS
        for question in questions:
            assert question["free"] == question["forced"] == question["true"]
            assert question["verdict"] == "correct"
            for mode in ("forced", "free"):
                first, behind = cut(question["chances"][mode], len(question["true"]))
                assert [top[0] for top in first] == [(symbol, 1.0) for symbol in question["true"]]
                assert not any(behind)


def test_a_cheater_is_right_behind_the_decision_when_forced_and_follows_the_wrong_arm_when_free():
    questions = [question for of_one in traced(Cheater(), count=20) for question in of_one]
    wrong = [question for question in questions if question["verdict"] == "wrong_arm"]
    assert wrong
    for question in wrong:
        assert question["forced"][2:] == question["true"][2:]
        for mode, answer in (("forced", question["true"]), ("free", question["free"])):
            assert [top[0][0] for top in question["chances"][mode]][2:] == answer[2:]


def test_other_questions_keep_the_drawing_and_change_the_goal():
    for questions in traced(Perfect()):
        edges, goals = zip(*[(q["drawing"]["edges"], q["drawing"]["goal"]) for q in questions], strict=True)
        assert all(each == edges[0] for each in edges)
        assert len(set(goals)) == len(goals) == STAR.degree
        for question in questions:
            steps = list(zip(question["true"], question["true"][1:], strict=False))
            assert all([*step] in question["drawing"]["edges"] for step in steps)
            assert question["true"][0] == question["drawing"]["start"]
            assert question["true"][-1] == question["drawing"]["goal"]


@pytest.mark.parametrize("order", ["forward", "reversed"])
def test_probabilities_are_those_of_the_model_on_its_own_answer(order):
    run = tiny_run(f"order={order}")
    torch.manual_seed(3)
    evaluator = Evaluator.of(run, build_train_module(run))
    problems = drawn(run.task, 5)
    questions = [questions[0] for questions in trace(evaluator, problems)["problems"]]
    for row, question in enumerate(questions):
        one = problems.take(slice(row, row + 1))
        said = question["free"] if order == "forward" else question["free"][::-1]
        if "?" in said:
            continue
        prompt = torch.from_numpy(run.task.prompts(one))
        for place in range(run.task.answer_length):
            with torch.inference_mode():
                states = evaluator.model.hidden(prompt)
                expected = evaluator.model.logits(states)[0, -1].softmax(-1)
            position = place if order == "forward" else run.task.answer_length - 1 - place
            for symbol, chance in question["chances"]["free"][position]:
                token = run.task.alphabet.index(symbol)
                assert chance == pytest.approx(float(expected[token]), abs=1e-4)
            prompt = torch.cat([prompt, torch.tensor([[run.task.alphabet.index(said[place])]])], dim=1)


def test_nothing_is_said_behind_what_is_no_symbol():
    run = tiny_run()
    evaluator = Evaluator.of(run, build_train_module(run))
    bar = run.task.alphabet.index("|")
    problems = drawn(run.task, 3)
    free = np.full((3, 3), bar)
    with evaluator.inference():
        probabilities = on_its_own(evaluator, problems, free)
    assert np.isfinite(probabilities[:, 0]).all()
    assert np.isnan(probabilities[:, 1:]).all()


def test_an_objective_that_reads_no_answer_has_one_pass():
    run = tiny_run("objective=teacherless")
    said = trace(Evaluator.of(run, build_train_module(run)), drawn(run.task, 3))
    assert said["reads_answers"] is False
    for questions in said["problems"]:
        for question in questions:
            assert set(question["chances"]) == {"free"}
            assert "forced" not in question
            assert [top[0][0] for top in question["chances"]["free"]] == question["free"]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("order", ["forward", "reversed"])
def test_a_text_codec_gives_each_symbol_what_mass_gives_it_alone(kind, order):
    codec = codec_of(PathStar(degree=2, path_length=3, num_nodes=40), kind)
    batch = codec.encode(drawn(codec.task, 4), order)
    logits = torch.randn(*batch.answer.shape, codec.vocab_size, generator=torch.manual_seed(0))
    for position in range(codec.task.answer_length):
        each = codec.probabilities(logits, batch, position)
        known = 0
        for symbol in range(codec.task.answer_symbols):
            mass = codec.mass(logits, batch, position, np.array([[symbol]]))
            told = np.isfinite(each[:, symbol])
            known += told.sum()
            assert each[told, symbol] == pytest.approx(mass[told], rel=1e-4)
        assert known
        assert (np.nansum(each, axis=1) < 1 + 1e-5).all()


def test_a_symbol_codec_gives_each_symbol_what_mass_gives_it_alone():
    codec = SymbolCodec.of(STAR, first=7)
    batch = codec.encode(drawn(STAR, 4), "reversed")
    logits = torch.randn(4, STAR.answer_length, codec.vocab_size, generator=torch.manual_seed(0))
    expected = logits[:, STAR.answer_length - 1 - 1].softmax(-1)[:, 7 : 7 + STAR.num_nodes].numpy()
    assert codec.probabilities(logits, batch, 1) == pytest.approx(expected)
    assert codec.mass(logits, batch, 1, np.array([[3, 5]])) == pytest.approx(expected[:, [3, 5]].sum(1))


def test_a_run_leaves_traces_of_its_first_held_out_problems(tmp_path):
    run = tiny_run("max_steps=2", "evaluate_every=2")
    train(run, tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    traces, answers = json.loads(folder.traces.read_text()), json.loads(folder.answers.read_text())
    assert traces["run"] == run.fingerprint
    assert [questions[0]["prompt"] for questions in traces["problems"]] == [
        answer["prompt"] for answer in answers[: len(traces["problems"])]
    ]
    assert folder.traces.stat().st_size < 50_000
