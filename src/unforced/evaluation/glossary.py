"""What each number of a diagnosis means: the one place that says it.

Keys are paths in diagnosis.json, with `token_i` for any position. docs/metrics.md is written from here.
"""

import re
from collections.abc import Mapping

from unforced.config import SOLVED
from unforced.evaluation import verdict
from unforced.evaluation.verdict import ACCURATE, BLIND, CHEAT, GATHERED, MARGIN, SOLVED_AT_LEAST, TITLES

SECTIONS: Mapping[str, str] = {
    "exact": "Whole answers",
    "clever_hans": "Clever Hans cheat",
    "indecipherable_token": "Indecipherable token",
    "snowball": "Snowball or training failure",
    "error_kinds": "Kinds of free answers",
    "probability": "Where the probability goes",
    "learned": "What was learned when",
    "grokking": "Late grokking",
}

DEFINITIONS: Mapping[str, str] = {
    "exact.train": (
        "Share of training problems whose whole free answer the task's verifier accepts. Where "
        "objective.train_positions restricts the loss: whose tokens at those positions are right, on the "
        "inputs of training."
    ),
    "exact.test": "The same on held-out problems.",
    "exact.as_trained": (
        "Share of problems whose tokens are all predicted rightly on the inputs of training: the true answer "
        "so far, or the prompt alone where training shows nothing of the answer. Where it is high and free "
        "answers are wrong, the decoder does not fit the training."
    ),
    "clever_hans.cheat_accuracy": (
        "Share of held-out problems in which, given the true answer so far, every token that it gives "
        "away is predicted rightly (path-star: tokens 2 and on, given the true first hop). Near 100% "
        "while the decision is at chance is the signature of the cheat. arXiv 2403.06963, Sec. 4."
    ),
    "clever_hans.decoy_following": (
        "Feed the answer up to a wrong decision (path-star: a neighbour of the start on another arm, "
        "drawn at random), then decode freely: the share of problems in which the model follows just "
        "that wrong answer. Whether it ends with the wrong arm's leaf or jumps to the goal, which the "
        "prompt states, makes no difference, unless the end is all that is left to write. Where more "
        "decisions follow, a cheater completes it only as often as it guesses those."
    ),
    "clever_hans.question_blindness.decisions": (
        "Put another question into the prompt (path-star: each other leaf as the goal), keep the true "
        "answer to the first one as input, and look at the first token on which the two true answers "
        "differ: the share of predictions there that do not move. A model that looks ahead moves them "
        "all."
    ),
    "clever_hans.question_blindness.given_away": (
        "The same for the tokens after it that the true answer so far gives away: the share of "
        "predictions that do not move. A cheater reads the answer, not the goal, and moves none."
    ),
    "indecipherable_token.token_i.train": (
        "Accuracy of a decisive token on training problems, on the inputs of training (the true answer "
        "so far, or whatever the objective trains on)."
    ),
    "indecipherable_token.token_i.test": "The same on held-out problems.",
    "indecipherable_token.token_i.chance": "The best accuracy of that token without lookahead.",
    "indecipherable_token.token_i.gap": (
        "Train minus test: what the model knows of its training problems by heart. Newcombe's interval."
    ),
    "snowball.free_exact": "Share of held-out problems whose whole free answer is right.",
    "snowball.forced_product": (
        "The product of the forced accuracies of all positions: what free answers would score if "
        "positions failed independently. A model that decodes greedily is right freely just where it is "
        "right forced, so the two agree for a snowballing model and for one that never learned a "
        "decision alike; what tells these apart is where the errors are. They differ where errors of "
        "one problem come together. Interval by the delta method."
    ),
    "snowball.forced.token_i": (
        "Accuracy of a token given the true answer so far, on held-out problems that have this position. "
        "Where a task has several right answers, accuracy of tokens is agreement with one of them, the "
        "reference, and a model that is always right may agree with it less: snowball does not apply then."
    ),
    "snowball.first_error": (
        "How many free answers that the verifier does not accept have their first wrong token, in order of "
        "generation, at each position."
    ),
    "snowball.errors_at_decisions.observed": (
        "Share of failed free answers whose first wrong token is a decision."
    ),
    "snowball.errors_at_one_position.position": (
        "The position at which first errors exceed a steady rate most; the next four are its own."
    ),
    "snowball.errors_at_one_position.observed": (
        "Share of failed free answers whose first wrong token is at that position; the interval is "
        "corrected for the choice among positions (Bonferroni)."
    ),
    "snowball.errors_at_decisions.expected": (
        "The same share if every position failed at one steady rate (arXiv 2403.06963, Sec. 3: errors "
        "that compound)."
    ),
    "snowball.errors_at_decisions.odds_ratio": "The odds of observed over those of expected.",
    "snowball.errors_at_decisions.p_value": (
        "One-sided binomial test of observed against expected: small where first errors gather."
    ),
    "snowball.errors_at_one_position.expected": (
        "The same share if every position failed at one steady rate (arXiv 2403.06963, Sec. 3: errors "
        "that compound)."
    ),
    "snowball.errors_at_one_position.odds_ratio": "The odds of observed over those of expected.",
    "snowball.errors_at_one_position.p_value": (
        "One-sided binomial test of observed against expected: small where first errors gather; "
        "corrected likewise."
    ),
    "error_kinds": "Free answers to held-out problems by the kind that the task's verifier names.",
    "probability.token_i.true": (
        "Mean probability of the true symbol at a decision, on the inputs of training, held-out problems."
    ),
    "probability.token_i.other_choices": (
        "Mean probability of the other symbols that someone who does not look ahead would choose from "
        "(path-star: the other first hops)."
    ),
    "probability.token_i.other_answer_symbols": (
        "Mean probability of all other symbols that answers are made of."
    ),
    "probability.token_i.rest": (
        "Mean probability of tokens that are not symbols of answers: separators, the mask token, the end."
    ),
    "learned.fitted": (
        "Step of the first of two evaluations in a row at which a position (or the whole answer) was "
        f"right in {SOLVED:.0%} of training problems; censored where training ended before. Positions are "
        "measured on the inputs of training, whole answers freely."
    ),
    "learned.solved": "The same on held-out problems (the validation split).",
    "learned.evaluated_every": "Steps between evaluations: no step above is known more finely.",
    "learned.order": "Positions by the step at which they were solved: the order in which they were learned.",
    "grokking": (
        "From the evaluation that found the training set fitted: how long training went on, in multiples "
        "of the steps that the fit took, and whether a decisive token ever left chance on held-out "
        "problems, which it does when the Wilson interval of an evaluation lies more than a margin above "
        "it (95%, shared out over all these evaluations; the margin of the verdict). `chance` is over "
        "all problems, those included in which the token is no decision."
    ),
}

RULES: Mapping[verdict.Name, str] = {
    "solved": (
        f"`exact.test` is at least {SOLVED:.0%}, its interval reaches no lower than {SOLVED_AT_LEAST:.0%}."
    ),
    "clever_hans": (
        f"the interval of cheat accuracy lies above {CHEAT:.0%}, that of a decisive token on held-out "
        f"problems within {100 * MARGIN:.0f} points of chance (a quarter of chance, where that is less), and "
        f"question blindness of the tokens given away is not below {BLIND:.0%}, where measured. Whether "
        "the decision is memorised on training problems is reported, too."
    ),
    "decoding": (
        "training problems are fitted on the inputs of training (`exact.as_trained.train`, by the rule of "
        f"*solved*), but the interval of `exact.train`, as the decoder writes them, lies below {SOLVED:.0%}."
    ),
    "memorised": (
        "`exact.train` is fitted (by the rule of *solved*), and the interval of its difference to "
        f"`exact.test` lies above {100 * MARGIN:.0f} points."
    ),
    "compounding": (
        f"the interval of the forced accuracy of every token lies above {ACCURATE:.0%}, training problems do "
        f"as badly as held-out ones (within {100 * MARGIN:.0f} points), and first errors gather neither at "
        f"decisions nor at any one position (they do where the interval of observed lies above expected, and "
        f"its odds are {GATHERED:g} times as high)."
    ),
    "not_yet_fitted": f"the interval of `exact.train` lies below {SOLVED:.0%}.",
    "inconclusive": "no rule holds, or an interval that one needs holds its threshold: it says which.",
}


def definition(path: str) -> str:
    """Return what the number at `path` of a diagnosis means; empty for what needs no word."""
    general = re.sub(r"token_\d+", "token_i", path)
    while general not in DEFINITIONS and "." in general:
        general = general.rpartition(".")[0]
    return DEFINITIONS.get(general, "")


def metrics_page() -> str:
    """Write docs/metrics.md."""
    lines = [
        "# Metrics",
        "",
        "What `unforced diagnose RUN_DIR` measures, and how it judges. `--explain` prints the same beside",
        "each number, and `diagnosis.json` in the run folder holds them under the keys below. Intervals are",
        "Wilson's over problems unless said otherwise; several outcomes of one problem count as one.",
        "Examples: [diagnosis.md](diagnosis.md).",
        "",
    ]
    for section, title in SECTIONS.items():
        lines += [f"## {title}", ""]
        for key, words in DEFINITIONS.items():
            if key.partition(".")[0] == section:
                lines += [f"- **`{key}`**: {words}"]
        lines.append("")
    lines += ["## The verdict", "", "The first rule that holds decides, in this order.", ""]
    lines += [f"- **{TITLES[name]}** (`{name}`): {rule}" for name, rule in RULES.items()]
    return "\n".join(lines) + "\n"
