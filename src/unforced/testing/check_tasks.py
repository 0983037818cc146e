"""Whether a task keeps to the contract of `unforced.tasks.base`.

from unforced.testing import check_task

def test_sorting():
    check_task(Sorting(most=6))
"""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from unforced.data.codec import SymbolCodec
from unforced.parts import read, tree
from unforced.tasks.base import Problems, Task
from unforced.tasks.capabilities import Lookahead
from unforced.tasks.problems import Marks
from unforced.tasks.sampling import SPLITS, make_block, problems
from unforced.testing.rules import DoesNotApplyError, check_all, require

COUNT = 200


@dataclass
class TaskSubject:
    """A task to be checked, with the first problems of its training set."""

    task: Task

    @cached_property
    def some(self) -> Problems:
        """Two hundred problems, or a block, if that is fewer."""
        return problems(self.task, 0, "train", 0, min(COUNT, self.task.block_size))

    @cached_property
    def ahead(self) -> Lookahead:
        """What needs lookahead. Raises DoesNotApplyError where it is unknown."""
        if self.task.lookahead is None:
            raise DoesNotApplyError
        return self.task.lookahead


def check_task(task: Task) -> None:
    """Check a task. Raises ConformanceError: a line for each rule that is broken."""
    subject = TaskSubject(task)
    check_all(f"task {task.name!r}", TASK_RULES, lambda: subject)


def same(task: Task, one: Problems, other: Problems) -> bool:
    """Whether two batches hold the same problems in the same words."""
    return all(
        np.array_equal(function(one), function(other)) for function in (task.prompts, task.answers, task.keys)
    )


def reproducible(subject: TaskSubject) -> None:
    """The same seed gives the same problems, also to the same task read from JSON; another gives others."""
    task, some = subject.task, subject.some
    again = read(type(task), tree(task))
    require(again == task, f"read back, it is {again!r}")
    made = [make_block(again, seed, "train", 0).take(slice(0, len(some))) for seed in (0, 1)]
    require(same(task, some, made[0]), "sample draws from something else than `rng`")
    require(not same(task, some, made[1]), "another seed gives the same problems")


def slices(subject: TaskSubject) -> None:
    """A part of a stream is that part of a longer one, and parts joined are the whole."""
    task, size = subject.task, subject.task.block_size
    longer = problems(task, 3, "train", 0, size + 20)
    for start, count in ((0, 1), (7, 3), (size - 1, 2), (size, 9)):
        part = problems(task, 3, "train", start, count)
        require(len(part) == count, f"{len(part)} problems, where {count} were asked for")
        wanted = longer.take(slice(start, start + count))
        require(same(task, part, wanted), f"problems {start} to {start + count - 1} differ")
    some = subject.some
    halves = [some.take(slice(0, 30)), some.take(np.arange(30, len(some)))]
    require(same(task, type(some).concatenate(halves), some), "take and concatenate do not give it back")


def splits(subject: TaskSubject) -> None:
    """Each split holds problems that it owns alone, and families fall to one split as a whole."""
    task = subject.task
    require(set(SPLITS) <= set(task.splits), f"its splits are {list(task.splits)}; {SPLITS} must be there")
    total = sum(task.splits.values())
    require(abs(total - 1) < 1e-9, f"the shares of its splits add up to {total:g}")
    for number, split in enumerate(task.splits):
        some = problems(task, 0, split, 0, min(COUNT, task.block_size))
        owners = task.owners(some)
        require((owners == number).all(), f"{split} holds problems of split {set(owners.tolist())}")


def symbols(subject: TaskSubject) -> None:
    """Prompts and answers are made of its alphabet, in the shapes that it names."""
    task, some = subject.task, subject.some
    prompts, answers = task.prompts(some), task.answers(some)
    require(len(set(task.alphabet)) == len(task.alphabet), "its alphabet names a sign twice")
    require(task.answer_symbols <= len(task.alphabet), "answer_symbols is more than the alphabet has")
    for word, rows, width in (
        ("prompts", prompts, task.prompt_length),
        ("answers", answers, task.answer_length),
    ):
        require(
            rows.shape == (len(some), width), f"{word} have the shape {rows.shape}, not {(len(some), width)}"
        )
        require(rows.max() < len(task.alphabet), f"{word} hold the symbol {rows.max()}")
        require(rows.min() >= -1, f"{word} hold {rows.min()}; -1 is what fills shorter ones up")
    require(answers.max() < task.answer_symbols, f"an answer holds {answers.max()}, above answer_symbols")
    require(len(np.unique(prompts[:, -1])) == 1, "prompts end in different symbols")
    filled = "answers vary in length: say so with `varied`"
    require(task.varied or answers.min() >= 0, filled)


def fill(subject: TaskSubject) -> None:
    """-1 stands before shorter prompts and behind shorter answers, which have at least one symbol."""
    task, some = subject.task, subject.some
    before = np.diff((task.prompts(some) >= 0).astype(int), axis=1)
    require((before >= 0).all(), "-1 stands within or behind a prompt")
    exists = task.exists(task.answers(some))
    require(np.array_equal(task.answers(some) >= 0, exists), "-1 stands before or within an answer")
    require(exists[:, 0].all(), "an answer is empty")


def tokens(subject: TaskSubject) -> None:
    """Tokens turn back into symbols, in both orders; a mask token or a missing end is invalid."""
    task, some = subject.task, subject.some
    codec, truth = SymbolCodec.of(task), task.answers(some)
    for order in ("forward", "reversed"):
        batch = codec.encode(some, order)
        require(np.array_equal(codec.read(batch.answer, order), truth), f"{order}: read back, answers differ")
        beside = codec.read_beside(batch.answer, batch)
        require(np.array_equal(beside, truth), f"{order}: read beside the true ones, answers differ")


def verifier(subject: TaskSubject) -> None:
    """The verifier calls its own answers right, and names kinds of answers that have words."""
    task, some = subject.task, subject.some
    verdicts = task.score(some, task.answers(some))
    wrong = np.flatnonzero(~verdicts.exact)[:3]
    texts = [task.lines(some.take(slice(i, i + 1)))[0] for i in wrong]
    require(verdicts.exact.all(), f"these are called wrong: {texts}")
    require(verdicts.kinds == tuple(task.verdict_kinds), "`score` names other kinds than `verdict_kinds`")
    silent = [kind for kind, words in task.verdict_kinds.items() if not words]
    require(silent == ["correct"], f"kinds without words: {silent}; only 'correct' needs none")
    require(verdicts.kinds[0] == "correct", f"the first kind is {verdicts.kinds[0]!r}, not 'correct'")


def wrong_answers(subject: TaskSubject) -> None:
    """The verifier calls an answer wrong if any of its tokens is not a symbol, and some others."""
    task, some = subject.task, subject.some
    for position in range(task.answer_length):
        answers, there = task.answers(some).copy(), task.exists(task.answers(some))[:, position]
        answers[there, position] = -2 if task.varied else -1
        require(not task.score(some, answers).exact[there].any(), f"not so at position {position}")
    verdicts = task.score(some, np.roll(task.answers(some), 1, axis=0))
    closed = task.of_a_set is None  # answers to one open-ended problem are answers to all
    require(not (closed and verdicts.exact.all()), "answers to other problems are called right")
    counted = sum(verdicts.counts().values())
    require(counted == len(some), f"it gives {counted} verdicts for {len(some)} answers")


def facts(subject: TaskSubject) -> None:
    """Chance is a share or None, and the shape of the problems has words."""
    task = subject.task
    require(task.chance is None or 0 < task.chance <= 1, f"chance is {task.chance}; None says unknown")
    require(task.topology and task.topology in str(task), f"its text {str(task)!r} lacks the topology")
    drawn = task.draw(subject.some, 0)
    require(drawn and all(isinstance(row, str) for row in drawn), f"a problem is drawn as {drawn!r}")


def text(subject: TaskSubject) -> None:
    """Written answers are read again, blanks around them do not matter, and other text is not an answer."""
    task, answers = subject.task, subject.task.answers(subject.some)
    lines = task.text.answers(answers)
    require(np.array_equal(task.text.read_answers(lines), answers), "read back, answers differ")
    blanks = task.text.read_answers([f" {line} " for line in lines])
    require(np.array_equal(blanks, answers), "with blanks around them, answers are read differently")
    strange = task.text.read_answers(["?", "I do not know"])
    require((strange[:, 0] == (-2 if task.varied else -1)).all(), "'I do not know' is read as an answer")


def instruction(subject: TaskSubject) -> None:
    """The instruction is one line, asks for the answer alone, and tells the orders apart."""
    said = [subject.task.text.instruction(order) for order in ("forward", "reversed")]
    require(said[0] != said[1], "it is the same for both orders")
    for words in said:
        require("\n" not in words, "it has several lines")
        require(words.endswith("Write the answer and nothing else."), f"it ends in {words[-40:]!r}")


def decisions(subject: TaskSubject) -> None:
    """Decisive positions are those with a chance below one, exist, and are not given away as well."""
    task, ahead, some = subject.task, subject.ahead, subject.some
    decisive, given_away = ahead.decisive(some), ahead.given_away(some)
    shape = (len(some), task.answer_length)
    require(
        decisive.shape == given_away.shape == shape,
        f"marks have the shapes {decisive.shape}, {given_away.shape}",
    )
    require(_columns(decisive) == task.decisive_positions, f"decisive in {_columns(decisive)}")
    require(not (decisive & given_away).any(), "a position is both decisive and given away")
    require(
        not ((decisive | given_away) & ~task.exists(task.answers(some))).any(), "a missing position is marked"
    )
    blind, knowing = (ahead.position_chances(answer) for answer in (False, True))
    require(len(blind) == len(knowing) == task.answer_length, "position_chances has another length")
    require(all(a <= b for a, b in zip(blind, knowing, strict=True)), "the true answer is a disadvantage")
    below = tuple(i for i, chance in enumerate(knowing) if chance < 1)
    require(below == task.decisive_positions, f"chances are below one in {below}")


def options(subject: TaskSubject) -> None:
    """The options at a decision are distinct, the true one first, and chance is at least one of them."""
    task, ahead, some = subject.task, subject.ahead, subject.some
    for position in task.decisive_positions:
        here = ahead.decisive(some)[:, position]
        found = ahead.choices(some, position)[here]
        require(
            np.array_equal(found[:, 0], task.answers(some)[here, position]), f"{position}: another is first"
        )
        require((np.diff(np.sort(found, axis=1), axis=1) > 0).all(), f"{position}: an option is there twice")
        chance = ahead.position_chances()[position]
        require(chance >= 1 / found.shape[1] - 1e-9, f"{position}: chance {chance}, {found.shape[1]} options")


def decoys(subject: TaskSubject) -> None:
    """Decoys are wrong answers that first differ at a decision."""
    task, ahead, some = subject.task, subject.ahead, subject.some
    truth, found = task.answers(some), ahead.decoys(some)
    for decoy in found.transpose(1, 0, 2):
        require(not task.score(some, decoy).exact.any(), "a decoy is a right answer")
        first = (decoy != truth).argmax(axis=1)
        at_decision = ahead.decisive(some)[np.arange(len(some)), first]
        require(at_decision.all(), "a decoy first differs where nothing is decided")


def other_questions(subject: TaskSubject) -> None:
    """Other questions of the same material change the answer, first at a decision, within the family."""
    task, ahead, some = subject.task, subject.ahead, subject.some
    for other in ahead.counterfactual_prompts(some):
        differs = task.answers(other) != task.answers(some)
        changed = differs.any(axis=1)
        require(changed.any(), "no answer changes")
        first = differs.argmax(axis=1)[changed]
        at_decision = ahead.decisive(some)[changed][np.arange(len(first)), first]
        require(at_decision.all(), "an answer first changes where nothing is decided")
        require(np.array_equal(task.families(other), task.families(some)), "it is of another family")


def set_scores(subject: TaskSubject) -> None:
    """Canonical forms, where a task is open-ended, do not depend on the other answers, and some differ."""
    task, some = subject.task, subject.some
    if task.of_a_set is None:
        raise DoesNotApplyError
    forms, answers = task.of_a_set.canonical(task.answers(some)), task.answers(some)
    require(forms.shape == (len(some),), f"they have the shape {forms.shape}")
    require(len(np.unique(forms)) > 1, "all answers have the same form")
    turned = task.of_a_set.canonical(answers[::-1])[::-1]
    require(np.array_equal(turned, forms), "the form of an answer depends on where it stands")
    require(task.of_a_set.asked(some).any(), "no problem asks for an answer of one's own")
    require(not task.unique_answer, "its answers are open: say so with `unique_answer`")


def signs(subject: TaskSubject) -> None:
    """A line of text is the prompt and the answer, without line breaks, and differs between problems."""
    lines = subject.task.lines(subject.some)
    require(not any(re.search(r"[\r\n]", line) for line in lines), "a line has line breaks")
    require(len(set(lines)) > 1, "all lines are the same")


def _columns(marks: Marks) -> tuple[int, ...]:
    return tuple(np.flatnonzero(marks.any(axis=0)).tolist())


TASK_RULES = (
    reproducible,
    slices,
    splits,
    symbols,
    fill,
    tokens,
    verifier,
    wrong_answers,
    facts,
    text,
    instruction,
    decisions,
    options,
    decoys,
    other_questions,
    set_scores,
    signs,
)
