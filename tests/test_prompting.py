"""Problems asked in words: what a prompt says, which answers are read as right, and who wrote them."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks import READY
from unforced.evaluation.prompting import Questions, answer_in, ask
from unforced.registry import TASKS
from unforced.tasks.base import in_order
from unforced.tasks.sampling import problems

DIGITS = frozenset("0123456789")
STAR = TASKS.get("path_star")(degree=2, path_length=3, num_nodes=10)
SUMS = TASKS.get("addition")(num_digits=3)
COUNT = 40
EDGE, PAIR, SEED = r"\d+,\d+", r"n\d+ n\d+", r"[a-z0-9]{10}"
LINES = {
    "path_star": rf"{EDGE}(\|{EDGE})*/{EDGE}=(\d+(,\d+)*)",
    "branching_path": rf"{EDGE}(\|{EDGE})*/{EDGE}=(\d+(,\d+)*)",
    "crossing_lines": rf"{EDGE}(\|{EDGE})*/{EDGE}=(\d+(,\d+)*)",
    "dag_paths": r"\d+,\d+=(\d+(,\d+)*)",
    "minimal_planning": rf"{EDGE}(\|{EDGE})*/{EDGE}=(\d+(,\d+)*)",
    "countdown": r"(\d+ ){3,4}> \d+ :\d+ [-+*/] \d+ = \d+( , \d+ [-+*/] \d+ = \d+){1,2}"
    r"|(\d+ ){3,4}> \d+ :\d+ = \d+ [-+*/] \d+( , \d+ = \d+ [-+*/] \d+){1,2}",
    "sibling": rf"{SEED}:(b\d+ c\d+ a\d|a\d c\d+ b\d+)",
    "triangle": rf"(edge:{PAIR} , {PAIR}|{SEED} triangle:{PAIR}( , {PAIR}){{2}})",
    "circle": rf"{SEED}:{PAIR}( , {PAIR}){{8}}",
    "line": rf"{SEED}:{PAIR}( , {PAIR}){{8}}",
    "addition": r"\d{4}\+\d{4}=(\d{5})",
    "sudoku": r"([1-4.] ){16}=[1-4]( [1-4]){15}",
}


def questions(task, order="forward", count=COUNT, shots=2):
    return Questions.draw(task, order, 0, count, shots)


@pytest.fixture(scope="module", params=READY)
def task(request):
    return TASKS.get(request.param)()


@pytest.fixture(scope="module", params=["forward", "reversed"])
def asked(task, request):
    return questions(task, request.param)


def true_lines(asked):
    return asked.task.text.answers(asked.task.in_order(asked.task.answers(asked.problems), asked.order))


def question(prompt):
    """The line of a prompt that asks."""
    return prompt.splitlines()[-1]


class TestPrompts:
    def test_a_prompt_is_the_instruction_the_shots_and_the_question(self, asked):
        lines = asked.task.text.prompts(asked.problems)
        for prompt, line in zip(asked.prompts(), lines, strict=True):
            instruction, blank, *shots, last = prompt.split("\n")
            assert instruction == asked.task.text.instruction(asked.order)
            assert blank == ""
            assert shots == ["".join(shot) for shot in asked.shots]
            assert last == line

    def test_shots_are_solved_training_problems_in_the_format_explained(self, asked):
        lines = ["".join(shot) for shot in asked.shots]
        assert all(re.fullmatch(LINES[asked.task.name], line) for line in lines)
        shown = problems(asked.task, 0, "train", 0, len(lines))
        assert lines == asked.task.lines(shown, asked.order)
        assert (asked.task.owners(shown) == 0).all()
        assert (asked.task.owners(asked.problems) == 2).all()
        assert not np.intersect1d(asked.task.keys(shown), asked.task.keys(asked.problems)).size

    def test_without_shots_the_question_follows_the_instruction(self, task):
        prompt = questions(task, shots=0).prompts()[0]
        assert prompt.split("\n")[:-1] == [task.text.instruction("forward"), ""]

    def test_a_conversation_says_the_same_in_turns(self, asked):
        for turns, prompt in zip(asked.conversations(), asked.prompts(), strict=True):
            assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2 + ["user"]
            assert turns[0]["content"].startswith(asked.task.text.instruction(asked.order))
            said = [turn["content"] for turn in turns]
            assert "\n".join([said[0] + said[1], said[2] + said[3], said[4]]) == prompt

    def test_the_room_for_an_answer_holds_the_longest_one_byte_by_byte(self, asked):
        longest = max(len(", ".join(line.split(",")).encode()) for line in true_lines(asked))
        assert longest + 4 <= asked.most_tokens() < 3 * longest + 18


EXACT = [
    "1,7,9", " 1,7,9", "1, 7, 9", "1 , 7,9 ", "\n\n1,7,9\n5,4", "1,7,9.", "1, 7, 9.\r\nNext: 3,4", "1,7,9 .",
    "1,7,9 is the path", "1,7,9. The path ends at the goal.", "1,7,9\tdone", "1,7,9\n1,4,2",
    "**1,7,9**", "**1,7,9.**", "**1, 7, 9**.", "`1,7,9`", "[1,7,9]", "([1, 7, 9])", "(1,7,9)", '"1,7,9"',
    "* 1,7,9", "1,7,9!", "1,7,9;", "1,7,9,", "1,7,9, ", "**1,7,9,**", "**1,7,9** is the path", "1,7,9; done",
    "(1,7,9). Done", "```\n1,7,9\n```", "```text\n1, 7, 9\n```\nDone: 4", "```1,7,9```",
    "~~~\n1,7,9", "“1,7,9”", "“1,7,9.”",
    "‘1,7,9’", "«1,7,9»", "$1,7,9$", "$$\n1,7,9\n$$", "$1,7,9$.", r"\(1,7,9\)",
    "\\[\n1,7,9\n\\]", r"$\boxed{1,7,9}$",
    "> 1,7,9", "> **1,7,9**", "**\n1,7,9\n**", "`` 1,7,9 ``", "$ 1,7,9 $", "「1,7,9」",
    "- 1,7,9", "• 1,7,9", "<answer>1,7,9</answer>", "<answer>\n1,7,9\n</answer>", "1,7,9<|im_end|>",
]  # fmt: skip
NO_ANSWER = [
    "", " ", "\n", ".", ",", "1,7", "1,7,", "1,7,9,,", "1,7,9,4", "1,7,,9", "1,7,9 4", "1,79", "17,9",
    "1,7,9|1,4", "1 7 9", "1,7,9 or 1,4,2", "1,7,9 (not 4)", "1,7,9is", "1,7,9.5", "1,7,9.The", "1,7,9-4",
    "1,7,9 → 4", "-1,7,9", "01,7,9", "1,7,09", "１,７,９", "1,7,9 or ４", "The path is 1,7,9", "=1,7,9",
    "1;7;9", "1,7\n,9", "**", "[]", "[1,7,9],[1,4,2]", "**1,7,9**4", "[1,7],9", "1,7,(9)", "**1**,7,9",
    "1,7,9, and so on", "1,7,9...", "1,7,9..", "1,7,9;4", "(-1,7,9)", "[1,7,9][4]", "**Answer**: 1,7,9",
    ",1,7,9", "1,7,9;;", "**1,7,9**is", "```\n```", "```", "```text", "```\nThe path:\n1,7,9\n```",
    "```1\n,7,9```", "$1,7$,9",
    "- -1,7,9", "<answer>4</answer>1,7,9", "1,7,9</answer>4", "1,7,9<|im_end|>4", "<1,7,9", "<br>",
    "$1,7,9$4", "“1,7,9” or “1,4,2”", r"\frac{1,7,9}", "$-1,7,9$", "```\n-1,7,9\n```", "$$", "“”",
]  # fmt: skip
WRONG = [
    "1,4,2",
    "9,7,1",
    "1,7,8",
    "1,9,7.",
    "```\n1,4,2\n```",
    "“1,7,8”",
    "$1,9,7$",
    "```\n1,4,2\n1,7,9\n```",
]
EXACT_SUM = [
    "```\n0579\n```", "“0579”", "$0579$.",
    "0579", " 0579\n", "0579.", "0579 is the sum", "\n0579. Done", "**0579**", "`0579`!", "(0579);",
]  # fmt: skip
NO_SUM = [
    "579", "00579", "0,579", "0 5 7 9", "0579 0578", "0579+1", "+0579", "057x9", "0579,", "(057)9",
    "**0579**8", "-0579", "```\n579\n```", "$0579$8",
]  # fmt: skip


def read(task, text):
    return task.text.read_answers([answer_in(text, DIGITS, task.text.separator)])[0].tolist()


def test_a_right_answer_is_read_in_whatever_stands_around_it():
    assert [text for text in EXACT if read(STAR, text) != [1, 7, 9]] == []


def test_what_is_not_clearly_an_answer_is_none():
    assert [text for text in NO_ANSWER if -1 not in read(STAR, text)] == []


def test_a_wrong_answer_is_read_as_it_stands():
    for text in WRONG:
        assert read(STAR, text) == [int(label) for label in re.findall(r"\d", text)[:3]]


def test_a_right_sum_is_read():
    assert [text for text in EXACT_SUM if read(SUMS, text) != [0, 5, 7, 9]] == []


def test_what_is_no_sum_is_none():
    assert [text for text in NO_SUM if read(SUMS, text) == [0, 5, 7, 9]] == []


TEXTS = (
    st.text() | st.text(alphabet="0179, .\n=|a-*[];!`$“”", max_size=12) | st.sampled_from(EXACT + NO_ANSWER)
)


@settings(deadline=None)
@given(TEXTS, st.sampled_from([(STAR, r"[0-9]+"), (SUMS, r"[0-9]")]))
def test_an_answer_that_passes_is_all_that_its_line_has_of_numbers(text, one):
    task, number = one
    found = read(task, text)
    assert len(found) == task.answer_length
    if -1 not in found:
        line = next(line for line in text.splitlines() if re.search(number, line))
        assert re.findall(number, line) == list(map(str, found))


SPACES = st.text(alphabet=" \t", max_size=2)
AFTER = st.sampled_from(["", ".", " ", ".\n7,7,7", "\nand so on, 3", " is it", ". So it is, surely"])


@settings(deadline=None)
@given(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1), SPACES, AFTER, st.sampled_from([STAR, SUMS]))
def test_the_true_answer_always_passes_and_another_never_does(i, j, spaces, after, task):
    asked = questions(task)
    answers = task.text.answers(task.answers(asked.problems))
    text = spaces + answers[j].replace(",", "," + spaces) + after
    exact = task.score(asked.problems, asked.read([text] * COUNT)).exact
    assert exact[i] == (answers[i] == answers[j])


def knowing(asked, write):
    """Answers prompts by what `write` makes of the place of their question."""
    places = {line: i for i, line in enumerate(asked.task.text.prompts(asked.problems))}
    return lambda prompts: [write(places[question(prompt)]) for prompt in prompts]


def put(asked, write):
    return ask(asked, asked.prompts(), knowing(asked, write))


def test_who_knows_the_answers_is_exact(asked):
    answers = true_lines(asked)
    result = put(asked, lambda i: f" {answers[i]}.\nNext").result()
    assert result["test.free.exact"]["value"] == 1
    assert result["test.free.exact"]["high"] == 1
    assert result["test.free.exact"]["low"] == pytest.approx(COUNT / (COUNT + 1.959964**2))  # Wilson
    lengths = asked.task.exists(asked.task.answers(asked.problems)).sum(axis=1)
    assert all(result[f"test.free.token_{i}"]["value"] == 1 for i in range(lengths.max()))
    assert result["test.free.errors"]["correct"] == COUNT
    assert result["chance"] == asked.task.chance


@pytest.mark.parametrize("order", ["forward", "reversed"])
def test_who_walks_a_wrong_arm_is_told_so(order):
    asked = questions(STAR, order)
    wrong = STAR.text.answers(in_order(STAR.lookahead.decoys(asked.problems)[:, 0], order))
    result = put(asked, wrong.__getitem__).result()
    assert result["test.free.errors"] == dict.fromkeys(STAR.verdict_kinds, 0) | {"wrong_arm": COUNT}
    assert [result[f"test.free.token_{i}"]["value"] for i in range(3)] == [1, 0, 0]


def test_who_babbles_is_malformed(asked):
    asking = put(asked, lambda i: "I do not know")
    assert asking.result()["test.free.errors"]["malformed"] == COUNT
    read = asking.shown(1)[0]["read"]
    assert set(read) <= {"?", *asked.task.text.separator}
    assert asked.task.varied or read.count("?") == asked.task.answer_length


def test_what_is_shown_is_what_was_asked_and_written(asked):
    answers = true_lines(asked)
    asking = put(asked, lambda i: answers[i] + "." if i else "?")
    shown = asking.shown(2)
    assert [one["prompt"] for one in shown] == asked.prompts()[:2]
    assert [one["written"] for one in shown] == ["?", answers[1] + "."]
    assert [one["verdict"] for one in shown] == ["malformed", "correct"]
    assert [one["true"] for one in shown] == answers[:2]
    assert shown[1]["read"] == answers[1]
    assert len(asking.shown(10_000)) == COUNT
    assert asking.shown(0) == []


def test_prompts_are_put_in_order_some_at_a_time():
    asked, sizes = questions(STAR, count=70), []

    def answer(prompts):
        sizes.append(len(prompts))
        return [question(prompt) for prompt in prompts]

    asking = ask(asked, asked.prompts(), answer)
    assert sizes == [32, 32, 6]
    assert list(asking.texts) == STAR.text.prompts(asked.problems)
