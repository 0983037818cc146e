"""Diagnostics and verdicts on models that fail in known ways, and on trained and random ones."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from tests.runs import tiny_run, unchecked
from unforced.errors import UserError
from unforced.evaluation.diagnosis import diagnose
from unforced.evaluation.diagnostics import errors_at_one_position, question_blindness, snowball
from unforced.evaluation.evaluator import Evaluator, answers
from unforced.evaluation.probe import probe
from unforced.evaluation.statistics import problems_needed
from unforced.objectives.next_token import NextToken
from unforced.objectives.teacherless import Teacherless
from unforced.tasks.addition import Addition
from unforced.tasks.branching_path import BranchingPath
from unforced.tasks.path_star import PathStar
from unforced.tasks.sampling import problems
from unforced.testing.planted import (
    Cheater,
    Memoriser,
    Perfect,
    Snowballer,
    Uniform,
    planted_subject,
)
from unforced.training.train_module import build_train_module

CONFIDENCE = 0.95
STAR = PathStar(degree=3, path_length=5, num_nodes=30)
TREE = BranchingPath(degree=2, path_length=6, forks=(1, 3), num_nodes=40)
LONG_ENDS = BranchingPath(degree=2, path_length=6, forks=(0, 2), num_nodes=40)
SUM = Addition(num_digits=4)
TASKS = {"path_star": STAR, "branching_path": TREE, "addition": SUM}
VERDICTS = {
    Perfect(): "solved",
    Cheater(): "clever_hans",
    Cheater(memorises=True): "clever_hans",
    Memoriser(): "memorised",
    Snowballer(error=0.05): "compounding",
    Uniform(): "not_yet_fitted",
}


def planted(task, behaviour, seed=0, count=1600, objective=None):
    """A planted evaluator, and the training and held-out problems that it knows."""
    train, held_out = problems(task, seed, "train", 0, 200), problems(task, seed, "test", 0, count)
    return planted_subject(task, behaviour, train, held_out, seed, objective), train, held_out


def diagnosis(task, behaviour, **options):
    return diagnose(*planted(task, behaviour, **options))


def asked(task, behaviour, **options):
    evaluator, _, held_out = planted(task, behaviour, **options)
    return probe(evaluator, held_out)


@pytest.mark.parametrize("behaviour", VERDICTS, ids=repr)
def test_planted_models_are_named_rightly_over_twenty_seeds(behaviour):
    count = 4000 if isinstance(behaviour, Cheater) else 1600  # a cheat takes more to tell from chance
    with unchecked():
        found = [diagnosis(STAR, behaviour, seed=seed, count=count)["verdict"]["name"] for seed in range(20)]
    assert found == [VERDICTS[behaviour]] * 20


@pytest.mark.parametrize("task", [TREE, SUM], ids=["branching_path", "addition"])
@pytest.mark.parametrize("behaviour", VERDICTS, ids=repr)
def test_planted_models_are_named_rightly_on_other_tasks(task, behaviour):
    found = [diagnosis(task, behaviour, seed=seed)["verdict"]["name"] for seed in range(3)]
    assert found == [VERDICTS[behaviour]] * 3


def test_a_verdict_says_what_it_rests_on():
    verdict = diagnosis(STAR, Cheater(memorises=True))["verdict"]
    assert verdict["title"] == "fails by Clever Hans cheat"
    assert any("cheat accuracy 100.0%" in reason for reason in verdict["because"])
    assert any("memorised" in reason for reason in verdict["because"])
    assert "teacherless" in verdict["settle"]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
class TestEachPlantedModel:
    def test_perfect(self, task):
        found = diagnosis(task, Perfect())
        assert found["exact"]["test"]["value"] == found["exact"]["train"]["value"] == 1
        assert found["clever_hans"]["cheat_accuracy"]["value"] == 1
        assert found["error_kinds"]["correct"] == 1600
        assert all(each["gap"]["value"] == 0 for each in found["indecipherable_token"].values())
        assert found["clever_hans"]["question_blindness"]["decisions"]["value"] == 0
        assert found["snowball"]["errors_at_decisions"] == {"does_not_apply": "no answer failed"}
        assert all(each["true"] == pytest.approx(1) for each in found["probability"].values())

    def test_cheater(self, task):
        found = diagnosis(task, Cheater(), count=2000)
        assert found["clever_hans"]["cheat_accuracy"]["value"] == 1
        for each in found["indecipherable_token"].values():
            assert each["test"]["low"] <= each["chance"]
            assert abs(each["gap"]["value"]) < 0.15
        assert found["snowball"]["errors_at_decisions"]["observed"]["value"] == 1
        for each in found["probability"].values():
            assert each["true"] + each["other_choices"] == pytest.approx(1)
            assert each["other_choices"] > 0.3

    def test_memoriser(self, task):
        found = diagnosis(task, Memoriser())
        assert found["exact"]["train"]["value"] == 1
        assert found["exact"]["test"]["value"] < 0.05
        assert all(each["gap"]["low"] > 0.3 for each in found["indecipherable_token"].values())

    def test_uniform(self, task):
        found = diagnosis(task, Uniform())
        assert found["exact"]["train"]["value"] < 0.05
        vocabulary = len(task.alphabet) + 1
        for each in found["probability"].values():
            assert each["true"] == pytest.approx(1 / vocabulary)
            assert sum(each.values()) == pytest.approx(1)


def test_a_snowballers_rate_of_error_is_found_again():
    rate, count = 0.05, 4000
    found = snowball(asked(STAR, Snowballer(error=rate), count=count), CONFIDENCE)
    for each in found["forced"].values():
        assert each["value"] == pytest.approx(1 - rate, abs=4 * (rate / count) ** 0.5)
    expected = (1 - rate) ** STAR.answer_length
    assert found["forced_product"]["value"] == pytest.approx(expected, abs=0.03)
    assert found["free_exact"]["value"] == pytest.approx(expected, abs=0.03)
    share = found["errors_at_decisions"]
    assert share["observed"]["low"] < share["expected"] < share["observed"]["high"]
    counts = list(found["first_error"].values())
    assert counts[0] > counts[-1]  # fewer answers get that far
    assert sum(counts) == count - found["free_exact"]["correct"]


def test_a_coin_flip_at_the_first_hop_is_a_failure_of_training():
    found = snowball(asked(STAR, Cheater(), count=1000), CONFIDENCE)
    assert found["forced"]["token_1"]["value"] == pytest.approx(1 / 3, abs=0.06)
    assert found["forced_product"]["low"] < found["free_exact"]["value"] < found["forced_product"]["high"]
    assert found["first_error"]["token_1"] == 1000 - found["free_exact"]["correct"]
    assert found["errors_at_decisions"]["p_value"] < 1e-9


@pytest.mark.parametrize("task", [STAR, TREE], ids=["path_star", "branching_path"])
def test_a_cheater_follows_wrong_arms_and_is_blind_to_the_goal(task):
    found = diagnosis(task, Cheater())["clever_hans"]
    assert found["decoy_following"]["value"] == (1 if task is STAR else pytest.approx(0.75, abs=0.1))
    assert found["question_blindness"]["given_away"]["value"] > 0.99


@pytest.mark.parametrize("task", [STAR, TREE], ids=["path_star", "branching_path"])
def test_who_knows_the_answer_anyway_follows_no_wrong_arm(task):
    found = diagnosis(task, Perfect())["clever_hans"]
    # The goal's own arm is taken up again; where nothing but the goal is left to say, that is the same.
    assert found["decoy_following"]["value"] < 0.05
    assert found["question_blindness"]["given_away"]["value"] == 0


def test_addition_says_where_a_measure_does_not_apply():
    found = diagnosis(SUM, Cheater())["clever_hans"]
    assert "no wrong answer" in found["decoy_following"]["does_not_apply"]
    assert "value" in found["cheat_accuracy"]
    assert "value" in found["question_blindness"]["decisions"]


def test_who_never_reads_the_answer_has_no_cheat_and_no_snowball():
    found = diagnosis(STAR, Perfect(), objective=Teacherless())
    assert found["verdict"]["name"] == "solved"
    assert "not trained on the true answer" in found["clever_hans"]["does_not_apply"]
    assert found["clever_hans"]["question_blindness"]["decisions"]["value"] == 0
    assert "given_away" not in found["clever_hans"]["question_blindness"]
    assert "does not read its own answer" in found["snowball"]["does_not_apply"]
    assert found["indecipherable_token"]["token_1"]["test"]["value"] == 1


def test_a_model_trained_on_one_position_is_judged_by_that_position():
    found = diagnosis(STAR, Cheater(memorises=True), objective=NextToken(train_positions=(1,)))
    assert found["exact"]["train"]["value"] == 1
    assert found["exact"]["test"] == found["indecipherable_token"]["token_1"]["test"]
    assert (
        "positions trained"
        in diagnosis(STAR, Uniform(), objective=NextToken(train_positions=(1,)))["verdict"]["because"][0]
    )


def test_measures_of_all_tokens_do_not_apply_where_some_are_not_trained():
    found = diagnosis(STAR, Cheater(), objective=NextToken(train_positions=(1,)))
    for section in ("clever_hans", "snowball"):
        assert "positions 1 alone" in found[section]["does_not_apply"]


@pytest.mark.parametrize(
    ("behaviour", "name"),
    [(Perfect(), "solved"), (Cheater(memorises=True), "memorised"), (Cheater(), "not_yet_fitted")],
    ids=repr,
)
def test_training_one_position_is_learned_memorised_or_at_chance(behaviour, name):
    found = diagnosis(STAR, behaviour, objective=NextToken(train_positions=(1,)))
    assert found["verdict"]["name"] == name


def test_a_small_training_set_measured_whole_is_certain():
    evaluator, train, held_out = planted(STAR, Memoriser())
    few = train.take(slice(0, 60))
    assert diagnose(evaluator, few, held_out)["verdict"]["name"] == "inconclusive"
    assert diagnose(evaluator, few, held_out, all_of_training=True)["verdict"]["name"] == "memorised"


@dataclass(frozen=True)
class Guesser:
    """Decides by chance, then says the way to the goal, whatever it read."""

    def next(self, known, so_far, chance):
        on_path = (so_far == known.truth[:, : so_far.shape[1]]).all(axis=1)
        decided = Cheater().next(known, so_far, chance)
        return np.where(on_path, decided, known.truth[:, so_far.shape[1]])


def test_a_guesser_that_reads_the_goal_is_no_cheater():
    found = diagnosis(STAR, Guesser())
    assert found["clever_hans"]["decoy_following"]["value"] == 0
    assert found["verdict"]["name"] == "inconclusive"


def test_a_second_fork_is_harder_to_guess_for_who_reads_no_answer():
    forced, free = (
        diagnosis(TREE, Uniform(), objective=objective)["indecipherable_token"]
        for objective in (NextToken(), Teacherless())
    )
    assert [each["chance"] for each in forced.values()] == [0.5, 0.5]
    assert [each["chance"] for each in free.values()] == [0.5, 0.25]


def test_more_questions_than_are_asked_are_spread_over_all():
    task = PathStar(degree=40, path_length=3, num_nodes=90)
    evaluator, _, held_out = planted(task, Cheater(), count=20)
    answered = probe(evaluator, held_out).responses
    assert answered.moved.shape == answered.other_truths.shape == (20, 16, 3)
    leaves = task.lookahead.decoys(held_out)[:, :, -1]
    asked_for = answered.other_truths[:, :, -1]
    assert (asked_for[:, 0] == leaves[:, 0]).all()
    assert (asked_for[:, -1] == leaves[:, -1]).all()


def random_subject(*overrides):
    """An untrained model, which answers all kinds of things."""
    wide = ["model.init_std=1", "task.degree=3", "task.path_length=4", "task.num_nodes=14"]
    run = tiny_run(*wide, *overrides)
    return Evaluator.of(run, build_train_module(run).eval())


@pytest.mark.parametrize("order", ["forward", "reversed"])
@pytest.mark.parametrize("objective", ["next_token", "teacherless"])
def test_sharing_prompts_changes_no_answer(objective, order):
    evaluator = random_subject(f"objective={objective}", f"order={order}")
    held_out = evaluator.task.sample(np.random.default_rng(0), 40)
    found = probe(evaluator, held_out).responses
    assert np.array_equal(found.free, answers(evaluator, held_out, evaluator.free))
    assert np.array_equal(found.forced, answers(evaluator, held_out, evaluator.forced))
    for number, other in enumerate(evaluator.task.lookahead.counterfactual_prompts(held_out)):
        with evaluator.inference():
            moved, _ = evaluator.trained(evaluator.encode(other, evaluator.task.answers(held_out)))
        assert np.array_equal(found.moved[:, number], moved)


def test_following_feeds_a_decoy_up_to_its_first_difference():
    evaluator = random_subject(
        "task=branching_path", "task.forks=[0,2]", "task.path_length=5", "task.num_nodes=14"
    )
    task = evaluator.task
    held_out = task.sample(np.random.default_rng(0), 30)
    found = probe(evaluator, held_out).responses
    truth, decoys = task.answers(held_out), task.lookahead.decoys(held_out)
    assert set(found.fed) == {2, 4}  # forks at depths 0 and 2: the second symbol, or the fourth
    for i, fed in enumerate(found.fed):
        same = [
            d
            for d in decoys[i]
            if (d[: fed - 1] == truth[i, : fed - 1]).all() and d[fed - 1] != truth[i, fed - 1]
        ]
        ends = []
        for decoy in same:
            tokens = torch.tensor([[*task.prompts(held_out)[i], *decoy[:fed]]])
            for _ in range(task.answer_length - fed):
                logits = evaluator.model.logits(evaluator.model.hidden(tokens))
                tokens = torch.cat([tokens, logits[:, -1:].argmax(-1)], dim=1)
            ends.append(tokens[0, -(task.answer_length - fed) :].tolist() == decoy[fed:].tolist())
        assert found.completed[i] in ends


@dataclass(frozen=True)
class Jumper(Cheater):
    """A cheater that ends every answer with the goal, whichever arm it followed."""

    def next(self, known, so_far, chance):
        last = so_far.shape[1] == known.task.answer_length - 1
        return known.truth[:, -1] if last else super().next(known, so_far, chance)


@pytest.mark.parametrize(("task", "kind"), [(STAR, "wrong_arm_to_goal"), (LONG_ENDS, "wrong_branch_to_goal")])
def test_a_wrong_arm_counts_as_followed_whatever_stands_at_its_end(task, kind):
    ends, jumps = (diagnosis(task, behaviour) for behaviour in (Cheater(), Jumper()))
    assert jumps["clever_hans"]["decoy_following"] == ends["clever_hans"]["decoy_following"]
    assert jumps["error_kinds"][kind] == 1600 - jumps["error_kinds"]["correct"] > 700
    assert jumps["verdict"]["name"] == "clever_hans"


def test_the_end_of_an_arm_counts_where_nothing_else_is_left_to_say():
    short = PathStar(degree=2, path_length=3, num_nodes=30)
    ends, jumps = (diagnosis(short, behaviour) for behaviour in (Cheater(), Jumper()))
    assert ends["clever_hans"]["decoy_following"]["value"] == 1
    assert jumps["clever_hans"]["decoy_following"]["value"] == 0


def test_question_blindness_looks_at_the_first_token_that_differs_and_those_after_it():
    evaluator, _, held_out = planted(STAR, Perfect())
    found = question_blindness(probe(evaluator, held_out), CONFIDENCE)
    assert found["decisions"]["total"] == 1600 * (STAR.degree - 1)
    assert found["given_away"]["total"] == 1600 * (STAR.degree - 1) * (STAR.answer_length - 2)


def test_too_few_problems_are_refused_in_one_line():
    evaluator, train, held_out = planted(STAR, Perfect(), count=100)
    with pytest.raises(
        UserError, match=r"100 held-out problems are too few .* takes 1537 .* `unforced evaluate`"
    ):
        diagnose(evaluator, train, held_out)
    assert problems_needed(0.99, 0.05) == 664


def test_a_position_chosen_for_its_errors_is_seldom_significant_by_chance():
    rng, significant = np.random.default_rng(0), 0
    for _ in range(400):
        first = np.eye(4, dtype=bool)[rng.integers(4, size=40)]
        first = np.concatenate(
            [first, np.zeros((4000, 4), bool)]
        )  # few fail, so the hazard is as good as even
        found = errors_at_one_position(first, "forward", 0.95)
        significant += found["p_value"] < 0.05
        assert (found["observed"]["low"] > found["expected"]) <= (found["p_value"] < 0.1)
    assert significant <= 30  # 22 with this seed; uncorrected they are 40


def test_a_reversed_answer_that_is_not_read_is_decided_as_any_other():
    run = tiny_run("order=reversed", "objective=teacherless", "model.width=8")
    held_out = problems(run.task, 0, "test", 0, 1600)
    found = diagnose(Evaluator.of(run, build_train_module(run)), held_out, held_out)
    assert found["indecipherable_token"]["token_1"]["chance"] == 0.5
    assert "value" in found["clever_hans"]["question_blindness"]["decisions"]


def test_a_reversed_answer_has_no_cheat_to_measure():
    run = tiny_run("order=reversed", "model.width=8")
    evaluator = Evaluator.of(run, build_train_module(run))
    held_out = problems(run.task, 0, "test", 0, 1600)
    found = diagnose(evaluator, held_out, held_out)
    for section in ("clever_hans", "indecipherable_token", "probability"):
        assert "reversed" in found[section]["does_not_apply"]
    assert "reversed" in found["snowball"]["errors_at_decisions"]["does_not_apply"]
    assert set(found["snowball"]["first_error"]) == {"token_0", "token_1", "token_2"}


def test_probing_leaves_the_model_as_it_was():
    run = tiny_run()
    train_module = build_train_module(run).train()
    probe(Evaluator.of(run, train_module), problems(run.task, 0, "test", 0, 20))
    assert train_module.model.training
    assert all(parameter.grad is None for parameter in train_module.parameters())
