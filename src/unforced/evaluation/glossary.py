"""Definitions of the numbers of a diagnosis, in one place.

Keys are paths in diagnosis.json, with `token_i` for any position. docs/metrics.md is written from here.
"""

import re
from collections.abc import Mapping

from unforced.config import SOLVED
from unforced.decoding.modes import MOST_ASKED, MOST_REPEATED, MOST_STEP_COUNTS
from unforced.evaluation import verdict
from unforced.evaluation.verdict import (
    ACCURATE,
    BLIND,
    CHEAT,
    CONFIDENT,
    GATHERED,
    MARGIN,
    SOLVED_AT_LEAST,
    TITLES,
)

SECTIONS: Mapping[str, str] = {
    "exact": "Exact match",
    "clever_hans": "Clever Hans cheat",
    "indecipherable_token": "Indecipherable token",
    "snowball": "Snowball or training failure",
    "error_kinds": "Error kinds",
    "probability": "Probability mass at decisions",
    "learned": "Order of learning",
    "grokking": "Late grokking",
    "writing_order": "Order of writing",
    "decoding_steps": "Accuracy by decoding steps",
    "heads": "Accuracy of each head",
    "creativity": "Creativity",
    "positions": "Teacher-forced and free-running by position",
    "by_heart": "Learned by heart",
    "reliance": "Reliance on the true answer so far",
    "after_error": "Behind the first error",
}
RARER = {
    "writing_order": "decoders that write in any order",
    "decoding_steps": "decoders with a number of steps",
    "heads": "objectives whose heads predict tokens",
    "creativity": "open-ended tasks",
    **dict.fromkeys(
        ("positions", "by_heart", "reliance", "after_error"),
        "tasks for which it is unknown what needs lookahead (own data): no counterfactual is made there",
    ),
}
"""Sections that are not in every diagnosis, and of what they are."""

DEFINITIONS: Mapping[str, str] = {
    "exact.train": (
        "Fraction of training problems whose free-running answer is right, by the task's verifier. Where "
        "objective.train_positions restricts the loss: fraction whose tokens at those positions are "
        "right, on the inputs of training."
    ),
    "exact.test": "The same on held-out problems.",
    "exact.as_trained": (
        "Fraction of problems whose tokens are all predicted right on the inputs of training: the true "
        "answer so far, or the prompt alone where training shows nothing of the answer. If it is high and "
        "free-running answers are wrong, the decoder does not fit the training. Where a task has several "
        "right answers this is agreement with the reference; it does not apply to open-ended tasks."
    ),
    "clever_hans.cheat_accuracy": (
        "Fraction of held-out problems in which, given the true answer so far, every token that it gives "
        "away is predicted right (path-star: tokens 2 and later, given the true first hop). Near 100% "
        "while the decision is at chance is the signature of the cheat. arXiv 2403.06963, Sec. 4."
    ),
    "clever_hans.decoy_following": (
        "Feed the answer up to a wrong decision (path-star: a neighbour of the start on another arm, "
        "drawn at random), then decode: the fraction of problems in which the model follows exactly that "
        "wrong answer. Whether it ends with the wrong arm's leaf or jumps to the goal, which the prompt "
        "states, makes no difference, unless only the end is left to write. Where more decisions follow, "
        "a cheater completes it only as often as it guesses those."
    ),
    "clever_hans.question_blindness.decisions": (
        "Put another question into the prompt (path-star: each other leaf as the goal), keep the true "
        "answer to the original question as input, and look at the first token in which the two true "
        "answers differ: the fraction of predictions there that do not change. A model that looks ahead "
        "changes all of them."
    ),
    "clever_hans.question_blindness.given_away": (
        "The same for the later tokens that the true answer so far gives away: the fraction of "
        "predictions that do not change. A cheater reads the answer rather than the goal, so all of its "
        "predictions stay."
    ),
    "indecipherable_token.token_i.train": (
        "Accuracy of a decisive token on training problems, on the inputs of training (the true answer so "
        "far, or what the objective shows instead)."
    ),
    "indecipherable_token.token_i.test": "The same on held-out problems.",
    "indecipherable_token.token_i.chance": "The best accuracy of that token without lookahead.",
    "indecipherable_token.token_i.gap": (
        "Train minus test: how much of the accuracy is memorised. Newcombe's interval."
    ),
    "indecipherable_token.token_i.margin": (
        "Logit of the true token minus the highest other one, mean: over training problems, over held-out "
        "ones, and over held-out ones that are predicted wrong (`test_wrong`). A choice that is open has a "
        "margin around 0; e to the power of the margin is how many times as probable the true token is as "
        f"the other. A model is confidently wrong if the wrong token is {CONFIDENT:g} times as probable, and "
        "undecided otherwise."
    ),
    "indecipherable_token.token_i.written": (
        "Accuracy of the token in the answers that the decoder writes to held-out problems; measured where "
        "it does not write from left to right, and so may decide on other grounds than the answer so far."
    ),
    "indecipherable_token.token_i.written_chance": (
        "The best accuracy of that token without lookahead and without any of the answer."
    ),
    "snowball.free_exact": "Fraction of held-out problems whose free-running answer is right.",
    "snowball.forced_product": (
        "Product of the teacher-forced accuracies of all positions: the exact match of free-running "
        "answers if positions failed independently. Under greedy decoding a free-running answer is right "
        "exactly if the teacher-forced one is, so this agrees with free_exact both for compounding errors "
        "and for a decision that was never learned; where the first errors are distinguishes the two. The "
        "numbers differ where errors of one problem occur together. Interval by the delta method."
    ),
    "snowball.forced.token_i": (
        "Accuracy of a token given the true answer so far, on held-out problems that have this position. "
        "Where a task has several right answers this is agreement with one of them, the reference, and a "
        "model that is always right may agree less: snowball does not apply then."
    ),
    "snowball.first_error": (
        "How many wrong free-running answers have their first wrong token, in order of generation, at "
        "each position."
    ),
    "snowball.errors_at_decisions.observed": (
        "Fraction of wrong free-running answers whose first wrong token is a decision."
    ),
    "snowball.errors_at_one_position.position": (
        "The position at which first errors exceed a steady rate most; the next four numbers are about it."
    ),
    "snowball.errors_at_one_position.observed": (
        "Fraction of wrong free-running answers whose first wrong token is at that position; the interval "
        "is corrected for the choice among positions (Bonferroni)."
    ),
    "snowball.errors_at_decisions.expected": (
        "The same fraction if every position failed at one steady rate (arXiv 2403.06963, Sec. 3: errors "
        "that compound)."
    ),
    "snowball.errors_at_decisions.odds_ratio": "Odds of observed divided by odds of expected.",
    "snowball.errors_at_decisions.p_value": (
        "One-sided binomial test of observed against expected: small if first errors concentrate there."
    ),
    "snowball.errors_at_one_position.expected": (
        "The same fraction if every position failed at one steady rate (arXiv 2403.06963, Sec. 3: errors "
        "that compound)."
    ),
    "snowball.errors_at_one_position.odds_ratio": "Odds of observed divided by odds of expected.",
    "snowball.errors_at_one_position.p_value": (
        "One-sided binomial test of observed against expected: small if first errors concentrate there; "
        "corrected in the same way."
    ),
    "error_kinds": (
        "Free-running answers to held-out problems by the kind that the task's verifier assigns; right "
        "answers to open-ended tasks are `coherent`."
    ),
    "probability.token_i.true": (
        "Mean probability of the true symbol at a decision, on the inputs of training, held-out problems."
    ),
    "probability.token_i.other_choices": (
        "Mean probability of the other symbols that a model without lookahead would choose from "
        "(path-star: the other first hops)."
    ),
    "probability.token_i.other_answer_symbols": (
        "Mean probability of all other symbols that occur in answers."
    ),
    "probability.token_i.rest": (
        "Mean probability of tokens that are not answer symbols: separators, the mask token, the end token."
    ),
    "learned.fitted": (
        "Step of the first of two consecutive evaluations in which a position (or the whole answer) was "
        f"right in {SOLVED:.0%} of training problems; censored where training ended before. Positions are "
        "measured on the inputs of training, whole answers free-running. Where a task has several right "
        "answers, whole answers alone; open-ended tasks have none."
    ),
    "learned.solved": "The same on held-out problems (the validation split).",
    "learned.evaluated_every": "Steps between evaluations: the resolution of the steps above.",
    "learned.order": "Positions by the step at which they were solved: the order in which they were learned.",
    "grokking": (
        "From the evaluation that found the training set fitted: how long training continued, in "
        "multiples of the steps of the fit, and whether a decisive token ever left chance on held-out "
        "problems. It has left chance when the Wilson interval of an evaluation lies more than a margin "
        "above it (95%, divided among all these evaluations; the margin of the verdict). `chance` is over "
        "all problems, including those in which the token is not a decision."
    ),
    "writing_order.correlation": (
        "Spearman's rank correlation between the decoding step at which a token of the answer is written and "
        "its position on the path, in forward order; mean over held-out problems, with an interval by the "
        "normal approximation. 1: from the start to the goal; -1: from the goal back; 0: in no order. Tokens "
        "written at one step share a rank."
    ),
    "writing_order.step.token_i": "Mean step, from 1, at which an answer position is written.",
    "decoding_steps.steps_n": (
        "Fraction of held-out problems whose answer is right, by the task's verifier, with decoder.steps=n: "
        f"1 is one pass over an answer, or a block. At most {MOST_STEP_COUNTS} numbers and "
        f"{MOST_REPEATED:,} problems."
    ),
    "heads.head.all": (
        "Accuracy of a head over all tokens that it predicts, given the true tokens that it is trained to "
        "see, on held-out problems."
    ),
    "heads.head.token_i": "The same at one answer position, which is where the predicted token stands.",
    "creativity.creative": (
        "Fraction of answers to held-out problems (fresh seed strings) that are coherent, that say what no "
        "training answer says, and that no other answer of the set says: of those that say the same, one "
        "counts. Compare it on as many problems alone: it falls with their number. arXiv 2504.15266, Sec. 2."
    ),
    "creativity.coherent": "Fraction of these answers that are right by the task's verifier.",
    "creativity.original": (
        "Fraction of coherent answers that say what no training answer says. Of a stream, what it gives in "
        "all steps of the run counts as trained on; of a model that was trained elsewhere, the training "
        "problems that are asked about."
    ),
    "creativity.unique": (
        "Different coherent answers, as a fraction of the coherent ones. Intervals of this number and of "
        "`creative` are Wilson's as well, as if answers did not depend on each other."
    ),
    "creativity.answers": (
        "Answers by kind. Creative, or else repeated (an earlier answer of the set says the same), memorised "
        "(in the training set) or incoherent. All comparisons are of canonical forms."
    ),
    "creativity.by_heart": (
        "Fraction of training problems whose free-running answer says what their reference answer does."
    ),
    "positions.token_i.forced": (
        "Accuracy of the tokens at these answer positions given the true answer so far, on held-out problems "
        "that have them. Long answers are cut into ten ranges, narrow at the beginning. Where a task has "
        "several right answers this, and all of *Learned by heart* and *Reliance* below, is agreement with "
        "the reference."
    ),
    "positions.token_i.free": (
        "The same of the tokens that the model wrote itself. A token that is inserted or left out moves all "
        "that follow, which then count as wrong."
    ),
    "positions.token_i.first_error": (
        "Of the answers without an error before, the fraction that go wrong there, in order of generation: "
        "a steady rate says that errors compound, a peak that something there was not learned. Measured "
        "where answers are written from left to right and each problem has one right answer."
    ),
    "by_heart.tokens": (
        "Fraction of tokens that are right on the inputs of training, on training problems and on held-out "
        "ones, and Newcombe's interval of the difference: what is known by heart."
    ),
    "by_heart.recited": (
        "Of the wrong answers to held-out problems, the fraction that are the true answer to a training "
        "problem that was asked about. Not measured where most right answers are."
    ),
    "reliance.hidden_by": (
        "What hides the true answer so far: the mask token, where training showed it, or tokens of other "
        "answers, each from the same place of another one (of a shorter one, counted on from its beginning). "
        "A token never read in training would measure surprise."
    ),
    "reliance.given": (
        "Accuracy of the tokens behind the first one given the true answer so far, on held-out problems "
        f"({MOST_ASKED:,} at the most). Tokens are those that the model reads, the one that ends an answer "
        "included; only those whose beginning is changed by hiding it."
    ),
    "reliance.hidden": "The same with the true answer so far hidden.",
    "reliance.hidden_gap": (
        "What is lost by that: the mean over problems of the fraction of tokens, with an interval by the "
        "normal approximation. A model that plans its answer from the prompt loses little; one that needs "
        "the true answer loses much, which is no failure by itself."
    ),
    "reliance.swapped": (
        "The same with the beginning of another problem's answer in place of the true one: accuracy of the "
        "true tokens, as far as the other answer reaches."
    ),
    "reliance.swapped_gap": "What is lost by that, on the same tokens.",
    "reliance.follows": (
        "Of the tokens in which the two answers differ, the fraction of predictions that go on with the "
        "answer that was put in: the answer so far decides, and not the prompt."
    ),
    "after_error.forced": (
        "Of wrong answers to held-out problems: accuracy, given the true answer so far, at the positions "
        "behind the first error."
    ),
    "after_error.free": "Accuracy of what the model wrote itself at the same positions.",
    "after_error.gap": (
        "What its own error costs it there: the mean over wrong answers of the difference, with an interval "
        "by the normal approximation. Around 0, errors stay alone; far above, one error brings others."
    ),
}

MEASURES: Mapping[str, str] = {
    "free.exact": "Fraction of problems whose free-running answer is right, by the task's verifier.",
    "forced.exact": (
        "Fraction whose tokens are all predicted right given the true answer so far: agreement with the "
        "reference answer."
    ),
    "one_pass.exact": (
        "The same in one pass over the prompt; measured where neither mode gives the inputs of training."
    ),
    "free.token_i": "Accuracy at answer position i, from 0, in forward order; `forced`, `one_pass` likewise.",
    "free.creative": (
        "Of open-ended tasks: fraction of answers that are coherent, not in the training set, and unlike "
        "each other; with `free.coherent`, `free.original` and `free.unique`. See Creativity above."
    ),
    "free.errors": "How many free-running answers are of each kind, as the task's verifier names them.",
    "margin.token_i": (
        "Logit of the true token minus the highest other one at a decisive position, on the inputs of "
        "training; mean over the problems in which it is decisive. Of a symbol in several tokens, the "
        "smallest. Around 0 the choice is open. A failed run whose margin goes on falling is confidently "
        "wrong, not under-trained."
    ),
    "margin_of_wrong.token_i": "The same over the problems that are predicted wrong; left out if none is.",
}
"""Keys of metrics.jsonl (`validation.`) and result.json (`test.`), without the split."""

RULES: Mapping[verdict.Name, str] = {
    "solved": (
        f"`exact.test` is at least {SOLVED:.0%}, its interval reaches no lower than {SOLVED_AT_LEAST:.0%}."
    ),
    "clever_hans": (
        f"the interval of cheat accuracy lies above {CHEAT:.0%}, that of a decisive token on held-out "
        f"problems within {100 * MARGIN:.0f} points of chance (a quarter of chance, where that is less), "
        "also as it is written (`written`), where measured, and question blindness of the tokens given away "
        f"is not below {BLIND:.0%}, where measured. Whether the decision is memorised on training problems "
        "is reported, too. It needs training that shows the answer before a token, all of it or parts."
    ),
    "relies_on_prefix": (
        "of tasks for which it is unknown what needs lookahead: given the true answer so far, one token is "
        f"wrong (its interval lies below {ACCURATE:.0%}) and every other one right (above {ACCURATE:.0%}), "
        "first errors gather at that token (by the rule of *compounding*), and `reliance.follows` lies above "
        f"{BLIND:.0%}. A Clever Hans cheat looks so, and so does a token that the prompt leaves open; "
        "without counterfactuals the two are not told apart."
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
        f"the interval of the teacher-forced accuracy of every token (that a tenth of the problems have) "
        f"lies above {ACCURATE:.0%}, training "
        f"problems are as bad as held-out ones (within {100 * MARGIN:.0f} points), and first errors "
        "concentrate neither at decisions nor at any one position (they do where the interval of observed "
        f"lies above expected, and its odds are {GATHERED:g} times as high)."
    ),
    "not_yet_fitted": f"the interval of `exact.train` lies below {SOLVED:.0%}.",
    "incoherent": (
        "of open-ended tasks, whose verdict follows from `creativity` alone (*solved* there: `creative` is "
        f"at least {SOLVED:.0%}): most answers that are not creative are incoherent, with an interval above "
        "those of memorised and of repeated ones. *Memorised* likewise."
    ),
    "repeated": "of open-ended tasks, likewise: most answers that are not creative are repeated.",
    "inconclusive": (
        "no rule holds, or the interval that a rule needs includes its threshold; the reasons name which."
    ),
}


def definition(path: str) -> str:
    """Return what the number at `path` of a diagnosis means; empty for what needs no word."""
    general = re.sub(r"token_\d+", "token_i", path)
    general = re.sub(r"tokens_\d+_to_\d+", "token_i", general)
    general = re.sub(r"steps_\d+", "steps_n", general)
    general = re.sub(r"^heads\.(.+)\.", "heads.head.", general)
    while general not in DEFINITIONS and "." in general:
        general = general.rpartition(".")[0]
    return DEFINITIONS.get(general, "")


def metrics_page() -> str:
    """Write docs/metrics.md."""
    lines = [
        "# Metrics",
        "",
        "What `unforced diagnose RUN_DIR` measures, and the rules of its verdict. `--explain` prints these",
        "definitions below the numbers, and `diagnosis.json` in the run folder holds the numbers under these",
        "keys. Intervals are Wilson's over problems unless stated otherwise; several outcomes of one problem",
        "count as one. Examples: [Which failure is it?](diagnosis.md).",
        "",
    ]
    for section, title in SECTIONS.items():
        lines += [f"## {title}", ""]
        lines += [f"Of {RARER[section]}.", ""] if section in RARER else []
        for key, words in DEFINITIONS.items():
            if key.partition(".")[0] == section:
                lines += [f"- **`{key}`**: {words}"]
        lines.append("")
    lines += ["## Over training", ""]
    lines += [
        "`metrics.jsonl` holds these of `train` and `validation` problems, `result.json` of `train` and"
    ]
    lines += ["`test` ones, as in `validation.free.exact`.", ""]
    lines += [f"- **`{key}`**: {words}" for key, words in MEASURES.items()]
    lines += ["", "## The verdict", "", "The first rule that holds decides, in this order.", ""]
    lines += [f"- **{TITLES[name]}** (`{name}`): {rule}" for name, rule in RULES.items()]
    return "\n".join(lines) + "\n"
