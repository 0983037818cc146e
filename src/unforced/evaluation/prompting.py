"""Asking a language model that was not trained here: problems as text prompts, answers read from its text.

    Each line describes a directed graph ... Write the answer and nothing else.      instruction

    5,8|5,2|8,6|2,0/5,6=5,8,6                                                        worked examples (shots)
    1,7|1,4|7,9|4,2/1,9=                                                             question
                        1, 7, 9.                                                     what the model wrote

Nothing here knows a model: whatever turns texts into texts can be asked.
"""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from unforced.data.marks import behind_closing, behind_opening, is_only_marks
from unforced.errors import UserError, shortened
from unforced.evaluation.accuracy import count_free, count_set, prefixed, with_intervals
from unforced.evaluation.creativity import NO_FORMS, Forms, creativity, forms_of
from unforced.evaluation.trace import symbol_texts
from unforced.tasks.base import Order, Problems, Symbols, Task, Verdicts
from unforced.tasks.sampling import Split, problems, split_size

Answerer = Callable[[Sequence[str]], Sequence[str]]
Conversation = list[dict[str, str]]
ASKED: Split = "test"
_BATCH = 32
_SLACK = 16  # tokens
_QUOTED = 40  # characters of an answer that an error quotes
_ROLES = ("user", "assistant")
_STOPS = ".;!"


@dataclass(frozen=True)
class Questions:
    """Problems in words. `shots` are worked examples: a prompt's line and its answer's."""

    task: Task
    order: Order
    problems: Problems
    shots: tuple[tuple[str, str], ...]

    @classmethod
    def draw(cls, task: Task, order: Order, seed: int, count: int, num_shots: int) -> "Questions":
        """Take the first `count` problems of the test split, and the first of the training split as shots.

        No more than there are. The splits are disjoint by construction, so no asked problem is among the
        shots. Raises UserError if the task has too few problems.
        """
        asked = _first(task, seed, ASKED, count)
        if not num_shots:
            return cls(task, order, asked, ())
        shown = _first(task, seed, "train", num_shots)
        answers = task.text.answers(task.in_order(task.answers(shown), order))
        return cls(task, order, asked, tuple(zip(task.text.prompts(shown), answers, strict=True)))

    def prompts(self) -> list[str]:
        """Write each question as a text for a model to continue."""
        shots = "".join(f"{prompt}{answer}\n" for prompt, answer in self.shots)
        above = f"{self.task.text.instruction(self.order)}\n\n{shots}"
        return [above + line for line in self.task.text.prompts(self.problems)]

    def conversations(self) -> list[Conversation]:
        """Write each question as turns: the user asks, the shots' answers are the assistant's."""
        before = [(role, text) for shot in self.shots for role, text in zip(_ROLES, shot, strict=True)]
        return [
            self._instructed([*before, (_ROLES[0], line)]) for line in self.task.text.prompts(self.problems)
        ]

    def _instructed(self, turns: list[tuple[str, str]]) -> Conversation:
        """Put the instruction before the first turn (not every model knows a system's role)."""
        role, text = turns[0]
        turns = [(role, f"{self.task.text.instruction(self.order)}\n\n{text}"), *turns[1:]]
        return [{"role": role, "content": text} for role, text in turns]

    def most_tokens(self) -> int:
        """Return how many tokens to let a model write: no fewer than any tokenizer makes of any answer.

        A tokenizer makes at most one token of a UTF-8 byte. Added are one for a space before each symbol, and
        some for blank lines and marks before the answer, a period and the end.
        """
        task = self.task
        symbol = max(len(text.encode()) for text in task.alphabet[: task.answer_symbols])
        longest = symbol * task.answer_length + len(task.text.separator.encode()) * (task.answer_length - 1)
        return longest + task.answer_length + _SLACK

    def shown_forms(self) -> Forms:
        """Return the canonical forms of the answers that the shots show, where the task is open-ended."""
        if self.task.of_a_set is None:
            return NO_FORMS
        shown = self.task.text.read_answers([answer for _, answer in self.shots])
        return forms_of(self.task, self.task.in_order(shown, self.order))

    def check(self) -> None:
        """Refuse problems with a right answer that is not read where it is written as it stands.

        Raises UserError that names the first one.
        """
        task, form = self.task, self.task.text
        rights = [[text] for text in form.answers(task.answers(self.problems))]
        if form.right is not None:
            rights = [list(right) for right in form.right(self.problems)]
        rows = np.repeat(np.arange(len(rights)), [len(right) for right in rights])
        written = [text for right in rights for text in right]
        if self.order != "forward":
            written = form.answers(task.in_order(form.read_answers(written), self.order))
        verdicts = task.score(self.problems.take(rows), self.read(written))
        for place in np.flatnonzero(~verdicts.exact).tolist():
            row = int(rows[place])
            where = task.place(self.problems, row) or f"problem {row}"
            lines = len(written[place].strip().splitlines())
            why = f"has {lines} lines" if lines > 1 else "is read otherwise than it is written"
            raise UserError(
                f"{where}: its answer {shortened(written[place], _QUOTED)!r} {why}, and an answer is read "
                "from one line of what a model writes; drop the row, or ask by tokens: "
                "unforced diagnose --model MODEL --data FILE"
            )

    @property
    def characters(self) -> frozenset[str]:
        """The characters that the symbols of an answer are written with."""
        return frozenset("".join(self.task.alphabet[: self.task.answer_symbols]))

    def read(self, texts: Sequence[str]) -> Symbols:
        """Read answers, in forward order, from what a model wrote; see `answer_in`."""
        task, characters = self.task, self.characters
        lines = [answer_in(text, characters, task.text.separator) for text in texts]
        return task.in_order(task.text.read_answers(lines), self.order)


def _first(task: Task, seed: int, split: Split, count: int) -> Problems:
    size = split_size(task, split)
    return problems(task, seed, split, 0, count if size is None else min(count, size))


def answer_in(text: str, characters: frozenset[str], separator: str) -> str:
    """Cut the answer's line out of what a model wrote.

    characters: those that the symbols of an answer are written with (digits, say).

    1. The answer stands on the first line that is not blank and has more than marks: the line in a block of
       code, say. Later lines are ignored.
    2. It begins with the line, after spaces and marks that open (`**`, a bracket, a quote, `$`): words before
       it are not skipped, nor is a sign.
    3. It continues as long as there are `characters`, separators and spaces. What follows is dropped if it is
       marks that close and a stop (`.`, `;` or `!`) at most, or these and then a space and words, or a space
       and words; and if it contains neither one of `characters` nor a number: "1,7,9 or 1,4,2" is two answers
       and so not an answer. Otherwise the line stays whole. The characters of a task's answers are not marks
       or stops. See `unforced.data.marks`.
    4. A separator behind the last symbol is dropped if no words follow.

    `TextFormat.read_answers` then takes the line apart at the separators, spaces around symbols apart, and
    lets nothing pass but symbols, as many as an answer has. So a line is read as right if the true symbols,
    and no others, stand at its beginning and nothing like a symbol comes after them.
    """
    own = characters | set(separator)
    line = next((line for line in text.splitlines() if not is_only_marks(line, own)), "").strip()
    bare = behind_opening(line, own)
    end = next((i for i, sign in enumerate(bare) if not (sign in own or sign.isspace())), len(bare))
    answer, rest = bare[:end], bare[end:]
    words = _behind_marks(rest, own)
    apart = not words or words[0].isspace() or (words == rest and answer[-1:].isspace())
    if not apart or any(sign in characters or sign.isnumeric() for sign in rest):
        return line
    return answer.rstrip() if words.strip() else answer.rstrip().removesuffix(separator)


def _behind_marks(text: str, own: Set[str]) -> str:
    """Drop marks that close, and a stop between them."""
    text = behind_closing(text, own)
    stopped = text[1:] if text[:1] in set(_STOPS) - own else text
    return behind_closing(stopped, own)


@dataclass(frozen=True)
class Asked:
    """Questions, what a model was given and wrote, and what it comes to. Answers are in forward order."""

    questions: Questions
    prompts: Sequence[str]
    texts: Sequence[str]
    answers: Symbols
    verdicts: Verdicts

    def result(self) -> dict[str, Any]:
        """Return accuracies with intervals and kinds of error, under the keys that runs have."""
        questions = self.questions
        task, problems = questions.task, questions.problems
        counts = count_free(task, problems, self.answers, self.verdicts)
        new = creativity(task, problems, self.answers, self.verdicts, questions.shown_forms())
        counts |= count_set(new)
        return {"chance": task.chance, **with_intervals(prefixed(ASKED, counts))}

    def shown(self, count: int) -> list[dict[str, str]]:
        """Return the first prompts with what was written, what was read in it, the truth, and the verdict.

        What was read and the truth are in the order asked for; invalid symbols are read as `?`.
        """
        task, order = self.questions.task, self.questions.order
        first = slice(min(count, len(self.prompts)))
        truth = task.answers(self.questions.problems.take(first))
        answers = task.in_order(self.answers[first], order)
        read = [task.text.separator.join(symbol_texts(task, answer)) for answer in answers]
        return [
            {
                "prompt": prompt,
                "written": text,
                "read": found,
                "true": true,
                "verdict": self.verdicts.kinds[kind],
            }
            for prompt, text, found, true, kind in zip(
                self.prompts[first],
                self.texts[first],
                read,
                task.text.answers(task.in_order(truth, order)),
                self.verdicts.kind[first].tolist(),
                strict=True,
            )
        ]


def ask(questions: Questions, prompts: Sequence[str], answer: Answerer) -> Asked:
    """Put prompts to `answer`, some at a time, and score what it writes.

    prompts: the questions as the model is to read them, in their order.
    """
    texts: list[str] = []
    for first in range(0, len(prompts), _BATCH):
        texts += answer(prompts[first : first + _BATCH])
    answers = questions.read(texts)
    return Asked(questions, prompts, texts, answers, questions.task.score(questions.problems, answers))
