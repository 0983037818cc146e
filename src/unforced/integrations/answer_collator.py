"""Rows with a prompt and an answer as the labelled batches that language models are trained on.

prompt  1,7|1,4|7,9|4,2/1,9=     answer  1,7,9
tokens  1 , 7 | ... 9 =  1 , 7 , 9 <eos>
labels  - - - - ... - -  1 , 7 , 9 <eos>        - is -100, which no loss counts
"""

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unforced.data.text import around
from unforced.errors import UserError
from unforced.models.failures import first_words

IGNORED = -100
"""The label of a token that no loss counts, as PyTorch and transformers have it."""
_CHUNK = 1000  # rows of a data set that are read at once
_CHAT = ("messages", "conversations")
_SAY_TEMPLATE = (
    "write its turns as one text with tokenizer.apply_chat_template(turns, tokenize=False, "
    "add_generation_prompt=True): all before the last turn is the prompt"
)
_SHOWN = 20  # characters of a text that a message shows, on either side of a seam


@dataclass(frozen=True)
class Row:
    """Token ids of a prompt and of its answer."""

    prompt: Sequence[int]
    answer: Sequence[int]


@dataclass(frozen=True)
class AnswerCollator:
    """Turns rows into batches of `input_ids`, `attention_mask` and `labels`, padded on the right.

    A row has a prompt and an answer, both as text or both as token ids; or `input_ids` with `labels` that are
    -100 over the prompt. A text is read with what the tokenizer puts before texts, and its answer is closed
    by the tokenizer's eos_token. Token ids are taken as they are. Any Trainer of transformers can use it: its
    loss is then next-token prediction of the answers.

    tokenizer: of transformers, for rows of text. separator: between a prompt and an answer that are text.
    closes: whether the eos_token closes answers that are text and do not end in it already.
    """

    tokenizer: Any = None
    prompt_column: str = "prompt"
    answer_column: str = "answer"
    separator: str = ""
    closes: bool = True

    def __call__(self, rows: Sequence[Any]) -> dict[str, Tensor]:
        """Return a batch. Raises UserError for a row that cannot be trained on."""
        read = self.read(rows, [f"a row ({_told(row)})" for row in rows])
        longest = max(len(row.prompt) + len(row.answer) for row in read)
        shape = len(read), longest
        ids, real = torch.full(shape, self._padding), torch.zeros(shape, dtype=torch.int64)
        labels = torch.full(shape, IGNORED)
        for index, row in enumerate(read):
            start, end = len(row.prompt), len(row.prompt) + len(row.answer)
            ids[index, :end] = torch.tensor([*row.prompt, *row.answer])
            labels[index, start:end] = ids[index, start:end]
            real[index, :end] = 1
        return {"input_ids": ids, "attention_mask": real, "labels": labels}

    def read_all(self, data: Any, name: str) -> Iterator[tuple[str, Row]]:
        """Read a whole data set; give the name and the tokens of each row. Raises UserError."""
        for start in range(0, len(data), _CHUNK):
            places = range(start, min(len(data), start + _CHUNK))
            names = [f"{name}[{place}]" for place in places]
            try:
                rows = [data[place] for place in places]
            except (KeyError, TypeError):  # a table of pandas, for one
                kind = type(data).__name__
                raise UserError(
                    f"{name}: a {kind} has no row {start}; give a list of rows, or a Dataset"
                ) from None
            yield from zip(names, self.read(rows, names), strict=True)

    def read(self, rows: Sequence[Any], names: Sequence[str]) -> list[Row]:
        """Read rows, called `names` in messages. Raises UserError."""
        read = [Row((), ())] * len(rows)
        texts = []
        for index, (row, name) in enumerate(zip(rows, names, strict=True)):
            if not isinstance(row, Mapping):
                raise UserError(f"{name}: it is {_kind(row)}; give an object with a prompt and an answer")
            pair = self._pair(row, name)
            if pair is None:
                read[index] = _labelled(row, name)
            elif isinstance(pair[0], str):
                texts.append((index, pair))
            else:
                columns = self.prompt_column, self.answer_column
                read[index] = Row(*(_ids(*each, name) for each in zip(pair, columns, strict=True)))
        places = [index for index, _ in texts]
        for index, of_text in zip(places, self._tokenized(texts, names), strict=True):
            read[index] = of_text
        for row_read, name in zip(read, names, strict=True):
            if not row_read.prompt:
                raise UserError(f"{name}: the prompt has no token; nothing predicts the answer's first one")
        return read

    def _pair(self, row: Mapping[str, Any], name: str) -> tuple[Any, Any] | None:
        """Return a row's prompt and answer; None where it has `input_ids` instead."""
        wanted = [self.prompt_column, self.answer_column]
        if not {*wanted} <= row.keys():
            if "input_ids" in row:
                return None
            raise UserError(
                f"{name}: it has no columns {wanted[0]!r} and {wanted[1]!r}, and no 'input_ids' with "
                f"'labels' (it has {', '.join(map(str, row)) or 'none'}); {_instead(row)}"
            )
        prompt, answer = (row[column] for column in wanted)
        if _is_conversation(prompt) or _is_conversation(answer):
            raise UserError(f"{name}: it is a conversation; {_SAY_TEMPLATE}")
        if isinstance(prompt, str) is not isinstance(answer, str) or not (
            _is_list(prompt) and _is_list(answer)
        ):
            kinds = " and ".join(type(each).__name__ for each in (prompt, answer))
            raise UserError(
                f"{name}: prompt and answer are {kinds}; give two texts (several answers are a row each), or "
                "two lists of ids"
            )
        if len(answer) == 0 or (isinstance(answer, str) and not answer.strip()):
            blank = " but for blanks" if len(answer) else ""
            raise UserError(f"{name}: the answer is empty{blank}, so there is nothing to learn; drop the row")
        return prompt, answer

    def _tokenized(self, texts: Sequence[tuple[int, tuple[str, str]]], names: Sequence[str]) -> list[Row]:
        """Tokenize pairs of texts, each with its place among the names."""
        if not texts:
            return []
        if self.tokenizer is None:
            raise UserError("the rows are text: give the Trainer processing_class=tokenizer")
        end = self._end
        start, _ = around(self.tokenizer)
        prompts = [prompt + self.separator for _, (prompt, _) in texts]
        wholes = [prompt + answer for prompt, (_, (_, answer)) in zip(prompts, texts, strict=True)]
        heads, both = (self._tokens(each, [names[place] for place, _ in texts]) for each in (prompts, wholes))
        rows = []
        for (place, (_, answer)), prompt, head, ids in zip(texts, prompts, heads, both, strict=True):
            if list(ids[: len(head)]) != list(head):
                seam = f"{prompt[-_SHOWN:]!r} + {answer[:_SHOWN]!r}"
                raise UserError(
                    f"{names[place]}: the tokenizer joins the end of the prompt with the answer ({seam}); "
                    "end prompts with a sign that it keeps apart, as a line break, or give token ids"
                )
            begun = tuple(head[: len(start)]) == start  # a chat template writes it, for one
            closed = () if tuple(ids[-len(end) :]) == end else end
            rows.append(Row((*(() if begun else start), *head), (*ids[len(head) :], *closed)))
        return rows

    def _tokens(self, texts: Sequence[str], names: Sequence[str]) -> Any:
        """Tokenize texts. Raises UserError that names the first one that the tokenizer does not read."""
        try:
            return self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        except Exception as error:  # tokenizers raises no narrower one
            if len(texts) > 1:
                return [self._tokens([text], [name])[0] for text, name in zip(texts, names, strict=True)]
            raise UserError(
                f"{names[0]}: the tokenizer does not read {texts[0][:_SHOWN]!r} ({first_words(error)}); give "
                "the model's own tokenizer"
            ) from error

    @property
    def _end(self) -> tuple[int, ...]:
        if not self.closes:
            return ()
        if self.tokenizer.eos_token_id is None:
            raise UserError(
                "the tokenizer has no eos_token to close answers with; set tokenizer.eos_token, or say "
                "AnswerCollator(tokenizer, closes=False)"
            )
        return (self.tokenizer.eos_token_id,)

    @property
    def _padding(self) -> int:
        """The token behind shorter rows, which nothing attends to."""
        known = (getattr(self.tokenizer, name, None) for name in ("pad_token_id", "eos_token_id"))
        return next((token for token in known if token is not None), 0)


def _is_list(value: Any) -> bool:
    """Whether a value is a text or may be a list of token ids."""
    return hasattr(value, "__len__") and hasattr(value, "__getitem__") and not isinstance(value, Mapping)


def _is_conversation(value: Any) -> bool:
    return _is_list(value) and not isinstance(value, str) and len(value) > 0 and isinstance(value[0], Mapping)


def _ids(tokens: Any, column: str, name: str) -> tuple[int, ...]:
    """Read token ids. Raises UserError: they are something else."""
    listed = tokens.tolist() if hasattr(tokens, "tolist") else tokens
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise UserError(f"{name}: {column} is {_kind(tokens)}; give a list of token ids")
    try:
        return tuple(map(operator.index, listed))
    except TypeError:
        wrong = next(each for each in listed if not hasattr(each, "__index__"))
    if isinstance(wrong, str):
        told = "is a list of texts; give one text, and a row for each of several answers"
    elif _is_list(wrong):
        told = "is a list of lists; give one list of token ids"
    else:
        told = f"holds {wrong!r}, which is no token id; give integers"
    raise UserError(f"{name}: {column} {told}")


def _instead(row: Mapping[str, Any]) -> str:
    """Say what to do with a row that has no columns that are read."""
    if any(key in row for key in _CHAT):
        return f"of a conversation, {_SAY_TEMPLATE}"
    if not {*row} - {"label", "labels", "label_ids"}:
        return (
            "rename them; or, if a Trainer of transformers dropped them, say "
            "TrainingArguments(remove_unused_columns=False)"
        )
    return "rename them, or say AnswerCollator(prompt_column=..., answer_column=...)"


def _labelled(row: Mapping[str, Any], name: str) -> Row:
    """Cut a row where its labels begin, and leave out what stands behind them."""
    if row.get("labels") is None:
        raise UserError(f"{name}: it has 'input_ids' and no 'labels'; give labels, -100 over the prompt")
    ids, labels = (_ids(row[column], column, name) for column in ("input_ids", "labels"))
    mask = row.get("attention_mask")
    real = (1,) * len(ids) if mask is None else _ids(mask, "attention_mask", name)
    if not len(ids) == len(labels) == len(real):
        raise UserError(f"{name}: {len(ids)} input_ids have {len(labels)} labels; give one for each token")
    counted = [place for place, label in enumerate(labels) if label != IGNORED]
    if not counted:
        raise UserError(f"{name}: all labels are {IGNORED}, so the answer is empty; drop the row")
    first, end = counted[0], counted[-1] + 1
    if len(counted) < end - first:
        raise UserError(
            f"{name}: a label behind the answer's first token is {IGNORED}; a row has one prompt and one "
            "answer, so cut it into one row for each answer"
        )
    if labels[first:end] != ids[first:end]:
        raise UserError(f"{name}: labels are not the tokens at their own places; do not shift them")
    prompt = tuple(token for token, is_real in zip(ids[:first], real, strict=False) if is_real)
    return Row(prompt, ids[first:end])


def _kind(row: Any) -> str:
    """Say what stands in the place of a row."""
    return "None" if row is None else f"of type {type(row).__name__}"


def _told(row: Any) -> str:
    """Tell a row from others, in a message."""
    pairs = row.items() if isinstance(row, Mapping) else ()
    words = ", ".join(f"{key}: {value!r}" for key, value in pairs) or repr(row)
    return words if len(words) <= 2 * _SHOWN else f"{words[: 2 * _SHOWN]} ..."
