"""Creativity: how much of a set of answers is new, where a task is open-ended.

    answers  b17 c40 a3 | b17 c40 a3 | b2 c9 a1 | b5 c40 a3     train  b2 c9 a1, ...
             creative     repeated     memorised  incoherent

Every answer is one of the four. Creative answers are counted, not judged: those that the verifier calls right
(coherent), that say what no training answer says (original), and that no earlier answer of the set says
(unique). Source: arXiv 2504.15266, Sec. 2, where their share of all samples is the algorithmic creativity.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt64

from unforced.config import Run
from unforced.evaluation.statistics import proportion
from unforced.tasks.base import Problems, Symbols, Task, Verdicts
from unforced.tasks.capabilities import SetScore
from unforced.training.source import split_problems

KINDS = {
    "creative": "coherent, not in the training set, and the first of the set that says so",
    "repeated": "coherent and not in the training set, but an earlier answer of the set says the same",
    "memorised": "coherent, and in the training set",
    "incoherent": "not right by the task's verifier",
}
_MOST = 1 << 22
"""Problems of a stream whose answers count as trained on, at the most."""
_AT_ONCE = 1 << 16

Marks = Bool[np.ndarray, " count"]
Forms = UInt64[np.ndarray, " forms"]
NO_FORMS: Forms = np.zeros(0, dtype=np.uint64)


@dataclass(frozen=True)
class Creativity:
    """How many answers there are of each kind, and how many different ones are coherent."""

    creative: int
    repeated: int
    memorised: int
    incoherent: int
    distinct: int

    @classmethod
    def of(
        cls, score: SetScore, answers: Symbols, coherent: Bool[np.ndarray, " count"], known: Forms
    ) -> "Creativity":
        """Count a set of answers; `known` are the canonical forms of those that were trained on."""
        forms = score.canonical(answers[coherent])
        memorised = np.isin(forms, known)
        original = int((~memorised).sum())
        creative = len(np.unique(forms[~memorised]))
        kinds = (creative, original - creative, int(memorised.sum()), int((~coherent).sum()))
        return cls(*kinds, len(np.unique(forms)))

    @property
    def coherent(self) -> int:
        """How many answers are right by the verifier."""
        return self.creative + self.repeated + self.memorised

    @property
    def total(self) -> int:
        """How many answers there are."""
        return self.coherent + self.incoherent

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Return what is counted among what: nothing where there is nothing to count it among."""
        among = {
            "creative": (self.creative, self.total),
            "coherent": (self.coherent, self.total),
            "original": (self.creative + self.repeated, self.coherent),
            "unique": (self.distinct, self.coherent),
        }
        return {name: {"correct": n, "total": total} for name, (n, total) in among.items() if total}

    @property
    def kinds(self) -> dict[str, int]:
        """Return the number of answers of each kind."""
        return {kind: getattr(self, kind) for kind in KINDS}


def creativity(
    task: Task, problems: Problems, answers: Symbols, verdicts: Verdicts, known: Forms
) -> Creativity | None:
    """Count the answers to those problems that ask for one's own; None where a task is not open-ended."""
    score = task.of_a_set
    if score is None:
        return None
    asked = score.asked(problems)
    return Creativity.of(score, answers[asked], verdicts.exact[asked], known)


def measures(found: Creativity, by_heart: dict[str, Any], confidence: float) -> dict[str, Any]:
    """Return the section `creativity` of a diagnosis: shares with intervals, and answers by kind."""
    counts = found.counts.items()
    shares = {name: proportion(n["correct"], n["total"], confidence) for name, n in counts}
    return {**shares, "answers": found.kinds, "by_heart": by_heart}


def recited(task: Task, problems: Problems, answers: Symbols, coherent: Marks) -> Marks:
    """Mark the answers that say what the reference does, among problems that ask for one of one's own."""
    score = task.of_a_set
    assert score is not None
    asked = score.asked(problems)
    same = score.canonical(answers) == score.canonical(task.answers(problems))
    marks: Marks = (same & coherent)[asked]
    return marks


def forms_of(task: Task, answers: Symbols) -> Forms:
    """Return the canonical forms of right answers, each once; none where a task is not open-ended."""
    score = task.of_a_set
    parts = [answers[start : start + _AT_ONCE] for start in range(0, len(answers), _AT_ONCE)]
    hashes = [] if score is None else [score.canonical(part) for part in parts]
    return np.unique(np.concatenate([NO_FORMS, *hashes]))


@lru_cache(maxsize=2)
def trained_forms(run: Run) -> Forms:
    """Return the canonical forms of all answers that a run trains on, if it takes all of its steps.

    Of a stream, the first four million at the most.
    """
    count = run.training_count or min(_MOST, run.num_steps * run.batch_size)
    return forms_of(run.task, run.task.answers(split_problems(run, "train", count)))
