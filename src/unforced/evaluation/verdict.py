"""The verdict: which failure it is, from stated thresholds and the intervals of what was measured."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from unforced.config import SOLVED
from unforced.evaluation.statistics import Estimate, difference, percent

Name = Literal[
    "solved",
    "clever_hans",
    "relies_on_prefix",
    "decoding",
    "memorised",
    "not_yet_fitted",
    "compounding",
    "incoherent",
    "repeated",
    "inconclusive",
]

SOLVED_AT_LEAST = SOLVED - 0.01
"""How low the interval of a solved (or fitted) accuracy may reach."""
CHEAT = 0.95
"""Cheat accuracy from which the tokens after a decision count as fitted."""
BLIND = 0.5
"""Question blindness from which those tokens count as read from the answer and not from the question."""
MARGIN = 0.05
"""How far from chance a decisive token may be and still count as guessed, where chance is 20% or more; and
by how much a training set must be fitted better than held-out problems to count as memorised."""
ACCURATE = 0.9
"""Forced accuracy of every token from which a next-token predictor counts as accurate."""
CONFIDENT = 10.0
"""How many times as probable as the true token a wrong one is, from which a model is confidently wrong."""
GATHERED = 3.0
"""Odds, over what a steady hazard expects, from which first errors gather somewhere."""

_UNKNOWN = (
    "what needs lookahead is unknown here, so that a Clever Hans cheat is neither named nor excluded; "
    "see the sections on positions and on reliance"
)
_MOST_RARE = 0.1  # share of the problems, below which a position is too rare to be the worst
_MANY = 1000  # times, which no reader wants to know more exactly

TITLES: Mapping[Name, str] = {
    "solved": "solved",
    "clever_hans": "fails by Clever Hans cheat",
    "relies_on_prefix": "relies on the true answer so far",
    "decoding": "fails in decoding",
    "memorised": "memorised",
    "not_yet_fitted": "not yet fitted",
    "compounding": "compounding at inference",
    "incoherent": "incoherent answers",
    "repeated": "repeated answers",
    "inconclusive": "inconclusive",
}


@dataclass(frozen=True)
class Verdict:
    """A name, what it rests on, and what would settle or change it (empty where nothing is left to do)."""

    name: Name
    because: tuple[str, ...]
    settle: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "name": self.name,
            "title": TITLES[self.name],
            "because": list(self.because),
            "settle": self.settle,
        }


@dataclass(frozen=True)
class Evidence:
    """What a verdict looks at: sections of a diagnosis, by name; and in words what is exact or not.

    train_exact accuracy on training problems; None where nobody says which they are
    as_trained  accuracy on training problems (on held-out ones, where those are unknown), on the inputs of
                training
    decoder     what wrote the answers
    all_of_them whether the held-out problems measured are all that there are
    reliance, after_error   sections of tasks without counterfactuals, else empty
    """

    what: str
    problems: int
    test_exact: Estimate
    train_exact: Estimate | None
    as_trained: Estimate
    decoder: str
    clever_hans: Mapping[str, Any]
    decisions: Mapping[str, Any]
    snowball: Mapping[str, Any]
    all_of_them: bool = False
    reliance: Mapping[str, Any] = field(default_factory=dict)
    after_error: Mapping[str, Any] = field(default_factory=dict)

    @property
    def measured_decisions(self) -> dict[str, Mapping[str, Any]]:
        """Decisive tokens that were measured, by name."""
        return {
            name: each for name, each in self.decisions.items() if isinstance(each, dict) and "test" in each
        }

    @property
    def guessed(self) -> list[str]:
        """Decisive tokens that are at chance on held-out problems."""
        return [name for name, each in self.measured_decisions.items() if _side_of_chance(each) == "at"]

    @property
    def perhaps_guessed(self) -> list[str]:
        """Decisive tokens that may be at chance, or not."""
        return [name for name, each in self.measured_decisions.items() if _side_of_chance(each) == "unclear"]

    @property
    def cheat(self) -> Estimate | None:
        """Cheat accuracy, where it applies."""
        found: Estimate = self.clever_hans.get("cheat_accuracy", {})
        return found if "value" in found else None

    @property
    def sees_the_goal(self) -> bool:
        """Whether the tokens after a decision move with the goal, where that can be told: then no cheat."""
        following = self.clever_hans.get("decoy_following", {})
        blindness = self.clever_hans.get("question_blindness", {}).get("given_away", {})
        return "value" in following and "value" in blindness and blindness["high"] < BLIND


def margin(chance: float) -> float:
    """Return how far from `chance` still counts as at chance: MARGIN, and less where chance is small."""
    return min(MARGIN, chance / 4)


def judge(evidence: Evidence) -> Verdict:
    """Name the failure. Each rule and threshold is in docs/metrics.md; the first that holds decides."""
    found = _judge(evidence)
    if not evidence.reliance or found.name in ("solved", "relies_on_prefix"):
        return found
    return replace(found, because=(*found.because, _UNKNOWN))


def _judge(evidence: Evidence) -> Verdict:
    test, train = evidence.test_exact, evidence.train_exact
    if _reached(test):
        return Verdict("solved", (f"{evidence.what} on held-out problems: {percent(test)}",), "")
    if test["high"] >= SOLVED:
        return _undecided(evidence, f"{evidence.what} on held-out problems: perhaps solved, {percent(test)}")
    for rule in (_clever_hans, _relies_on_prefix, _decoding, _memorised, _compounding, _not_yet_fitted):
        verdict = rule(evidence)
        if verdict is not None:
            return verdict
    if train is None:
        because = (f"{evidence.what} on held-out problems: {percent(test)}", *_decisions(evidence))
        return Verdict(
            "inconclusive",
            because,
            "the problems that it was trained on (--train FILE), which tell memorised from not yet fitted",
        )
    if _reached(train):
        return _undecided(evidence, f"neither solved nor memorised: {_both_splits(evidence)}")
    return _undecided(evidence, f"{evidence.what} on training problems: perhaps fitted, {percent(train)}")


def _clever_hans(evidence: Evidence) -> Verdict | None:
    cheat = evidence.cheat
    if cheat is None or cheat["high"] < CHEAT or not (evidence.guessed or evidence.perhaps_guessed):
        return None
    if cheat["low"] < CHEAT:
        return _undecided(evidence, f"cheat accuracy: perhaps {CHEAT:.0%}, {percent(cheat)}")
    if not evidence.guessed:
        token = evidence.perhaps_guessed[0]
        found = evidence.decisions[token]
        return _undecided(
            evidence, f"{token}: perhaps at chance, {percent(found['test'])}", *_decisions(evidence)
        )
    if evidence.sees_the_goal:
        return _undecided(
            evidence,
            f"{evidence.guessed[0]} is at chance, but what follows is not read from the true answer: "
            "it moves with the goal",
            *_decisions(evidence),
        )
    because = (
        f"given the true answer so far, the tokens it gives away are right: cheat accuracy {percent(cheat)}",
        *filter(None, [evidence.clever_hans.get("note", "")]),
        *_decisions(evidence),
    )
    without = "objective=teacherless, order=reversed or objective.train_positions"
    others = "with an objective that looks further ahead, or for longer"
    return Verdict("clever_hans", because, f"training without the cheat ({without}), {others}")


def _relies_on_prefix(evidence: Evidence) -> Verdict | None:
    """Name what a Clever Hans cheat looks like where it is unknown which token needs lookahead."""
    follows, forced = evidence.reliance.get("follows", {}), evidence.snowball.get("forced")
    errors = evidence.snowball.get("errors_at_one_position", {})
    if "value" not in follows or not forced or not _gathered(errors) or follows["low"] < BLIND:
        return None
    at = errors["position"]
    others = {name: found for name, found in _usual(forced).items() if name != at}
    if not others or others[_worst(others)]["low"] < ACCURATE or forced[at]["high"] >= ACCURATE:
        return None
    worst = _worst(others)
    because = (
        f"given the true answer so far, {at} is right in {percent(forced[at])}, and all others are right, "
        f"the worst, {worst}, in {percent(others[worst])}",
        f"first errors gather at {at}: {percent(errors['observed'])}, where a steady rate of error expects "
        f"{errors['expected']:.1%}",
        f"behind the beginning of another answer, predictions go on with that answer: {percent(follows)}",
        _both_splits(evidence),
        f"whether {at} needs lookahead is unknown: a Clever Hans cheat looks so, and so does a token that "
        "the prompt leaves open",
    )
    advice = "training without the true answer (objective=teacherless), or order=reversed; if these fail at "
    return Verdict("relies_on_prefix", because, f"{advice}{at} as well, see whether the prompt decides it")


def _decoding(evidence: Evidence) -> Verdict | None:
    written, which = evidence.train_exact, "training"
    if written is None:
        written, which = evidence.test_exact, "held-out"
    if not _reached(evidence.as_trained) or written["high"] >= SOLVED:
        return None
    because = (
        f"{evidence.what} on {which} problems, on the inputs of training: {percent(evidence.as_trained)}",
        f"as {evidence.decoder} writes them: {_both_splits(evidence)}",
    )
    return Verdict("decoding", because, "another decoder, or training on what this one reads")


def _memorised(evidence: Evidence) -> Verdict | None:
    if evidence.train_exact is None:
        return None
    gap = difference(evidence.train_exact, evidence.test_exact)
    if not _reached(evidence.train_exact) or gap["low"] <= MARGIN:
        return None
    because = (_both_splits(evidence), *_decisions(evidence))
    return Verdict(
        "memorised", because, "more training problems, or training on after the fit (train_past_stop)"
    )


def _compounding(evidence: Evidence) -> Verdict | None:
    forced = evidence.snowball.get("forced")
    if not forced or evidence.train_exact is None:
        return None
    if difference(evidence.train_exact, evidence.test_exact)["low"] > MARGIN:
        return None
    worst = _worst(_usual(forced))
    errors = evidence.snowball["errors_at_one_position"]
    if forced[worst]["low"] < ACCURATE or _gathered(errors):
        return None
    if _gathered(evidence.snowball["errors_at_decisions"]):
        return None
    because = (
        f"each token is predicted accurately given the true ones before it; the worst, {worst}: "
        f"{percent(forced[worst])}",
        f"{_both_splits(evidence)}; the product of the accuracies of tokens is "
        f"{percent(evidence.snowball['forced_product'])}",
        f"first errors do not gather: most of all at {errors['position']}, {percent(errors['observed'])}, "
        f"where a steady rate of error expects {errors['expected']:.1%}",
        *_damage(evidence),
    )
    return Verdict("compounding", because, "more training, or shorter answers: the predictor itself is sound")


def _damage(evidence: Evidence) -> tuple[str, ...]:
    found = evidence.after_error
    if "value" not in found.get("free", {}):
        return ()
    line = f"behind its first error, tokens of an answer are right in {percent(found['free'])}"
    return (f"{line}, given the true answer in {percent(found['forced'])}",)


def _not_yet_fitted(evidence: Evidence) -> Verdict | None:
    if evidence.train_exact is None or evidence.train_exact["high"] >= SOLVED:
        return None
    because = [_both_splits(evidence), *_decisions(evidence)]
    forced = evidence.snowball.get("forced")
    if forced:
        worst = _worst(_usual(forced))
        because.append(f"the worst token given the true ones before it is {worst}: {percent(forced[worst])}")
    return Verdict("not_yet_fitted", tuple(because), "more steps, another learning rate, or a larger model")


def _side_of_chance(decision: Mapping[str, Any]) -> Literal["at", "off", "unclear"]:
    """Say on which side of chance a decision is: on the inputs of training, and as it is written."""
    sides = [_side(decision["test"], decision["chance"])]
    if "written" in decision:
        sides.append(_side(decision["written"], decision["written_chance"]))
    return "off" if "off" in sides else "unclear" if "unclear" in sides else "at"


def _side(found: Estimate, chance: float) -> Literal["at", "off", "unclear"]:
    low, high = chance - margin(chance), chance + margin(chance)
    if low <= found["low"] and found["high"] <= high:
        return "at"
    return "off" if found["low"] > high or found["high"] < low else "unclear"


def _decisions(evidence: Evidence) -> tuple[str, ...]:
    """Describe each decision."""
    lines = []
    for name, each in evidence.measured_decisions.items():
        line = (
            f"{name}, a decision: {percent(each['test'])} on held-out problems, chance {each['chance']:.1%}"
        )
        line += f"; {percent(each['train'])} on training problems" if "value" in each["train"] else ""
        line += f"; {percent(each['written'])} as {evidence.decoder} writes it" if "written" in each else ""
        lines.append(line + (": memorised" if each["gap"].get("low", 0) > MARGIN else "") + _how_wrong(each))
    return tuple(lines)


def _how_wrong(decision: Mapping[str, Any]) -> str:
    """Say how surely a decision is wrong where it is; nothing where that was not measured."""
    margin = decision.get("margin", {}).get("test_wrong")
    if margin is None:
        return ""
    times = math.exp(min(-margin, 1 + math.log(_MANY)))
    words = f"over {_MANY:,}" if times > _MANY else f"{times:,.0f}" if times >= CONFIDENT else f"{times:.1f}"
    surely = "confidently wrong" if times >= CONFIDENT else "undecided"
    return f"; where wrong, the token said is {words} times as probable as the true one: {surely}"


def _both_splits(evidence: Evidence) -> str:
    if evidence.train_exact is None:
        return f"{evidence.what}: {percent(evidence.test_exact)} on held-out problems"
    return (
        f"{evidence.what}: {percent(evidence.train_exact)} on training problems, "
        f"{percent(evidence.test_exact)} on held-out ones"
    )


def _usual(forced: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Keep the tokens that a tenth of the problems have: of rarer ones little is known."""
    most = max(int(found["total"]) for found in forced.values())
    return {name: found for name, found in forced.items() if found["total"] >= _MOST_RARE * most}


def _worst(forced: Mapping[str, Estimate]) -> str:
    return min(forced, key=lambda token: float(forced[token]["low"]))


def _gathered(errors: Mapping[str, Any]) -> bool:
    if "observed" not in errors or errors["observed"]["low"] <= errors["expected"]:
        return False
    return errors["odds_ratio"] is None or errors["odds_ratio"] >= GATHERED


def _undecided(evidence: Evidence, *because: str) -> Verdict:
    more = f"measuring on more problems (--count {4 * evidence.problems} halves the intervals)"
    if evidence.all_of_them:
        more = f"a larger test split (four times {evidence.problems:,} problems halve the intervals)"
    return Verdict("inconclusive", because, f"{more}, or training on")


def _reached(estimate: Estimate) -> bool:
    return bool(estimate["value"] >= SOLVED and estimate["low"] >= SOLVED_AT_LEAST)
