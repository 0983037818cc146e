"""The `text` codec: the paper's line of text in a language model's own tokens.

    prompt  1 , 7 | 1 , 4 | 7 , 9 | 4 , 2 / 1 , 9 =     answer  1 , 7 , 9 <end>

Lengths differ between problems as soon as some labels take more tokens than others. What follows a symbol
(a comma, the end) belongs to it: a symbol is right where it is and ends rightly.
"""

import copy
import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from unforced.data.batch import Batch
from unforced.data.codec import Choices, Codec
from unforced.data.spelling import Spelled, Tokens
from unforced.data.template import BARE, Template
from unforced.errors import UserError, shortened
from unforced.tasks.base import Order, Problems, Symbols, Task
from unforced.tasks.capabilities import TextFormat
from unforced.tasks.problems import NOT_A_SYMBOL
from unforced.tasks.sampling import all_problems
from unforced.wording import named, typed

_ORDERS: tuple[Order, ...] = get_args(Order)
_QUOTED = 20  # characters of a text that errors quote
_CHUNK = 4096  # lines tokenised at once
_SAMPLE = 256  # problems, at the least, that are tokenised to see how long they get and what is joined


@dataclass(frozen=True, eq=False)
class TextCodec(Codec):
    """Problems as text, in the tokens of a tokenizer of transformers; an answer is closed by `end`.

    A tokenizer's own beginning of a text (as Llama's) stands before the prompt.

    tokenizer  a fast tokenizer, which knows `mask_token` and `end`
    start      what it puts before a text
    template   what stands around prompt and answer
    """

    end: int
    tokenizer: Any
    start: Tokens
    template: Template = BARE

    @classmethod
    def of(
        cls,
        task: Task,
        tokenizer: Any,
        mask_token: int,
        end: int,
        vocab_size: int,
        specials: Mapping[str, int] = MappingProxyType({}),
        template: Template = BARE,
    ) -> "TextCodec":
        """Build the codec of a task, with the longest texts that it can have.

        Raises UserError: the tokenizer cannot say which characters a token stands for, or merges across the
        `=`.
        """
        if not tokenizer.is_fast:
            raise UserError(
                f"{type(tokenizer).__name__} cannot tell which characters a token stands "
                f"for; give a model with a fast tokenizer (tokenizer.json), or {_in_symbols()}",
                about="model.name_or_path",
            )
        start = () if template.whole else around(tokenizer)[0]
        prompt, answer = _most_tokens(task, tokenizer, template)
        lengths = len(start) + prompt, answer + 1
        codec = cls(task, mask_token, vocab_size, *lengths, end, specials, tokenizer, start, template)
        codec._try_answers()
        return codec

    def _try_answers(self) -> None:
        """Encode answers of both orders that begin with each symbol. Raises UserError as `encode` does.

        Of a task that lists its problems, they are encoded themselves.
        """
        if (listed := all_problems(self.task)) is not None:
            self.encode(listed, "forward")
            return
        each = np.arange(max(self.task.answer_symbols, _SAMPLE)) % self.task.answer_symbols
        problems = self.task.sample(np.random.default_rng(0), len(each))
        answers = self.task.answers(problems)
        last = self.task.exists(answers).sum(axis=1) - 1
        answers[:, 0] = answers[np.arange(len(each)), last] = each
        for order in _ORDERS:
            self.encode(problems, order, answers)

    def encode(
        self, problems: Problems, order: Order, answers: Symbols | None = None, given: int = 0
    ) -> Batch:
        """Write lines and tokenise them. Raises UserError if the tokenizer merges across the `=`.

        Of a task that lists its problems, the true answers alone are known to fit: others are tokenised by
        themselves where they would be merged, and cut where they are too long.
        """
        strict = answers is None or not self._lists
        answers = self.task.answers(problems) if answers is None else answers
        prompts = self.template.prompts(self.task, problems)
        lines = self.task.text.answers(self.task.in_order(answers, order))

        def place(row: int) -> str:
            return self.task.place(problems, row)

        lasts = (self.task.exists(answers).sum(axis=1) - 1).clip(min=0)
        heads, tails, written, reached = [], [], [], []
        room = 0  # for an answer, whatever the length of the true one
        for (head, tail, (first, until)), last in zip(
            self._tokenized(prompts, lines, place if strict else None), lasts.tolist(), strict=True
        ):
            if not strict:
                fits = self.answer_length - 1
                tail, first, until = tail[:fits], first[:fits], until[:fits]
            begun = sum(index < given for index in first)
            heads.append((*self.start, *head, *tail[:begun]))
            tails.append((*tail[begun:], self.end))
            written.append((*first[begun:], last))
            reached.append((*until[begun:], last))
            room = max(room, self.answer_length - begun)
        self._check_bounds(heads, tails, given)
        prompt, prompt_mask = _padded(heads, self.end, max(map(len, heads)), on_the_left=True)
        answer, answer_mask = _padded(tails, self.end, room)
        places, reach = (_padded(rows, -1, room)[0] for rows in (written, reached))
        if order == "reversed":
            most = torch.from_numpy(lasts)[:, None]
            places, reach = (torch.where(each < 0, each, most - each) for each in (places, reach))
        return Batch(
            prompt,
            answer,
            self.mask_token,
            prompt_mask,
            answer_mask,
            order,
            places,
            reach,
            self.end,
            specials=self.specials,
        )

    def read(self, tokens: Int[Tensor, "count answer"], order: Order, given: int = 0) -> Symbols:
        """Read the text up to its end; if an answer does not end, its last symbol is invalid."""
        ids = tokens.numpy(force=True)
        ended = ids == self.end
        length = np.where(ended.any(axis=1), ended.argmax(axis=1), ids.shape[1])
        texts = self._texts([row[:most] for row, most in zip(ids, length, strict=True)])
        written = self.task.text.read_answers(texts, self.task.answer_length - given)
        written[~ended.any(axis=1), -1] = self._none
        return self.task.in_order(written, order)

    def read_beside(self, tokens: Int[Tensor, "count answer"], batch: Batch) -> Symbols:
        """Read each symbol's tokens by themselves; a right last symbol with a wrong end is invalid."""
        written = self.task.in_order(self.read(batch.answer, batch.order), batch.order)
        said, wrong = tokens.numpy(force=True), (tokens != batch.answer).numpy(force=True)
        groups = [
            (row, first, last, columns)
            for row in np.flatnonzero(wrong.any(axis=1))
            for first, last, columns in self.groups(batch, int(row))
            if wrong[row, columns].any()
        ]
        texts = self._texts([_before(said[row, columns], self.end) for row, *_, columns in groups])
        trues = self._texts([batch.answer[row, columns].numpy(force=True) for row, *_, columns in groups])
        for (row, first, last, _), text, true in zip(groups, texts, trues, strict=True):
            (read,) = self._text.read_answers([self._bare(text, true)], last - first)
            read[read < 0] = self._none
            written[row, first:last] = self._none if (read == written[row, first:last]).all() else read
        return self.task.in_order(written, batch.order)

    @cached_property
    def _lists(self) -> bool:
        """Whether all problems of the task are listed, and were encoded when the codec was built."""
        return all_problems(self.task) is not None

    @cached_property
    def _text(self) -> TextFormat:
        """The task's text format, built once: it is asked for with every row."""
        return self.task.text

    @property
    def _none(self) -> int:
        """What stands for what is not a symbol."""
        return NOT_A_SYMBOL if self.task.varied else -1

    def _bare(self, text: str, true: str) -> str:
        """Take off the separator that follows a symbol, and one before it where the true text has it, too."""
        separator = self._text.separator
        text = text.strip().removesuffix(separator)
        return text.removeprefix(separator) if true.strip().startswith(separator) else text

    def mass(
        self, logits: Float[Tensor, "count answer vocab"], batch: Batch, position: int, choices: Choices
    ) -> Float[np.ndarray, " count"]:
        """Follow the choices as far as they are spelled like the true symbol, and one token further."""
        found = self._spelled(logits, batch, position)
        return np.full(len(batch), np.nan) if found is None else found.of_any(choices)

    def probabilities(
        self, logits: Float[Tensor, "count answer vocab"], batch: Batch, position: int
    ) -> Float[np.ndarray, "count symbols"]:
        """Follow each symbol as far as it is spelled like the true one, and one token further."""
        found = self._spelled(logits, batch, position)
        return np.full((len(batch), self.task.answer_symbols), np.nan) if found is None else found.apart()

    def _spelled(
        self, logits: Float[Tensor, "count answer vocab"], batch: Batch, position: int
    ) -> Spelled | None:
        """Return how probable each symbol is; None where symbols share tokens, NaN in answers that do."""
        spelled = _spelling(self, position, batch.order)
        if spelled is None:
            return None
        found = Spelled.of(spelled, logits, batch.answer, batch.places == position)
        found.probability[~self.apart(batch)] = np.nan
        return found

    def build_tokenizer(self, max_length: int) -> Any:
        """Return a copy of its own, which puts nothing behind a text: a prompt ends as in training."""
        tokenizer = copy.deepcopy(self.tokenizer)
        tokenizer.add_special_tokens({"mask_token": tokenizer.convert_ids_to_tokens(self.mask_token)})
        if around(tokenizer)[1]:
            tokenizer.backend_tokenizer.post_processor = _putting_before(tokenizer, self.start)
        tokenizer.model_max_length = max_length
        return tokenizer

    @property
    def description(self) -> str:
        """How answers end."""
        end, mask_token = self.tokenizer.convert_ids_to_tokens([self.end, self.mask_token])
        return (
            f"An answer is what stands before `{end}`; "
            f"`{mask_token}` hides answer tokens in teacherless training."
        )

    def apart(self, batch: Batch) -> Bool[np.ndarray, " count"]:
        """Say in which answers no two symbols share a token."""
        places = batch.places.numpy(force=True)
        longest = places.max(axis=1)
        each = [(places == place).any(axis=1) | (place > longest) for place in range(self.task.answer_length)]
        return np.logical_and.reduce(each)

    def _check_bounds(self, prompts: Sequence[Tokens], answers: Sequence[Tokens], given: int) -> None:
        """Raise UserError if a text has more tokens than was foreseen."""
        behind = self.answer_length if given else 0  # tokens of an answer that may stand behind a prompt
        for texts, most in ((prompts, self.prompt_length + behind), (answers, self.answer_length)):
            longest = max(map(len, texts))
            if longest > most:
                raise UserError(
                    f"the tokenizer makes {longest} tokens of a problem, and by its "
                    f"tokens for labels it should make {most} at the most; use {_in_symbols()}",
                    about="model.name_or_path",
                )

    def _tokenized(
        self, prompts: Sequence[str], answers: Sequence[str], place: Callable[[int], str] | None
    ) -> Iterator[tuple[list[int], list[int], tuple[list[int], list[int]]]]:
        """Return the tokens of prompts and answers, and the first and last symbol of each answer token.

        place: says of a problem where it is from; None: what would be merged is tokenised apart.
        """
        for i in range(0, len(prompts), _CHUNK):
            chunk = list(zip(prompts[i : i + _CHUNK], answers[i : i + _CHUNK], strict=True))
            heads = self.tokenizer([prompt for prompt, _ in chunk], add_special_tokens=False)
            whole = self.tokenizer(
                [f"{prompt}{self.template.lead}{answer}" for prompt, answer in chunk],
                add_special_tokens=False,
                return_offsets_mapping=True,
            )
            rows = zip(chunk, heads.input_ids, whole.input_ids, whole.offset_mapping, strict=True)
            for row, ((prompt, answer), head, ids, spans) in enumerate(rows, start=i):
                if ids[: len(head)] != head:
                    if place is not None:
                        raise self._joined(prompt, answer, place(row))
                    lead = self.template.lead
                    apart = self.tokenizer(
                        f"{lead}{answer}", add_special_tokens=False, return_offsets_mapping=True
                    )
                    yield head, apart.input_ids, self._places(answer, apart.offset_mapping, len(lead))
                    continue
                offset = len(prompt) + len(self.template.lead)
                yield head, ids[len(head) :], self._places(answer, spans[len(head) :], offset)

    def _joined(self, prompt: str, answer: str, place: str) -> UserError:
        where, advice = (f"{place}: ", "another task.separator, or ") if place else ("", "")
        advice = f"use {advice}{_in_symbols()}"
        if self.template != BARE:
            advice = "give a template in which they stay apart, as in training"
        end = prompt[-_QUOTED:]
        if len(prompt) > _QUOTED:
            end = end.partition(" ")[2] or end
        return UserError(
            f"{where}{named('model.name_or_path')}: the tokenizer joins the end of a prompt with its answer "
            f"in {end + shortened(answer, _QUOTED)!r}; {advice}"
        )

    def _places(
        self, answer: str, spans: Sequence[tuple[int, int]], offset: int
    ) -> tuple[list[int], list[int]]:
        """Say of which symbols each token is, the first and the last; a separator is of the one before."""
        width = len(self._text.separator)
        symbols = self._text.spelled(answer)
        lengths = np.array([len(symbol) for symbol in symbols])
        ends = np.cumsum(lengths + width) - width
        begins, stops = np.array(spans).reshape(-1, 2).T - offset
        ending_later = np.searchsorted(ends, begins, side="right")
        starts = np.append(ends - lengths, np.inf)
        separates = stops <= starts[ending_later]
        first = (ending_later - separates).clip(min=0)
        last = np.searchsorted(starts, stops, side="left") - 1
        return first.tolist(), np.maximum(first, last).tolist()

    def groups(self, batch: Batch, row: int) -> Iterator[tuple[int, int, Int[np.ndarray, " columns"]]]:
        """Cut an answer into symbols, or some that share a token: the first, the next one's, the columns."""
        places = batch.places[row].numpy(force=True)
        real, length = np.flatnonzero(places >= 0), int(places.max()) + 1
        written = places[real] if batch.order == "forward" else length - 1 - places[real]
        firsts = np.unique(written)
        for first, last in zip(firsts, [*firsts[1:], length], strict=True):
            yield int(first), int(last), real[written == first]

    def _texts(self, rows: Sequence[NDArray[np.int64]]) -> list[str]:
        """Decode token ids; one that the tokenizer does not know is written as the mask_token."""
        if not rows:
            return []
        known = len(self.tokenizer)
        return self.tokenizer.batch_decode(
            [np.where(row < known, row, self.mask_token).tolist() for row in rows],
            skip_special_tokens=False,
            clean_up_tokenization_spaces=False,
        )


def _in_symbols() -> str:
    return typed("model.encoding", "symbol")


def around(tokenizer: Any) -> tuple[Tokens, Tokens]:
    """Return the special tokens that a tokenizer puts before a text and behind it."""
    bare, whole = tokenizer("0", add_special_tokens=False).input_ids, tokenizer("0").input_ids
    places = [i for i in range(len(whole)) if whole[i : i + len(bare)] == bare]
    return (tuple(whole[: places[-1]]), tuple(whole[places[-1] + len(bare) :])) if places else ((), ())


def _putting_before(tokenizer: Any, start: Tokens) -> Any:
    """Build what makes a tokenizer put `start` before a text, and nothing behind it."""
    processors = importlib.import_module("tokenizers").processors
    special = {"id": "start", "ids": list(start), "tokens": tokenizer.convert_ids_to_tokens(list(start))}
    if not start:
        return processors.TemplateProcessing(single="$A", special_tokens=[])
    return processors.TemplateProcessing(single="start $A", special_tokens=[special])


def _most_tokens(task: Task, tokenizer: Any, template: Template) -> tuple[int, int]:
    """Bound the tokens of a prompt and of an answer, in either order; exactly, where problems are listed."""
    lead = template.lead
    if (listed := all_problems(task)) is not None:
        prompts, answers = template.prompts(task, listed), task.answers(listed)
        both = [lead + line for order in _ORDERS for line in task.text.answers(task.in_order(answers, order))]
        return max(_counts(tokenizer, prompts)), max(_counts(tokenizer, both))
    if task.varied:  # a sample need not have the longest
        prompt, answer = _most_bytes(task)
        return prompt + len(template.prompt("").encode()), answer + len(lead)
    problems = task.sample(np.random.default_rng(0), _SAMPLE)
    prompts, answers = template.prompts(task, problems), task.answers(problems)
    both = [lead + line for order in _ORDERS for line in task.text.answers(task.in_order(answers, order))]
    costs = _costs(tokenizer, task.alphabet[: task.answer_symbols], prompts[0][-1])
    return _most(tokenizer, prompts, costs), _most(tokenizer, both, costs)


def _most_bytes(task: Task) -> tuple[int, int]:
    """Bound the bytes of a prompt and of an answer, by the longest symbols with a separator after each."""
    longest, between = (
        max(len(text.encode()) for text in texts) for texts in (task.alphabet, [task.text.separator])
    )
    return task.prompt_length * (longest + between) + 1, task.answer_length * (longest + between) + 1


def _costs(tokenizer: Any, labels: Sequence[str], sign: str) -> Mapping[str, int]:
    """Count the tokens of each label, where it stands behind a sign that is joined with none."""
    alone, *behind = _counts(tokenizer, [sign, *(sign + label for label in labels)])
    return {label: count - alone for label, count in zip(labels, behind, strict=True)}


def _most(tokenizer: Any, texts: Sequence[str], costs: Mapping[str, int]) -> int:
    """Bound the tokens of texts that are like these but for their labels.

    Where each label costs the same wherever it stands, the dearest one stands everywhere; where labels are
    joined with what is beside them, each byte of the longest ones is a token.
    """
    label = re.compile("|".join(sorted(map(re.escape, costs), key=len, reverse=True)))
    found = [label.findall(text) for text in texts]
    totals = _counts(tokenizer, texts)
    others = {total - sum(costs[each] for each in row) for total, row in zip(totals, found, strict=True)}
    if len(others) == 1:
        return others.pop() + max(costs.values()) * len(found[0])
    longest = label.sub(max(costs, key=len), texts[0])
    return len(longest.encode()) + 1  # a mark for the beginning


def _counts(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    return [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False).input_ids]


def _padded(
    rows: Sequence[Sequence[int]], fill: int, width: int, on_the_left: bool = False
) -> tuple[Int[Tensor, "count length"], Bool[Tensor, "count length"] | None]:
    """Stack rows, and say which entries are real where not all are."""
    lengths = np.array([len(row) for row in rows])
    real = np.arange(width)[None] < lengths[:, None]
    real = real[:, ::-1] if on_the_left else real
    stacked = np.full(real.shape, fill, dtype=np.int64)
    stacked[real] = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
    mask = None if real.all() else torch.from_numpy(real.copy())
    return torch.from_numpy(stacked), mask


def _before(ids: Int[np.ndarray, " length"], end: int) -> Int[np.ndarray, " shorter"]:
    """Cut at the end token."""
    places = np.flatnonzero(ids == end)
    return ids[: places[0]] if len(places) else ids


@lru_cache(maxsize=64)
def _spelling(codec: TextCodec, position: int, order: Order) -> list[Tokens] | None:
    """Spell every symbol at an answer position, with what ends it; None where symbols share tokens."""
    task = codec.task
    if all_problems(task) is not None:
        return None  # a symbol in the place of another is no text of the data
    count = task.answer_symbols
    problems = task.sample(np.random.default_rng(0), _SAMPLE if task.varied else 1)
    lengths = task.exists(task.answers(problems)).sum(axis=1)
    if lengths.max() <= position:
        return None
    problems = problems.take(np.full(count, lengths.argmax()))
    answers = task.answers(problems)
    answers[:, position] = np.arange(count)
    batch = codec.encode(problems, order, answers)
    if not codec.apart(batch).all():
        return None
    return [tuple(ids[at == position].tolist()) for ids, at in zip(batch.answer, batch.places, strict=True)]
