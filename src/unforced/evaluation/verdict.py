"""The verdict: which failure it is, from stated thresholds and the intervals of what was measured."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from unforced.config import SOLVED
from unforced.evaluation.statistics import Estimate

Name = Literal["solved", "clever_hans", "memorised", "not_yet_fitted", "compounding", "inconclusive"]

SOLVED_AT_LEAST = SOLVED - 0.01
"""How low the interval of a solved (or fitted) accuracy may reach."""
CHEAT = 0.95
"""Cheat accuracy from which the tokens after a decision count as fitted."""
MARGIN = 0.05
"""How far above chance a decisive token may be and still count as guessed."""
ACCURATE = 0.9
"""Forced accuracy of every token from which a next-token predictor counts as accurate."""
GATHERED = 3.0
"""Odds, over what a steady hazard expects, from which first errors gather at decisions."""

TITLES: Mapping[Name, str] = {
    "solved": "solved",
    "clever_hans": "fails by Clever Hans cheat",
    "memorised": "memorised",
    "not_yet_fitted": "not yet fitted",
    "compounding": "compounding at inference",
    "inconclusive": "inconclusive",
}


@dataclass(frozen=True)
class Verdict:
    """A name, what it rests on, and what would settle or change it."""

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
    """What a verdict looks at: sections of a diagnosis, by name; and in words what is exact or not."""

    what: str
    test_exact: Estimate
    train_exact: Estimate
    clever_hans: Mapping[str, Any]
    decisions: Mapping[str, Any]
    snowball: Mapping[str, Any]

    @property
    def guessed(self) -> list[str]:
        """Decisive tokens that are no better than chance on held-out problems."""
        return [name for name, each in self._decisions if each["test"]["high"] <= each["chance"] + MARGIN]

    @property
    def perhaps_guessed(self) -> list[str]:
        """Decisive tokens that may be no better than chance."""
        return [name for name, each in self._decisions if each["test"]["low"] <= each["chance"] + MARGIN]

    @property
    def cheat(self) -> Estimate | None:
        """Cheat accuracy, where it applies."""
        found: Estimate = self.clever_hans.get("cheat_accuracy", {})
        return found if "value" in found else None

    @property
    def _decisions(self) -> list[tuple[str, Mapping[str, Any]]]:
        return [(name, each) for name, each in self.decisions.items() if "test" in each]


def judge(evidence: Evidence) -> Verdict:
    """Name the failure. Each rule and threshold is in docs/metrics.md; the first that holds decides."""
    test = evidence.test_exact
    if _reached(test):
        return Verdict("solved", (f"{evidence.what} on held-out problems: {_percent(test)}",), "nothing more")
    if test["high"] >= SOLVED:
        return _undecided(f"{evidence.what} on held-out problems, {_percent(test)}; perhaps solved", test)
    for rule in (_clever_hans, _compounding, _memorised, _not_yet_fitted):
        verdict = rule(evidence)
        if verdict is not None:
            return verdict
    train = evidence.train_exact
    return _undecided(f"{evidence.what} on training problems, {_percent(train)}; perhaps fitted", train)


def _clever_hans(evidence: Evidence) -> Verdict | None:
    cheat = evidence.cheat
    if cheat is None or cheat["high"] < CHEAT or not evidence.perhaps_guessed:
        return None
    if cheat["low"] < CHEAT:
        return _undecided(f"cheat accuracy, {_percent(cheat)}; perhaps above {CHEAT:.0%}", cheat)
    if not evidence.guessed:
        token = evidence.perhaps_guessed[0]
        found = evidence.decisions[token]["test"]
        return _undecided(f"{token}, {_percent(found)}; perhaps at chance", found)
    token = evidence.guessed[0]
    found = evidence.decisions[token]
    because = (
        f"given the true answer so far, the tokens it gives away are right: cheat accuracy {_percent(cheat)}",
        f"{token}, the decision, is at chance on held-out problems: {_percent(found['test'])}, "
        f"chance {found['chance']:.1%}",
        f"on training problems {token} is {_percent(found['train'])}"
        + (": memorised, not understood" if found["gap"]["low"] > MARGIN else ": not fitted there either"),
    )
    without = "objective=teacherless, order=reversed or objective.train_positions"
    return Verdict("clever_hans", because, f"training without the cheat ({without}), or for longer")


def _compounding(evidence: Evidence) -> Verdict | None:
    forced = evidence.snowball.get("forced")
    if not forced:
        return None
    worst = min(forced, key=lambda token: forced[token]["low"])
    errors = evidence.snowball["errors_at_decisions"]
    if forced[worst]["low"] < ACCURATE or "observed" not in errors or _gathered(errors):
        return None
    product = evidence.snowball["forced_product"]
    because = (
        f"each token is predicted accurately given the true ones before it: the worst, {worst}, "
        f"{_percent(forced[worst])}",
        f"the product of these accuracies is {_percent(product)}; whole free answers: "
        f"{_percent(evidence.test_exact)}",
        f"first errors fall on decisions in {_percent(errors['observed'])} of failed answers; "
        f"a steady rate of error expects {errors['expected']:.1%}",
    )
    return Verdict(
        "compounding", because, "a longer training run, or shorter answers; the predictor itself is sound"
    )


def _gathered(errors: Mapping[str, Any]) -> bool:
    observed, expected = errors["observed"], errors["expected"]
    odds = _odds(observed["value"]) / _odds(expected) if 0 < expected < 1 else 1.0
    return observed["low"] > expected and odds >= GATHERED


def _memorised(evidence: Evidence) -> Verdict | None:
    if not _reached(evidence.train_exact):
        return None
    because = (
        f"{evidence.what} on training problems: {_percent(evidence.train_exact)}",
        f"{evidence.what} on held-out problems: {_percent(evidence.test_exact)}",
        *_decision_lines(evidence),
    )
    return Verdict("memorised", because, "more training problems, or training on after the fit (overtrain)")


def _not_yet_fitted(evidence: Evidence) -> Verdict | None:
    train = evidence.train_exact
    if train["high"] >= SOLVED:
        return None
    because = (f"{evidence.what} on training problems: {_percent(train)}", *_decision_lines(evidence))
    return Verdict("not_yet_fitted", because, "more steps, another learning rate, or a larger model")


def _decision_lines(evidence: Evidence) -> tuple[str, ...]:
    return tuple(
        f"{name}, a decision: {_percent(each['train'])} on training problems, "
        f"{_percent(each['test'])} on held-out ones, chance {each['chance']:.1%}"
        for name, each in evidence.decisions.items()
        if "test" in each
    )


def _undecided(why: str, estimate: Estimate) -> Verdict:
    half_width = (estimate["high"] - estimate["low"]) / 2
    more = math.ceil(4 * estimate["total"]) if half_width > 0 else estimate["total"]
    return Verdict(
        "inconclusive",
        (why,),
        f"measure on more problems (--count {more:,} halves the interval), or train on",
    )


def _reached(estimate: Estimate) -> bool:
    return bool(estimate["value"] >= SOLVED and estimate["low"] >= SOLVED_AT_LEAST)


def _odds(share: float) -> float:
    return math.inf if share >= 1 else share / (1 - share)


def _percent(estimate: Mapping[str, Any]) -> str:
    value, low, high = (100 * estimate[key] for key in ("value", "low", "high"))
    return f"{value:.1f}% [{low:.1f}, {high:.1f}]"
