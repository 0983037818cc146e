"""The verdict's rules, on evidence written by hand, at and between their thresholds."""

import re
from dataclasses import replace

import pytest

from unforced.evaluation.glossary import RULES
from unforced.evaluation.set_verdict import judge_set
from unforced.evaluation.statistics import difference, proportion
from unforced.evaluation.verdict import TITLES, Evidence, judge, margin

COUNT = 2000


def share(value, count=COUNT):
    return proportion(round(value * count), count)


def decision(test, train=None, chance=0.5):
    train, test = share(test if train is None else train), share(test)
    return {"train": train, "test": test, "chance": chance, "gap": difference(train, test)}


def gathering(observed, expected, position="token_1"):
    found = share(observed, 400)
    odds = None if observed == 1 else observed / (1 - observed) * (1 - expected) / expected
    return {"position": position, "observed": found, "expected": expected, "odds_ratio": odds, "p_value": 0.5}


def snowball(forced, decisions=0.2, one_position=0.25):
    return {
        "forced": {f"token_{i}": share(value) for i, value in enumerate(forced)},
        "forced_product": {"value": 0.5, "low": 0.4, "high": 0.6},
        "errors_at_decisions": gathering(decisions, 0.2),
        "errors_at_one_position": gathering(one_position, 0.2),
    }


CHEATER = Evidence(
    what="whole answers",
    problems=COUNT,
    test_exact=share(0.5),
    train_exact=share(0.5),
    as_trained=share(0.5),
    decoder="autoregressive",
    clever_hans={
        "cheat_accuracy": share(1.0),
        "decoy_following": share(1.0),
        "question_blindness": {"decisions": share(1.0), "given_away": share(1.0)},
    },
    decisions={"token_1": decision(0.5)},
    snowball=snowball([1, 0.5, 1, 1, 1], decisions=1, one_position=1),
)
SNOWBALLER = replace(
    CHEATER,
    test_exact=share(0.8),
    train_exact=share(0.8),
    decisions={"token_1": decision(0.95)},
    snowball=snowball([0.95] * 5),
)
UNKNOWN = {key: {"does_not_apply": "unknown"} for key in ("train", "gap")}
NO_CHEAT = {"does_not_apply": "reversed"}


READER = replace(
    CHEATER,
    clever_hans=NO_CHEAT,
    decisions=NO_CHEAT,
    snowball={
        **snowball([0.5, 1, 1, 1], one_position=1),
        "errors_at_decisions": NO_CHEAT,
        "errors_at_one_position": gathering(1, 0.3, "token_0"),
    },
    reliance={"follows": share(1.0)},
)


def cheat(**changes):
    return {**CHEATER.clever_hans, **changes}


CASES = {
    "solved": (replace(CHEATER, test_exact=share(0.995)), "solved"),
    "cheater of unknown training": (replace(CHEATER, train_exact=None), "clever_hans"),
    "of unknown training, right but in decoding": (
        replace(CHEATER, train_exact=None, as_trained=share(1.0), clever_hans=NO_CHEAT),
        "decoding",
    ),
    "snowballer of unknown training": (replace(SNOWBALLER, train_exact=None), "inconclusive"),
    "nearly solved": (replace(CHEATER, test_exact=share(0.988)), "inconclusive"),
    "solved on too few to be sure": (replace(CHEATER, test_exact=share(1.0, 50)), "inconclusive"),
    "cheater": (CHEATER, "clever_hans"),
    "cheater that knows its problems by heart": (
        replace(CHEATER, train_exact=share(1.0), decisions={"token_1": decision(0.5, 1.0)}),
        "clever_hans",
    ),
    "one decision learned, one guessed": (
        replace(CHEATER, decisions={"token_1": decision(1.0), "token_3": decision(0.5)}),
        "clever_hans",
    ),
    "a decision below chance": (replace(CHEATER, decisions={"token_1": decision(0.04)}), "not_yet_fitted"),
    "a decision partly learned": (replace(CHEATER, decisions={"token_1": decision(0.7)}), "not_yet_fitted"),
    "a decision partly learned, and memorised": (
        replace(CHEATER, train_exact=share(1.0), decisions={"token_1": decision(0.7, 1.0)}),
        "memorised",
    ),
    "a decision that may be at chance": (
        replace(CHEATER, decisions={"token_1": decision(0.55)}),
        "inconclusive",
    ),
    "a decision twice as good as a small chance": (
        replace(CHEATER, decisions={"token_1": decision(0.1, chance=0.05)}),
        "not_yet_fitted",
    ),
    "cheat accuracy that may be high": (
        replace(CHEATER, clever_hans=cheat(cheat_accuracy=share(0.95))),
        "inconclusive",
    ),
    "given_away that see the goal": (
        replace(CHEATER, clever_hans=cheat(question_blindness={"given_away": share(0.0)})),
        "inconclusive",
    ),
    "no cheat to learn, guessed": (replace(CHEATER, clever_hans=NO_CHEAT), "not_yet_fitted"),
    "no cheat to learn, memorised": (
        replace(CHEATER, clever_hans=NO_CHEAT, train_exact=share(1.0)),
        "memorised",
    ),
    "fitted on the inputs of training, written wrongly": (
        replace(SNOWBALLER, as_trained=share(1.0)),
        "decoding",
    ),
    "fitted on the inputs of training, and written as well": (
        replace(CHEATER, clever_hans=NO_CHEAT, as_trained=share(1.0), train_exact=share(0.995)),
        "memorised",
    ),
    "a token guessed, and the rest read from the answer": (READER, "relies_on_prefix"),
    "the same by a model that knows its problems by heart": (
        replace(READER, train_exact=share(1.0)),
        "relies_on_prefix",
    ),
    "a token guessed, and the rest not read from the answer": (
        replace(READER, reliance={"follows": share(0.3)}),
        "not_yet_fitted",
    ),
    "two tokens guessed": (
        replace(
            READER,
            snowball={**READER.snowball, "forced": snowball([0.5, 1, 0.8, 1])["forced"]},
        ),
        "not_yet_fitted",
    ),
    "errors that do not gather, of a model that reads the answer": (
        replace(READER, snowball=snowball([0.95] * 5)),
        "compounding",
    ),
    "snowballer": (SNOWBALLER, "compounding"),
    "snowballer without decisions": (
        replace(SNOWBALLER, decisions=NO_CHEAT, clever_hans=NO_CHEAT),
        "compounding",
    ),
    "accurate but on training problems alone": (
        replace(SNOWBALLER, train_exact=share(1.0)),
        "memorised",
    ),
    "nearly as good on held-out problems": (
        replace(
            CHEATER, test_exact=share(0.97), train_exact=share(1.0), decisions={"token_1": decision(0.97)}
        ),
        "inconclusive",
    ),
    "better on training problems": (replace(SNOWBALLER, train_exact=share(0.95)), "not_yet_fitted"),
    "errors at one position": (
        replace(SNOWBALLER, snowball=snowball([1, 1, 1, 1, 0.95], one_position=1)),
        "not_yet_fitted",
    ),
    "one token of several is inaccurate": (
        replace(SNOWBALLER, snowball=snowball([0.95, 0.95, 0.95, 0.85, 0.95])),
        "not_yet_fitted",
    ),
    "nearly fitted": (
        replace(CHEATER, clever_hans=NO_CHEAT, train_exact=share(0.988), snowball=NO_CHEAT),
        "inconclusive",
    ),
}


def answers(creative=0, repeated=0, memorised=0, incoherent=0):
    counts = {"creative": creative, "repeated": repeated, "memorised": memorised, "incoherent": incoherent}
    total = sum(counts.values())
    return {"answers": counts, "creative": proportion(creative, total), "by_heart": share(1.0)}


SETS = {
    "solved": answers(creative=1990, incoherent=10),
    "incoherent": answers(creative=500, repeated=500, memorised=400, incoherent=600),
    "memorised": answers(creative=500, repeated=500, memorised=700, incoherent=300),
    "repeated": answers(creative=1, repeated=1999),
    "inconclusive": answers(creative=900, memorised=560, incoherent=540),
}


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_named_by_why_most_answers_do_not_count(name):
    found = judge_set(SETS[name], share(1.0), 0.95)
    assert found.name == name
    assert any("creative: " in reason for reason in found.because)


@pytest.mark.parametrize(("evidence", "name"), CASES.values(), ids=CASES)
def test_evidence_is_named(evidence, name):
    assert judge(evidence).name == name


def test_every_verdict_has_a_rule_and_a_title():
    assert set(RULES) == set(TITLES) == {name for _, name in CASES.values()} | set(SETS)


def test_every_decision_is_described():
    evidence = CASES["one decision learned, one guessed"][0]
    because = " ".join(judge(evidence).because)
    assert "token_1, a decision: 100.0%" in because
    assert "token_3, a decision: 50.0%" in because


def test_a_memorised_decision_is_named():
    assert "memorised" in " ".join(judge(CASES["cheater that knows its problems by heart"][0]).because)
    assert "memorised" not in " ".join(judge(CHEATER).because)


def test_the_advice_to_measure_more_can_be_typed():
    advice = judge(CASES["nearly solved"][0]).settle
    assert int(re.search(r"--count (\S+)", advice)[1]) == 4 * COUNT


def test_without_training_problems_they_are_asked_for():
    evidence = replace(SNOWBALLER, train_exact=None, decisions={"token_1": decision(0.95) | UNKNOWN})
    verdict = judge(evidence)
    assert verdict.settle.startswith("the problems that it was trained on (--train FILE)")
    assert "training problems" not in " ".join(verdict.because)


def test_the_margin_shrinks_with_chance():
    assert [margin(chance) for chance in (0.5, 0.2, 0.1, 0.05)] == [0.05, 0.05, 0.025, 0.0125]
