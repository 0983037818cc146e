"""What every task keeps to, for each one in the registry."""

import functools
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from unforced.data.codec import SymbolCodec
from unforced.registry import TASKS
from unforced.tasks.base import Task, in_order
from unforced.tasks.sampling import SPLITS, problems

COUNT = 200
# Spaces so large that two draws of thousands share nothing, for tasks whose default is smaller.
ROOMY = {"addition": {"num_digits": 8}}


@pytest.fixture(scope="module", params=TASKS.names())
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


def test_the_same_seed_gives_the_same_problems(task, some):
    again = type(task).model_validate(task.model_dump())
    assert same(task, some, problems(again, 0, "train", 0, COUNT))


def test_another_process_gives_the_same_problems(task, some):
    script = (
        "import sys, json; from unforced.registry import TASKS; from unforced.tasks.sampling import problems;"
        "task = TASKS.get(sys.argv[1])();"
        f"print(json.dumps(task.lines(problems(task, 0, 'train', 0, {COUNT}))))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    said = subprocess.run(
        [sys.executable, "-c", script, task.name], capture_output=True, text=True, env=environment, check=True
    )
    assert json.loads(said.stdout) == task.lines(some)


@pytest.mark.parametrize("split", SPLITS)
def test_neighbouring_seeds_share_no_problem(roomy, split):
    assert len(np.intersect1d(keys_of(roomy, 0, split), keys_of(roomy, 1, split))) == 0


def test_neighbouring_blocks_share_no_problem(roomy):
    keys = roomy.keys(problems(roomy, 0, "train", 0, 3 * Task.block_size))
    assert len(np.unique(keys)) == 3 * Task.block_size


@pytest.mark.parametrize(
    ("start", "count"),
    [(0, 1), (7, 3), (0, Task.block_size), (Task.block_size - 1, 2), (Task.block_size, 1), (Task.block_size, Task.block_size), (5, 2 * Task.block_size), (2 * Task.block_size, 9)],
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


def test_joining_the_parts_of_a_batch_gives_it_back(task, some):
    parts = [some.take(slice(0, 30)), some.take(np.arange(30, COUNT))]
    assert same(task, type(some).concatenate(parts), some)


def test_each_split_holds_only_families_that_it_owns(task):
    for seed in (0, 1):
        for number, split in enumerate(task.splits):
            assert (task.owners(problems(task, seed, split, 0, Task.block_size)) == number).all()


def test_splits_share_no_problem_even_between_seeds(task):
    for split in SPLITS:
        for other in set(SPLITS) - {split}:
            assert len(np.intersect1d(keys_of(task, 0, split), keys_of(task, 0, other))) == 0
            assert len(np.intersect1d(keys_of(task, 0, split), keys_of(task, 1, other))) == 0


def test_splits_own_eighty_ten_and_ten_percent(task):
    drawn = task.sample(np.random.default_rng(0), 20_000)
    shares = np.bincount(task.owners(drawn), minlength=len(SPLITS)) / 20_000
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.015)  # five standard errors


def test_symbols_are_those_of_the_alphabet(task, some):
    prompts, answers = task.prompts(some), task.answers(some)
    assert prompts.shape == (COUNT, task.prompt_length)
    assert answers.shape == (COUNT, task.answer_length)
    used = np.unique(np.concatenate([prompts, answers], axis=1))
    assert used.min() >= 0
    assert used.max() < len(task.alphabet)
    assert len(set(task.alphabet)) == len(task.alphabet)


def test_all_of_the_alphabet_is_used(task):
    drawn = task.sample(np.random.default_rng(0), 5000)
    used = np.union1d(task.prompts(drawn), task.answers(drawn))
    assert used.tolist() == list(range(len(task.alphabet)))


def test_every_prompt_ends_in_the_same_symbol(task, some):
    assert len(np.unique(task.prompts(some)[:, -1])) == 1


def test_tokens_turn_back_into_symbols_and_the_dummy_into_none(task, some):
    codec = SymbolCodec.of(task)
    tokens = codec.encode(some, "forward").answer
    assert np.array_equal(codec.read(tokens, "forward"), task.answers(some))
    assert (codec.read(tokens.fill_(codec.dummy), "forward") == -1).all()
    assert codec.dummy == len(task.alphabet) == codec.vocab_size - 1


def test_the_oracle_scores_correct(task, some):
    verdicts = task.score(some, task.answers(some))
    assert verdicts.exact.all()
    assert verdicts.kinds == tuple(task.verdict_kinds)
    assert verdicts.counts() == dict.fromkeys(task.verdict_kinds, 0) | {"correct": COUNT}


def test_every_kind_of_error_and_the_shape_have_words(task):
    assert [kind for kind, words in task.verdict_kinds.items() if not words] == ["correct"]
    assert task.topology
    assert task.topology in str(task)


def test_a_dummy_anywhere_in_an_answer_is_an_error(task, some):
    for position in range(task.answer_length):
        answers = task.answers(some).copy()
        answers[:, position] = -1
        assert not task.score(some, answers).exact.any()


def test_answers_to_other_problems_are_errors(task, some):
    verdicts = task.score(some, np.roll(task.answers(some), 1, axis=0))
    assert verdicts.exact.mean() < 0.05
    assert sum(verdicts.counts().values()) == COUNT


def test_facts_about_the_answer_are_possible(task):
    assert 0 < task.chance <= 1
    assert task.decisive_positions
    assert set(task.decisive_positions) <= set(range(task.answer_length))


@pytest.mark.parametrize("order", ["forward", "reversed"])
def test_lines_turn_back_into_problems(task, some, order):
    lines = task.lines(some, order)
    assert len(set(lines)) == COUNT
    read_task, read = task.read_lines(lines, "here", order, task.model_dump())
    assert read_task == task
    assert same(task, read, some)
    assert task.lines(read, order) == lines


def test_the_orders_differ_in_the_answer_alone(task, some):
    forward, backward = task.lines(some), task.lines(some, "reversed")
    assert [line.split("=")[0] for line in forward] == [line.split("=")[0] for line in backward]
    turned = (task.answers(some) != in_order(task.answers(some), "reversed")).any(axis=1)
    assert turned.mean() > 0.9
    assert [left != right for left, right in zip(forward, backward, strict=True)] == turned.tolist()


def test_written_answers_are_read_again_and_what_is_no_answer_is_told(task, some):
    answers = task.answers(some)
    lines = task.text.answers(answers)
    assert np.array_equal(task.text.read_answers(lines), answers)
    assert np.array_equal(task.text.read_answers([f" {line} " for line in lines]), answers)
    more = [f"{line}{task.text.separator}{task.alphabet[0]}" for line in lines]
    assert np.array_equal(task.text.read_answers(more)[:, :-1], answers[:, :-1])
    assert (task.text.read_answers(more)[:, -1] == -1).all()
    fewer = [line[: line.rfind(task.text.separator) if task.text.separator else -1] for line in lines]
    assert np.array_equal(task.text.read_answers(fewer)[:, :-1], answers[:, :-1])
    assert (task.text.read_answers(fewer)[:, -1] == -1).all()
    odd = ["", "?", task.text.separator, task.alphabet[-1], "I do not know"]
    assert (task.text.read_answers(odd) == -1).all()


SIGN_NAMES = {"|": "sign |", "=": "sign =", "/": "sign /", "+": "sign +", ",": "comma"}


@pytest.mark.parametrize("order", ["forward", "reversed"])
def test_an_instruction_names_every_sign_of_a_line(task, some, order):
    signs = {sign for line in task.lines(some, order) for sign in re.sub(r"[0-9]", "", line)}
    said = task.text.instruction(order)
    assert all(SIGN_NAMES[sign] in said for sign in signs)
    assert said.endswith("Write the answer and nothing else.")
    assert "\n" not in said


def test_an_instruction_tells_the_orders_apart(task):
    assert task.text.instruction("forward") != task.text.instruction("reversed")


def test_a_problem_is_drawn_in_rows_of_text(task, some):
    drawings = [task.draw(some, index) for index in range(3)]
    assert all(row.strip() for drawing in drawings for row in drawing)
    assert drawings[0] != drawings[1]


def columns(marks):
    """The positions that are marked in some problem."""
    return tuple(np.flatnonzero(marks.any(axis=0)).tolist())


class TestCounterfactuals:
    def test_decisive_positions_are_those_that_are_decisive_somewhere(self, task, some):
        assert columns(task.lookahead.decisive(some)) == task.decisive_positions
        for given_answer in (True, False):
            chances = task.lookahead.position_chances(given_answer)
            below_one = [i for i, chance in enumerate(chances) if chance < 1]
            assert tuple(below_one) == task.decisive_positions
            assert len(chances) == task.answer_length
            assert all(0 < chance <= 1 for chance in chances)

    def test_the_true_answer_before_a_position_is_no_disadvantage(self, task):
        blind, given = task.lookahead.position_chances(given_answer=False), task.lookahead.position_chances()
        assert all(without <= knowing for without, knowing in zip(blind, given, strict=True))

    def test_no_position_is_both_decisive_and_given_away(self, task, some):
        assert not (task.lookahead.decisive(some) & task.lookahead.followers(some)).any()
        assert task.lookahead.decisive(some).shape == task.lookahead.followers(some).shape == (COUNT, task.answer_length)

    def test_answers_are_made_of_answer_symbols(self, task, some):
        assert task.answers(some).max() < task.answer_symbols <= len(task.alphabet)

    def test_options_are_distinct_and_the_true_one_comes_first(self, task, some):
        for position in task.decisive_positions:
            options = task.lookahead.options(some, position)
            assert np.array_equal(options[:, 0], task.answers(some)[:, position])
            assert options.shape[1] > 1
            assert (np.diff(np.sort(options, axis=1), axis=1) > 0).all()
            assert options.max() < task.answer_symbols

    def test_guessing_an_option_is_at_least_as_good_as_chance_says_on_average(self, task, some):
        for position in task.decisive_positions:
            assert task.lookahead.position_chances()[position] >= 1 / task.lookahead.options(some, position).shape[1] - 1e-9

    def test_decoys_are_answers_that_go_wrong_at_a_decision(self, task, some):
        truth, decoys = task.answers(some), task.lookahead.decoys(some)
        assert decoys.shape[::2] == truth.shape
        for decoy in decoys.transpose(1, 0, 2):
            assert not task.score(some, decoy).exact.any()
            first = (decoy != truth).argmax(axis=1)
            assert task.lookahead.decisive(some)[np.arange(COUNT), first].all()

    def test_other_questions_change_the_answer_first_at_a_decision(self, task, some):
        for other in task.lookahead.other_questions(some):
            assert len(other) == COUNT
            differs = task.answers(other) != task.answers(some)
            changed = differs.any(axis=1)
            assert changed.mean() > 0.8
            first = differs.argmax(axis=1)[changed]
            assert task.lookahead.decisive(some)[changed][np.arange(len(first)), first].all()
            assert np.array_equal(task.keys(other) != task.keys(some), changed)
            assert np.array_equal(task.families(other), task.families(some))

    def test_other_questions_change_little_of_the_prompt(self, task, some):
        for other in task.lookahead.other_questions(some):
            assert ((task.prompts(other) != task.prompts(some)).sum(axis=1) <= 1).all()
