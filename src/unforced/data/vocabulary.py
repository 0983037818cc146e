"""The tokens that a model knows before a run, and the codec that a run builds on them."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from unforced.data.codec import Codec, SymbolCodec
from unforced.data.template import BARE, Template
from unforced.data.text import TextCodec
from unforced.errors import UserError
from unforced.tasks.base import Problems, Task
from unforced.tasks.sampling import all_problems
from unforced.wording import typed

_MASK, _END = "<|mask|>", "<|end|>"
_TRIED = 16  # problems whose tokens show how a template is to be taken


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that a model knows before a run; none where it is trained from scratch.

    size        number of token ids; tokens that are new to the model come behind them
    tokenizer   transformers' fast tokenizer, which writes problems as text; None: each symbol is a new token
    mask_token  its token that hides answer tokens; None: one more token
    check       raises UserError for a text that the tokenizer does not keep
    template    what stands around a prompt and its answer in a text
    grows       whether the model can be given more tokens
    """

    size: int = 0
    tokenizer: Any = None
    mask_token: str | None = None
    check: Callable[[str], None] = lambda text: None
    template: Template = BARE
    grows: bool = True


def build_codec(task: Task, vocabulary: Vocabulary, specials: Sequence[str] = ()) -> Codec:
    """Build the codec of a task for a model that knows these tokens, with further special tokens by name.

    Raises UserError: the tokenizer is not usable, or `mask_token` is not one of its tokens.
    """
    if vocabulary.tokenizer is None:
        task.check_new_symbols()
        return SymbolCodec.of(task, vocabulary.size, specials)
    return _text_codec(task, vocabulary, specials)


def num_ids(tokenizer: Any) -> int:
    """Count token ids, unused ones between others as well."""
    return max(tokenizer.get_vocab().values()) + 1


def _text_codec(task: Task, vocabulary: Vocabulary, specials: Sequence[str]) -> TextCodec:
    own, tokenizer = vocabulary.mask_token, copy.deepcopy(vocabulary.tokenizer)
    if specials and own is not None:
        raise UserError(
            f"the objective adds tokens of its own ({', '.join(specials)}), so it can add this, too; drop it",
            about="model.mask_token",
        )
    tried = task.sample(np.random.default_rng(0), _TRIED)
    pairs = _pairs(task, vocabulary.template, tried)
    _check_texts(task, vocabulary)
    template = vocabulary.template.fitted(tokenizer, pairs)
    if tokenizer.eos_token_id is None:
        tokenizer.add_special_tokens({"eos_token": _END})
    if own is None:
        tokenizer.add_tokens([_MASK], special_tokens=True)
    one_more = ", or null for one more" if vocabulary.grows else ""
    mask_token = _token_id(tokenizer, own or _MASK, one_more)
    names = {name: f"<|{name}|>" for name in specials}
    tokenizer.add_tokens(list(names.values()), special_tokens=True)
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}
    size = max(num_ids(tokenizer), vocabulary.size)
    end = template.end(tokenizer, pairs)
    end = tokenizer.eos_token_id if end is None else end
    codec = TextCodec.of(task, tokenizer, mask_token, end, size, ids, template)
    if mask_token in (codec.end, *codec.start) or _is_of_lines(tokenizer.decode([mask_token]), task):
        raise UserError(
            f"{own} may stand in problems, or begins or ends texts, so "
            f"it cannot hide tokens; take another token{one_more}",
            about="model.mask_token",
        )
    return codec


def _pairs(task: Task, template: Template, problems: Problems) -> list[tuple[str, str]]:
    """Return the prompts and answers of problems, as a template takes them."""
    answers = task.text.answers(task.answers(problems))
    return list(zip(template.bare_prompts(task, problems), answers, strict=True))


def _check_texts(task: Task, vocabulary: Vocabulary) -> None:
    """Refuse a tokenizer that cannot read what will be written. Raises UserError, with a problem's place.

    Of problems that are a list, those are tried that show a character which none before shows.
    """
    template = vocabulary.template
    listed = all_problems(task)
    problems = task.sample(np.random.default_rng(0), 1) if listed is None else listed
    alone = _pairs(task, replace(template, keeps_joint=False), problems)
    joint = task.text.joint if template.keeps_joint else ""
    if listed is None:
        vocabulary.check(task.text.separator.join(task.alphabet))
    seen: set[str] = set()
    for row, (prompt, answer) in enumerate(alone):
        new = {*prompt, *answer} - seen
        seen |= new
        if new or row == 0:
            place = task.place(problems, row)
            with _at(place):
                vocabulary.check(prompt)
                vocabulary.check(answer)
            text = f"{template.prompt(prompt + joint)}{answer}{template.after}"
            if template.keeps_joint:
                _check_joint(vocabulary, text, joint, place)
            else:
                _check_template(vocabulary, text)


@contextlib.contextmanager
def _at(place: str) -> Iterator[None]:
    """Put the place of a problem before an error about its text."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}" if place else str(error)) from None


def _check_joint(vocabulary: Vocabulary, text: str, joint: str, place: str) -> None:
    """Refuse a tokenizer that reads a prompt and its answer, and not the two put together."""
    if not joint:
        with _at(place):
            vocabulary.check(text)
        return
    try:
        vocabulary.check(text)
    except UserError as error:
        where = f" ({place})" if place else ""
        raise UserError(
            f"task.separator: the tokenizer cannot read {joint!r} between a prompt and its answer{where}; "
            f"give what stood there in training with {typed('task.separator')}, or nothing, if nothing did"
        ) from error


def _check_template(vocabulary: Vocabulary, text: str) -> None:
    """Refuse a tokenizer that cannot read a template; one that reads some signs as unknown may."""
    try:
        vocabulary.tokenizer(text, add_special_tokens=False)
    except Exception as error:  # tokenizers raises no narrower one
        raise UserError(
            f"the tokenizer cannot read {vocabulary.template.shown('')!r} around a prompt and its answer; "
            "give what stood there in training, in characters that it has",
            about="template",
        ) from error


def _token_id(tokenizer: Any, token: str, one_more: str) -> int:
    """Return a token's id. Raises UserError for an unknown token, with the advice to take `one_more`."""
    if token not in tokenizer.get_vocab():
        special = ", ".join(tokenizer.all_special_tokens[:5]) or "it has none"
        raise UserError(
            f"{token} is not a token of the model's tokenizer; take one that problems do "
            f"not use (special ones: {special}){one_more}",
            about="model.mask_token",
        )
    return tokenizer.convert_tokens_to_ids(token)


def _is_of_lines(text: str, task: Task) -> bool:
    """Say whether a token's text may stand in a task's lines: all of its characters do, or it does."""
    if (listed := all_problems(task)) is not None:
        return any(text.strip() in line for line in task.lines(listed))
    return set(text.strip(" ")) <= set("".join((*task.alphabet, task.text.separator)))
