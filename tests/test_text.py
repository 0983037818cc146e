"""Problems as text in a tokenizer's own tokens: what is encoded, read back, and asked of ragged batches."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from tests.tokens import END, KINDS, START, byte_level, ending, joining, letters
from unforced.data.batch import Batch
from unforced.data.codec import SymbolCodec
from unforced.data.text import TextCodec
from unforced.errors import UserError
from unforced.objectives.next_token import NextToken
from unforced.tasks.addition import Addition
from unforced.tasks.base import in_order
from unforced.tasks.branching_path import BranchingPath
from unforced.tasks.countdown import Countdown
from unforced.tasks.crossing_lines import CrossingLines
from unforced.tasks.path_star import PathStar, PathStarProblems

STAR = PathStar(degree=2, path_length=3, num_nodes=120)
TASKS = [
    STAR,
    PathStar(degree=3, path_length=4, num_nodes=12),
    BranchingPath(degree=2, path_length=4, forks=(0, 1), num_nodes=1200),
    Addition(num_digits=5),
]
VARIED = [CrossingLines(num_nodes=120), Countdown()]
ORDERS = ["forward", "reversed"]
DUMMY = "<dummy>"


def drawn(task, count, seed=0):
    return task.sample(np.random.default_rng(seed), count)


@functools.cache
def codec_of(task, kind):
    """A codec with a tokenizer of a kind, which is trained once for all tests that share the kind."""
    tokenizer = kind(task.lines(drawn(task, 200, seed=9)))
    tokenizer.add_tokens([DUMMY], special_tokens=True)
    dummy = tokenizer.convert_tokens_to_ids(DUMMY)
    return TextCodec.of(task, tokenizer, dummy, tokenizer.eos_token_id, len(tokenizer))


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture(scope="module", params=TASKS, ids=str)
def codec(request, kind):
    return codec_of(request.param, kind)


def real(tokens, mask):
    return [row.tolist() if mask is None else row[mask[i]].tolist() for i, row in enumerate(tokens)]


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_encoded_is_the_papers_line(codec, order):
    some = drawn(codec.task, 50)
    batch = codec.encode(some, order)
    prompts, answers = real(batch.prompt, batch.prompt_mask), real(batch.answer, batch.answer_mask)
    for line, prompt, answer in zip(codec.task.lines(some, order), prompts, answers, strict=True):
        start = codec.tokenizer.decode(list(codec.start))
        text = codec.tokenizer.decode(prompt + answer, clean_up_tokenization_spaces=False)
        assert text.replace(" ", "") == f"{start}{line}{END}"
        assert codec.tokenizer.decode(answer).replace(" ", "") == line.partition("=")[2] + END
        assert prompt[: len(codec.start)] == list(codec.start)


def star(arms):
    """A star of two arms whose start is 1."""
    order, flipped = np.array([[0, 2, 1, 3]]), np.zeros((1, 4), dtype=bool)
    return PathStarProblems(np.array([1]), np.array([arms]), order, flipped)


def test_a_line_by_hand():
    problem = PathStarProblems(
        np.array([1]), np.array([[[70, 9], [4, 110]]]), np.array([[0, 2, 1, 3]]), np.zeros((1, 4), bool)
    )
    codec = codec_of(STAR, letters)
    assert STAR.lines(problem) == ["1,70|1,4|70,9|4,110/1,9=1,70,9"]
    batch = codec.encode(problem, "forward")
    assert [codec.tokenizer.decode([token]) for token in batch.answer[0, :7]] == [*"1,70,9", END]
    assert batch.answer_places.tolist() == [[0, 0, 1, 1, 1, 2, 2, -1, -1, -1, -1, -1]]
    assert batch.answer_mask.sum() == 7
    batch = codec.encode(problem, "reversed", given=1)
    assert codec.tokenizer.decode(batch.prompt[0, -3:]) == "=9,"
    assert [codec.tokenizer.decode([token]) for token in batch.answer[0, :5]] == [*"70,1", END]
    assert batch.answer_places.tolist() == [[1, 1, 1, 0, 0, -1, -1, -1, -1, -1]]


@pytest.mark.parametrize("order", ORDERS)
def test_prompts_end_and_answers_begin_side_by_side(codec, order):
    batch = codec.encode(drawn(codec.task, 40), order)
    if batch.prompt_mask is not None:
        assert batch.prompt_mask[:, -1].all()
        assert (batch.prompt_mask.int().diff(dim=1) >= 0).all()
    if batch.answer_mask is not None:
        assert batch.answer_mask[:, 0].all()
        assert (batch.answer_mask.int().diff(dim=1) <= 0).all()
        assert torch.equal(batch.places >= 0, batch.answer_mask)


def test_lengths_differ_where_labels_do():
    assert codec_of(STAR, letters).encode(drawn(STAR, 40), "forward").prompt_mask is not None
    even = PathStar(degree=2, path_length=3, num_nodes=10)
    assert codec_of(even, letters).encode(drawn(even, 40), "forward").prompt_mask is None


@pytest.mark.parametrize("order", ORDERS)
def test_true_answers_are_read_as_true(codec, order):
    some = drawn(codec.task, 200)
    batch, truth = codec.encode(some, order), codec.task.answers(some)
    assert np.array_equal(codec.read(batch.answer, order), truth)
    assert np.array_equal(codec.read_beside(batch.answer, batch), truth)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("task", TASKS[:3], ids=str)
def test_the_rest_of_an_answer_is_read_where_some_is_given(task, kind, order):
    codec, some = codec_of(task, kind), drawn(task, 60)
    decoys = task.lookahead.decoys(some)[:, 0]
    batch = codec.encode(some, order, decoys, given=2)
    rest = in_order(in_order(decoys, order)[:, 2:], order)
    assert np.array_equal(codec.read(batch.answer, order, given=2), rest)
    whole = codec.encode(some, order, decoys)
    for both, one in zip(
        zip(real(batch.prompt, batch.prompt_mask), real(batch.answer, batch.answer_mask), strict=True),
        zip(real(whole.prompt, whole.prompt_mask), real(whole.answer, whole.answer_mask), strict=True),
        strict=True,
    ):
        assert both[0] + both[1] == one[0] + one[1]


def test_no_text_is_longer_than_the_codec_says(codec):
    for order in ORDERS:
        batch = codec.encode(drawn(codec.task, 500), order)
        assert batch.prompt.shape[1] <= codec.prompt_length
        assert batch.answer.shape[1] <= codec.answer_length
    longest = int((batch.places >= 0).sum(1).max())
    most_saved = codec.task.answer_length + 1 if codec.task.text.separator else longest
    assert codec.answer_length <= longest + most_saved


def test_what_does_not_end_or_is_no_text_of_the_task_is_no_answer():
    codec, some = codec_of(STAR, letters), drawn(STAR, 30)
    batch, truth = codec.encode(some, "forward"), STAR.answers(some)
    unended = codec.read(torch.where(batch.answer == codec.end, codec.mask_token, batch.answer), "forward")
    assert (unended[:, -1] == -1).all()
    assert np.array_equal(unended[:, :-1], truth[:, :-1])
    hidden = codec.read(batch.answer.index_fill(1, torch.tensor([0]), codec.mask_token), "forward")
    assert (hidden[:, 0] == -1).all()
    beyond = codec.read(batch.answer.index_fill(1, torch.tensor([0]), codec.vocab_size + 5), "forward")
    assert (beyond[:, 0] == -1).all()
    assert (codec.read(torch.full_like(batch.answer, codec.end), "forward") == -1).all()


def spelled(codec, text):
    ids = codec.tokenizer(text, add_special_tokens=False).input_ids
    return torch.tensor([ids + [codec.end] * (codec.answer_length - len(ids))])


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("1,70,9" + END, [1, 70, 9]),
        ("1,71,9" + END, [1, 71, 9]),  # one token of a node
        ("1,40,9" + END, [1, 40, 9]),
        ("7,70,8" + END, [7, 70, 8]),
        ("1,70,9,", [1, 70, -1]),  # the goal, but no end
        ("1,7009" + END, [1, -1, 9]),  # 700 is no node
        ("1,70|9" + END, [1, -1, 9]),
        ("1,,0,9" + END, [1, -1, 9]),
        ("1|70,9" + END, [-1, 70, 9]),
        (END + ",70,9" + END, [-1, 70, 9]),
    ],
)
def test_predictions_beside_an_answer_are_read_node_by_node(said, read):
    problem = PathStarProblems(
        np.array([1]), np.array([[[70, 9], [4, 110]]]), np.array([[0, 2, 1, 3]]), np.zeros((1, 4), bool)
    )
    codec = codec_of(STAR, letters)
    batch = codec.encode(problem, "forward")
    assert codec.read_beside(spelled(codec, said), batch).tolist() == [read]
    backward = codec.encode(problem, "reversed")
    turned = ",".join(said.removesuffix(END).split(",")[::-1]) + END
    if len(turned) == len("9,70,1" + END) and read[-1] != -1 and said.count(",") == 2:
        assert codec.read_beside(spelled(codec, turned), backward).tolist() == [read]


def test_a_symbol_is_right_exactly_where_its_tokens_are(codec):
    some = drawn(codec.task, 100)
    batch, truth = codec.encode(some, "forward"), codec.task.answers(some)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(codec.vocab_size, batch.answer.shape, generator=generator)
    said = torch.where(torch.rand(batch.answer.shape, generator=generator) < 0.2, noise, batch.answer)
    right = codec.read_beside(said, batch) == truth
    same, places, apart = (said == batch.answer).numpy(), batch.places.numpy(), codec.apart(batch)
    for row in range(len(some)):
        for place in np.unique(places[row][places[row] >= 0]):
            whole = same[row][places[row] == place].all()
            assert right[row, place] if whole else not (apart[row] and right[row, place])
    assert 0.1 < right.mean() < 0.9


def test_digits_that_share_a_token_are_told_apart():
    task = Addition(num_digits=5)
    codec, some = codec_of(task, byte_level), drawn(task, 300)
    batch = codec.encode(some, "forward")
    groups = [list(codec.groups(batch, row)) for row in range(300)]
    row = next(i for i, each in enumerate(groups) if any(last - first == 2 for first, last, _ in each))
    first, last, (column, *_) = next(group for group in groups[row] if group[1] - group[0] == 2)
    true = task.answers(some)[row, first:last]
    pairs = [text for text in codec.tokenizer.get_vocab() if len(text) == 2 and text.isdigit()]
    other = next(text for text in pairs if int(text[0]) == true[0] and int(text[1]) != true[1])
    said = batch.answer[row : row + 1].clone()
    said[0, column] = codec.tokenizer.convert_tokens_to_ids(other)
    read = codec.read_beside(said, batch.rows(slice(row, row + 1)))[0]
    assert read[first:last].tolist() == [int(other[0]), int(other[1])]


def test_a_tokenizer_that_joins_prompt_and_answer_is_refused():
    task = PathStar(degree=2, path_length=3, num_nodes=8)
    with pytest.raises(UserError, match=r"joins the end of a prompt with its answer in .*encoding=symbol"):
        codec_of(task, lambda lines: joining(lines, 1500)).encode(drawn(task, 200), "forward")


def test_a_symbol_that_is_joined_with_the_prompt_is_found_before_any_problem_has_it():
    task = PathStar(degree=2, path_length=3, num_nodes=1200)
    with pytest.raises(UserError, match=r"joins the end of a prompt with its answer in .*=1199,"):
        codec_of(task, lambda lines: added(letters(lines), "=1199,"))


def added(tokenizer, *tokens):
    tokenizer.add_tokens(list(tokens))
    return tokenizer


@pytest.mark.parametrize("token", ["1,", ",7", "9|1", "4/"])
def test_no_text_is_longer_than_the_codec_says_where_labels_are_joined_with_signs(token):
    """`12,` takes more tokens than `12` where `2,` is one."""
    task = PathStar(degree=3, path_length=4, num_nodes=100)
    codec = codec_of(task, lambda lines: added(byte_level(lines, 400), token))
    for order in ORDERS:
        codec.encode(drawn(task, 1000), order)


@pytest.mark.parametrize("start", ["", START, f"{START} {START}"])
def test_a_tokenizer_that_ends_texts_leaves_without_that(start, tmp_path):
    codec = codec_of(STAR, lambda lines: ending(byte_level(lines), start))
    assert codec.tokenizer("1,2/1,2=").input_ids[-1] == codec.end
    codec.build_tokenizer(99).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    some = drawn(STAR, 20)
    batch = codec.encode(some, "forward")
    prompts = tokenizer(STAR.text.prompts(some)).input_ids
    assert prompts == real(batch.prompt, batch.prompt_mask)
    masks = tokenizer(tokenizer.mask_token * 3).input_ids
    assert masks == [*codec.start, *[codec.mask_token] * 3]
    assert len(codec.start) == len(start.split())


class TestMass:
    """The probability of options, against what the definition says."""

    def logits(self, codec, batch, scale=2.0):
        shape = (*batch.answer.shape, codec.vocab_size)
        return scale * torch.randn(shape, generator=torch.Generator().manual_seed(1))

    @pytest.mark.parametrize("order", ORDERS)
    def test_one_token_a_node_equals_the_symbol_codec(self, order):
        task = PathStar(degree=3, path_length=4, num_nodes=10)
        text, symbol, some = codec_of(task, letters), SymbolCodec.of(task), drawn(task, 20)
        batch, plain = text.encode(some, order), symbol.encode(some, order)
        logits = self.logits(text, batch)
        labels = text.tokenizer.convert_tokens_to_ids([str(node) for node in range(10)])
        bare = torch.full((20, 4, symbol.vocab_size), -torch.inf)
        for place in range(4):
            column = int((plain.places[0] == place).nonzero()[0, 0])
            here = int((batch.places[0] == place).nonzero()[0, 0])
            bare[:, column, :10] = logits[:, here].log_softmax(-1)[:, labels]
            bare[:, column, -1] = (1 - bare[:, column, :10].exp().sum(-1)).log()
        others = task.lookahead.choices(some, 1)[:, 1:]
        found, expected = (
            codec.mass(given, each, 1, others)
            for codec, given, each in ((text, logits, batch), (symbol, bare, plain))
        )
        assert found == pytest.approx(expected, rel=1e-4)

    def test_several_tokens_by_hand(self):
        problem = PathStarProblems(
            np.array([1]), np.array([[[70, 9], [71, 110]]]), np.array([[0, 2, 1, 3]]), np.zeros((1, 4), bool)
        )
        codec = codec_of(STAR, letters)
        batch = codec.encode(problem, "forward")  # 1 , 7 0 , 9 <end>
        logits = self.logits(codec, batch)
        p = logits[0].softmax(-1)
        seven, zero, one, comma = (codec.tokenizer.convert_tokens_to_ids(t) for t in "701,")
        true = p[2, seven] * p[3, zero] * p[4, comma]
        assert codec.mass(logits, batch, 1, np.array([[70]])) == pytest.approx([float(true)])
        assert codec.mass(logits, batch, 1, np.array([[71]])) == pytest.approx(
            [float(p[2, seven] * p[3, one])]
        )
        assert codec.mass(logits, batch, 1, np.array([[7]])) == pytest.approx(
            [float(p[2, seven] * p[3, comma])]
        )
        assert codec.mass(logits, batch, 1, np.array([[110]])) == pytest.approx([float(p[2, one])])
        both = codec.mass(logits, batch, 1, np.array([[110, 19, 71]]))  # 110 and 19 begin alike
        assert both == pytest.approx([float(p[2, one] + p[2, seven] * p[3, one])])

    def test_all_symbols_together_are_no_more_than_certain(self, codec):
        task = codec.task
        some = drawn(task, 10)
        batch = codec.encode(some, "forward")
        logits = self.logits(codec, batch)
        for position in task.decisive_positions:
            total = codec.mass(logits, batch, position, np.arange(task.answer_symbols)[None])
            if not codec.apart(batch).all():
                assert np.isnan(total).all()
                continue
            assert (total <= 1 + 1e-5).all()
            assert (total > 0).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 299), min_size=0, max_size=12))
def test_any_tokens_are_read_without_an_exception(tokens):
    codec = codec_of(STAR, byte_level)
    read = codec.read(torch.tensor([[*tokens, codec.end]]), "forward")
    assert read.shape == (1, 3)
    assert ((read >= -1) & (read < 120)).all()


@pytest.mark.parametrize("order", ORDERS)
def test_a_token_of_several_symbols_counts_for_each_of_them(order):
    """Against the characters that each token is decoded to: a digit is a character."""
    task = Addition(num_digits=5)
    codec = codec_of(task, byte_level)
    batch, length, shared = codec.encode(drawn(task, 100), order), task.answer_length, 0
    for row, tokens in enumerate(real(batch.answer, batch.answer_mask)):
        begin, holding = 0, {position: set() for position in range(length)}
        for column, token in enumerate(tokens):
            end = begin + len(codec.tokenizer.decode([token])) if token != codec.end else length
            for written in range(min(begin, length - 1), end):
                holding[written if order == "forward" else length - 1 - written].add(column)
            begin = end
        shared += len(tokens) < length + 1
        for position, columns in holding.items():
            covered = batch.covers([position])[row].nonzero().flatten().tolist()
            assert covered == sorted(columns)
    assert shared > 50


def test_the_loss_of_some_positions_leaves_no_problem_out():
    task = Addition(num_digits=5)
    batch = codec_of(task, byte_level).encode(drawn(task, 100), "forward")
    for position in range(task.answer_length):
        weights = NextToken(train_positions=(position,)).weights(batch)
        assert weights.any(dim=1).all()
        joined = Batch.join([batch.rows(slice(0, 50)), batch.rows(slice(50, 100))])
        assert torch.equal(NextToken(train_positions=(position,)).weights(joined), weights)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("task", VARIED, ids=str)
def test_answers_of_any_length_come_back_and_a_wrong_token_spoils_its_symbol(task, order):
    codec, some = codec_of(task, next(iter(KINDS.values()))), drawn(task, 40)
    truth = task.answers(some)
    batch = codec.encode(some, order)
    assert np.array_equal(codec.read(batch.answer, order), truth)
    assert np.array_equal(codec.read_beside(batch.answer, batch), truth)
    begun = codec.encode(some, order, given=1)
    rest = task.in_order(task.in_order(truth, order)[:, 1:], order)
    assert np.array_equal(codec.read(begun.answer, order, given=1), rest)
    for position in range(task.answer_length):
        here = (batch.places == position) & (batch.answer_mask if batch.answer_mask is not None else True)
        wrong = codec.read_beside(batch.answer.masked_fill(here, codec.mask_token), batch) != truth
        expected = np.zeros_like(wrong)
        expected[:, position] = task.exists(truth)[:, position]
        assert np.array_equal(wrong, expected)
