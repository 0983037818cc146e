"""What every task keeps to, for each one in the registry."""

import functools
import json
import os
import re
import subprocess
import sys
from typing import ClassVar, Literal

import numpy as np
import pytest

from tests.tasks import READY
from unforced.data.codec import SymbolCodec
from unforced.errors import UserError
from unforced.registry import TASKS
from unforced.tasks.base import Task
from unforced.tasks.path_star import PathStar
from unforced.tasks.sampling import SPLITS, _Kept, block, problems
from unforced.testing import ConformanceError, check_task
from unforced.testing.check_tasks import TASK_RULES, TaskSubject
from unforced.testing.rules import DoesNotApplyError

COUNT = 200
# Spaces so large that two draws of thousands share nothing, for tasks whose default is smaller.
ROOMY = {
    "addition": {"num_digits": 8},
    "sudoku": {"size": 9, "bases": 200},
    "countdown": {"fewest": 4, "largest": 999, "max_value": 9999},
    "triangle": {"edge_share": 0.0},
}


@pytest.fixture(scope="module", params=READY)
def task(request):
    return TASKS.get(request.param)()


@pytest.fixture(scope="module")
def some(task):
    return problems(task, 0, "train", 0, COUNT)


@pytest.fixture(scope="module")
def roomy(task):
    return type(task)(**ROOMY.get(task.name, {}))


@functools.cache
def keys_of(task, seed, split):
    """Keys of the first problems of a split."""
    return task.keys(problems(task, seed, split, 0, 2 * Task.block_size))


def same(task, left, right):
    """Whether two batches hold the same problems in the same words."""
    return (
        np.array_equal(task.prompts(left), task.prompts(right))
        and np.array_equal(task.answers(left), task.answers(right))
        and np.array_equal(task.keys(left), task.keys(right))
    )


@pytest.mark.parametrize("rule", TASK_RULES, ids=lambda rule: rule.__name__)
def test_every_task_keeps_to_the_contract(task, rule):
    try:
        rule(TaskSubject(task))
    except DoesNotApplyError:
        pytest.skip("does not apply to this task")


class Wrong(PathStar):
    """Breaks the contract: its answers are turned round, and it draws from another generator."""

    name: Literal["wrong"] = "wrong"

    def sample(self, rng, count):
        return super().sample(np.random.default_rng(), count)

    def answers(self, problems):
        return super().answers(problems)[:, ::-1]


def test_a_task_that_breaks_the_contract_is_found_out():
    with pytest.raises(ConformanceError, match=r"task 'wrong' breaks \d+ of") as broken:
        check_task(Wrong())
    lines = str(broken.value).splitlines()
    assert any("sample draws from something else than `rng`" in line for line in lines)
    assert any(line.startswith("- The options at a decision are distinct") for line in lines)
    assert not any(line.startswith("- Prompts and answers are made of its alphabet") for line in lines)


def test_another_process_gives_the_same_problems():
    script = (
        "import sys, json; from unforced.registry import TASKS; from unforced.tasks.sampling import problems;"
        "tasks = [TASKS.get(name)() for name in sys.argv[1:]];"
        f"print(json.dumps([task.lines(problems(task, 0, 'train', 0, {COUNT})) for task in tasks]))"
    )
    environment, command = os.environ | {"PYTHONHASHSEED": "12345"}, [sys.executable, "-c", script, *READY]
    said = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    for name, lines in zip(READY, json.loads(said.stdout), strict=True):
        task = TASKS.get(name)()
        assert lines == task.lines(problems(task, 0, "train", 0, COUNT)), name


def not_listed(task):
    """Skip what is true of splits without end alone."""
    if task.listed("train") is not None:
        pytest.skip("its splits are lists, the same for all seeds")


@pytest.mark.parametrize("split", SPLITS)
def test_neighbouring_seeds_share_no_problem(roomy, split):
    not_listed(roomy)
    assert len(np.intersect1d(keys_of(roomy, 0, split), keys_of(roomy, 1, split))) == 0


def test_neighbouring_blocks_share_no_problem(roomy):
    not_listed(roomy)
    keys = roomy.keys(problems(roomy, 0, "train", 0, 3 * Task.block_size))
    assert len(np.unique(keys)) == 3 * Task.block_size


@pytest.mark.parametrize(
    ("start", "count"),
    [
        (0, 1),
        (7, 3),
        (0, Task.block_size),
        (Task.block_size - 1, 2),
        (Task.block_size, 1),
        (Task.block_size, Task.block_size),
        (5, 2 * Task.block_size),
        (2 * Task.block_size, 9),
    ],
)
def test_a_slice_of_a_stream_is_the_slice_of_a_longer_one(task, start, count):
    longer = problems(task, 3, "train", 0, 2 * Task.block_size + 10)
    part = problems(task, 3, "train", start, count)
    assert len(part) == count
    assert same(task, part, longer.take(slice(start, start + count)))


@pytest.mark.parametrize(("start", "count"), [(0, 0), (-1, 5), (3, -1)])
def test_a_slice_without_problems_is_refused(task, start, count):
    with pytest.raises(ValueError, match="name no problems"):
        problems(task, 0, "train", start, count)


def test_splits_share_no_problem_even_between_seeds(task):
    for split in SPLITS:
        for other in set(SPLITS) - {split}:
            assert len(np.intersect1d(keys_of(task, 0, split), keys_of(task, 0, other))) == 0
            assert len(np.intersect1d(keys_of(task, 0, split), keys_of(task, 1, other))) == 0


def test_splits_own_the_shares_that_they_have(task):
    drawn = task.sample(np.random.default_rng(0), 20_000)
    shares = np.bincount(task.owners(drawn), minlength=len(task.splits)) / 20_000
    assert shares == pytest.approx([*task.splits.values()], abs=0.016)  # five standard errors
    if type(task).splits is Task.splits:
        assert [*task.splits.values()] == [0.8, 0.1, 0.1]


def test_symbols_are_those_of_the_alphabet(task, some):
    prompts, answers = task.prompts(some), task.answers(some)
    assert prompts.shape == (COUNT, task.prompt_length)
    assert answers.shape == (COUNT, task.answer_length)
    used = np.unique(np.concatenate([prompts, answers], axis=1))
    assert used.min() in (-1, 0)
    assert answers.min() == (-1 if task.varied else 0)
    assert used.max() < len(task.alphabet)
    assert len(set(task.alphabet)) == len(task.alphabet)


def test_all_of_the_alphabet_is_used(task):
    drawn = task.sample(np.random.default_rng(0), max(5000, 20 * len(task.alphabet)))
    used = np.setdiff1d(np.union1d(task.prompts(drawn), task.answers(drawn)), [-1])
    assert used.tolist() == list(range(len(task.alphabet)))


@pytest.mark.parametrize("order", ["forward", "reversed"])
def test_tokens_turn_back_into_symbols(task, some, order):
    codec, truth = SymbolCodec.of(task), task.answers(some)
    batch = codec.encode(some, order)
    assert batch.answer.shape == (COUNT, codec.answer_length)
    assert np.array_equal(codec.read(batch.answer, order), truth)
    assert np.array_equal(codec.read_beside(batch.answer, batch), truth)
    begun = codec.encode(some, order, given=1)
    rest = task.in_order(task.in_order(truth, order)[:, 1:], order)
    assert np.array_equal(codec.read(begun.answer, order, given=1), rest)
    assert np.array_equal(begun.prompt[:, -1].numpy(), task.in_order(truth, order)[:, 0])


def test_the_mask_token_is_not_a_symbol_and_comes_after_the_alphabet(task, some):
    codec = SymbolCodec.of(task)
    tokens = codec.encode(some, "forward").answer
    read = codec.read(tokens.fill_(codec.mask_token), "forward")
    assert (read == (-2 if task.varied else -1)).all()
    assert codec.mask_token == len(task.alphabet) == codec.vocab_size - 1 - task.varied
    assert codec.end == (codec.mask_token + 1 if task.varied else None)


def test_an_answer_without_an_end_is_read_as_wrong(task, some):
    codec = SymbolCodec.of(task)
    if codec.end is None:
        pytest.skip("answers have one length")
    batch = codec.encode(some, "forward")
    endless = batch.answer.masked_fill(batch.answer == codec.end, 0)
    assert not task.score(some, codec.read(endless, "forward")).exact.any()
    for order in ("forward", "reversed"):
        batch = codec.encode(some, order)
        endless = batch.answer.masked_fill(batch.answer == codec.end, 0)
        wrong = codec.read_beside(endless, batch) != task.answers(some)
        last = task.exists(task.answers(some)).sum(axis=1) - 1 if order == "forward" else np.zeros(COUNT, int)
        assert np.array_equal(np.argwhere(wrong), np.stack([np.arange(COUNT), last], axis=1))


def test_answers_to_other_problems_are_errors_unless_a_task_is_open_ended(task, some):
    verdicts = task.score(some, np.roll(task.answers(some), 1, axis=0))
    assert (verdicts.exact.mean() < 0.05) == (task.of_a_set is None)
    assert sum(verdicts.counts().values()) == COUNT


def test_facts_about_the_answer_are_possible(task):
    assert task.chance is None or 0 < task.chance <= 1
    assert (task.lookahead is None) == (not task.decisive_positions)
    assert set(task.decisive_positions) <= set(range(task.answer_length))


def test_the_orders_differ_in_the_answer_alone(task, some):
    forward, backward = task.texts(some), task.texts(some, "reversed")
    assert [prompt for prompt, _ in forward] == [prompt for prompt, _ in backward] == task.text.prompts(some)
    turned = (task.answers(some) != task.in_order(task.answers(some), "reversed")).any(axis=1)
    assert turned.mean() > 0.2  # an edge of triangle's graph, written both ways, is the same backwards
    assert [left != right for left, right in zip(forward, backward, strict=True)] == turned.tolist()
    back = task.in_order(task.in_order(task.answers(some), "reversed"), "reversed")
    assert np.array_equal(back, task.answers(some))


def test_written_answers_are_read_again_and_what_is_no_answer_is_told(task, some):
    answers = task.answers(some)
    lines = task.text.answers(answers)
    assert np.array_equal(task.text.read_answers(lines), answers)
    assert np.array_equal(task.text.read_answers([f" {line} " for line in lines]), answers)
    wrong, rows = -2 if task.varied else -1, np.arange(COUNT)
    last = np.minimum(task.exists(answers).sum(axis=1), task.answer_length - 1)
    more = [f"{line}{task.text.separator}{task.alphabet[0]}" for line in lines]
    longer = task.text.read_answers(more)
    assert (longer != answers).sum(axis=1).tolist() == [1] * COUNT
    assert (longer[rows, last] != answers[rows, last]).all()
    fewer = [line[: line.rfind(task.text.separator) if task.text.separator else -1] for line in lines]
    shorter = task.text.read_answers(fewer)
    assert (shorter[rows, task.exists(answers).sum(axis=1) - 1] == -1).all()
    odd = ["?", task.alphabet[-1], "I do not know"]
    assert (task.text.read_answers(odd)[:, 0] == wrong).all()
    assert (task.text.read_answers(["", task.text.separator]) < 0).all()


SIGN_NAMES = {" ": "space", ":": "sign :", ">": "sign >", "-": "sign -", "*": "sign *"}
SIGN_NAMES |= {"|": "sign |", "=": "sign =", "/": "sign /", "+": "sign +", ",": "comma"}


def test_prompts_alone_are_read_and_what_is_no_prompt_is_one_line(task, some):
    reader, prompts = task.text.prompt_reader, task.text.prompts(some)
    read = reader.read(prompts)
    assert np.array_equal(task.prompts(read), task.prompts(some))
    assert task.score(read, task.answers(some)).exact.all()
    if reader.knows == "answer":
        assert same(task, some, read)
    for text in ("", "1", "é", prompts[0] + "3", prompts[0][:-1], "9,1|9,1|9,1/9,1=", "3,3/3,3="):
        with pytest.raises(UserError, match=re.escape(repr(text[:20])[:-1])):
            reader.read([text])


@pytest.mark.parametrize("order", ["forward", "reversed"])
def test_an_instruction_names_every_sign_of_a_line(task, some, order):
    signs = {sign for line in task.lines(some, order) for sign in re.sub(r"[0-9a-z]", "", line)}
    said = task.text.instruction(order)
    assert all(SIGN_NAMES.get(sign, f"sign {sign}") in said for sign in signs)
    assert said.endswith("Write the answer and nothing else.")
    assert "\n" not in said


def test_a_problem_is_drawn_in_rows_of_text(task, some):
    drawings = [task.draw(some, index) for index in range(3)]
    assert all(row.strip() for drawing in drawings for row in drawing)
    assert drawings[0] != drawings[1]


def columns(marks):
    """The positions that are marked in some problem."""
    return tuple(np.flatnonzero(marks.any(axis=0)).tolist())


@pytest.fixture(scope="module")
def ahead(task):
    """What needs lookahead, where it is known."""
    if task.lookahead is None:
        pytest.skip("what needs lookahead is unknown")
    return task.lookahead


class TestLookahead:
    def test_decisive_positions_are_those_that_are_decisive_somewhere(self, task, ahead, some):
        assert columns(ahead.decisive(some)) == task.decisive_positions
        for given_answer in (True, False):
            chances = ahead.position_chances(given_answer)
            below_one = [i for i, chance in enumerate(chances) if chance < 1]
            assert tuple(below_one) == task.decisive_positions
            assert len(chances) == task.answer_length
            assert all(0 < chance <= 1 for chance in chances)

    def test_answers_are_made_of_answer_symbols(self, task, some):
        assert task.answers(some).max() < task.answer_symbols <= len(task.alphabet)

    def test_options_are_distinct_and_the_true_one_comes_first(self, task, ahead, some):
        for position in task.decisive_positions:
            here = ahead.decisive(some)[:, position]
            options = ahead.choices(some, position)[here]
            assert np.array_equal(options[:, 0], task.answers(some)[here, position])
            assert options.shape[1] > 1
            assert (np.diff(np.sort(options, axis=1), axis=1) > 0).all()
            assert options.max() < task.answer_symbols

    def test_guessing_an_option_is_at_least_as_good_as_chance_says_on_average(self, task, ahead, some):
        for position in task.decisive_positions:
            assert ahead.position_chances()[position] >= 1 / ahead.choices(some, position).shape[1] - 1e-9

    def test_decoys_are_answers_that_go_wrong_at_a_decision(self, task, ahead, some):
        truth, decoys = task.answers(some), ahead.decoys(some)
        assert decoys.shape[::2] == truth.shape
        for decoy in decoys.transpose(1, 0, 2):
            assert not task.score(some, decoy).exact.any()
            stated = ahead.with_stated_end(some, decoy)
            assert not task.score(some, stated).exact.any()
            assert ((stated != decoy).sum(axis=1) <= 1).all()
            assert np.array_equal(task.exists(stated), task.exists(decoy))
            first = (decoy != truth).argmax(axis=1)
            assert ahead.decisive(some)[np.arange(COUNT), first].all()

    def test_other_questions_change_the_answer_first_at_a_decision(self, task, ahead, some):
        for other in ahead.counterfactual_prompts(some):
            assert len(other) == COUNT
            differs = task.answers(other) != task.answers(some)
            changed = differs.any(axis=1)
            assert changed.mean() > 0.8
            first = differs.argmax(axis=1)[changed]
            assert ahead.decisive(some)[changed][np.arange(len(first)), first].all()
            assert np.array_equal(task.keys(other) != task.keys(some), changed)
            assert np.array_equal(task.families(other), task.families(some))

    def test_other_questions_change_little_of_the_prompt(self, task, ahead, some):
        for other in ahead.counterfactual_prompts(some):
            assert ((task.prompts(other) != task.prompts(some)).sum(axis=1) <= 1).all()


class TestSplits:
    """A task may name splits of its own, and say which problems they own."""

    class Named(PathStar):
        @property
        def splits(self):
            return {"train": 0.6, "validation": 0.1, "test": 0.1, "small_goal": 0.2}

        def owners(self, problems):
            small = problems.arms[:, 0, -1] < 10
            return np.where(small, 3, super().owners(problems) % 3)

    def test_its_problems_are_those_that_it_owns(self):
        task = self.Named()
        for number, split in enumerate(task.splits):
            some = problems(task, 0, split, 0, 500)
            assert (task.owners(some) == number).all()
            assert ((task.answers(some)[:, -1] < 10) == (split == "small_goal")).all()

    def test_an_unknown_split_is_refused_with_the_nearest(self):
        with pytest.raises(UserError, match=r"unknown split 'small_gaol'; did you mean 'small_goal'\?"):
            problems(self.Named(), 0, "small_gaol", 0, 5)
        with pytest.raises(UserError, match="unknown split 'degree_1'"):
            problems(PathStar(), 0, "degree_1", 0, 5)


class TestSlowSamplers:
    """Problems that are slow to make are made in small blocks, and once."""

    class Slow(PathStar):
        block_size: ClassVar[int] = 256
        drawn: ClassVar[list[int]] = []

        def sample(self, rng, count):
            self.drawn.append(count)
            return super().sample(rng, count)

    def test_three_hundred_problems_take_two_small_blocks_and_are_drawn_once(self):
        task = self.Slow(num_nodes=61)
        first = problems(task, 7, "validation", 0, 300)
        drawn = sum(self.Slow.drawn)
        assert drawn <= 2 * (int(1.05 * 256 / 0.1) + 1) * 2  # where the first draw falls short, there are two
        again = problems(self.Slow(num_nodes=61), 7, "validation", 0, 300)
        assert sum(self.Slow.drawn) == drawn
        assert same(task, first, again)

    def test_blocks_are_dropped_where_there_is_no_room(self):
        kept = _Kept(most=3 * problems(PathStar(), 0, "train", 0, 10).nbytes)
        for index in range(5):
            key = (PathStar, "", 0, "train", index)
            kept.keep(key, problems(PathStar(), 0, "train", 10 * index, 10))
        assert [key[-1] for key in kept.blocks] == [2, 3, 4]
        assert kept.used == kept.most

    def test_the_arrays_of_a_block_cannot_be_changed(self):
        with pytest.raises(ValueError, match="read-only"):
            block(PathStar(), 0, "train", 0).start[0] = 1
