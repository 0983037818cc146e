"""Whether an objective fits a causal language model that is trained, saved and used by transformers alone."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from unforced.config.positions import check_positions
from unforced.data.batch import Batch
from unforced.errors import UserError
from unforced.integrations.answer_collator import AnswerCollator
from unforced.models.huggingface import FIELD
from unforced.models.networks import evaluated, length_limit, length_limits, plain_network
from unforced.models.pretrained import behind_the_contract
from unforced.models.transformers_model import TransformersModel
from unforced.objectives.base import Objective
from unforced.objectives.moment import Moment
from unforced.objectives.plain import unfit_for_causal
from unforced.objectives.view import tensors_of
from unforced.wording import renamed

_ANY_LENGTH = 2**31
"""Stands for no limit of its own: rows are checked against the model's."""
_NAMES = {FIELD: "model", "base": None}
_FAMILIES = "take a model of the GPT-2, GPT-NeoX or Llama family"
_TRIED_TOKENS = 16
_ROWS, _ANSWER = 8, 8  # of the batch that shows which tokens an objective feeds
_NO_TOKEN = -1
_LENGTHS = (2, 64)  # of answers, to see whether an objective depends on them


def check_objective(objective: Objective) -> None:
    """Refuse an objective whose model is of no use by itself. Raises UserError."""
    reason = unfit_for_causal(objective, objective.default_decoder)
    if reason:
        raise UserError(f"objective: {objective.name} {reason}; train it by `unforced train`")


def network_of(model: Any) -> Any:
    """Return the causal language model inside `model`, which may have adapters of peft. Raises UserError."""
    with renamed(_NAMES):
        return plain_network(model, "trained by uf.train")


def contract_of(network: Any, longest: int | None) -> TransformersModel:
    """Put a network behind the model contract, sharing its weights.

    longest: the tokens of the longest row (None: that is unknown). Raises UserError where the network says
    something else there than by itself.
    """
    if not isinstance(behind_the_contract(network, {}, _ANY_LENGTH), TransformersModel):
        raise UserError(
            f"model: a {network.config.model_type} shares no weights with ours; train it by `unforced train`"
        )
    if network.config._attn_implementation != "sdpa":
        raise UserError(
            f"model: it attends by {network.config._attn_implementation!r}, whose masks are not PyTorch's; "
            "load it with attn_implementation='sdpa'"
        )
    weight = network.get_output_embeddings().weight
    with evaluated(network), torch.device(weight.device), renamed(_NAMES):
        model = TransformersModel(network, {}, _ANY_LENGTH)
        length = min(max(_TRIED_TOKENS, longest or 0), length_limit(network) or _ANY_LENGTH)
        model.check(f"this {type(network).__name__}", length, _FAMILIES)
    return model


@contextlib.contextmanager
def masks_left_to_us(model: TransformersModel) -> Iterator[None]:
    """Let a network take masks as they are within this context; by itself it builds them as before."""
    config = model.network.config
    attention = config._attn_implementation
    model.skip_masks()
    try:
        yield
    finally:
        config._attn_implementation = attention


def longest_tokens(
    collator: Any, train: Any, evaluated_on: Any, network: Any
) -> tuple[int | None, int | None]:
    """Read data sets; return the most tokens of a row, and of an answer to train on; None where unknown.

    Without data to train on, those to evaluate on count. Raises UserError: a row that cannot be trained on,
    or has tokens that the network does not know or read.
    """
    if not isinstance(collator, AnswerCollator):
        return None, None
    others = {"eval_dataset": evaluated_on}
    if isinstance(evaluated_on, dict):
        others = {f"eval_dataset[{key!r}]": data for key, data in evaluated_on.items()}
    lengths = [_longest_of(collator, data, name, network) for name, data in others.items()]
    if train is not None:
        of_train = _longest_of(collator, train, "train_dataset", network)
        return max(of_train[0], *(row for row, _ in lengths)) or None, of_train[1] or None
    row, answer = (max(each, default=0) for each in zip((0, 0), *lengths, strict=True))
    return row or None, answer or None


def _longest_of(collator: AnswerCollator, data: Any, name: str, network: Any) -> tuple[int, int]:
    """Return the most tokens of a row and of an answer; 0 where data cannot be read beforehand."""
    row, answer = 0, 0
    if isinstance(data, Mapping):
        one = f"data[{next(iter(data), 'train')!r}]"
        raise UserError(f"{name}: it is several data sets ({', '.join(map(str, data))}); give one, as {one}")
    if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        return row, answer
    if not len(data):
        raise UserError(f"{name}: it has no rows; give some, or leave it out")
    for row_name, read in collator.read_all(data, name):
        tokens = (*read.prompt, *read.answer)
        _check_length(f"{row_name}: prompt and answer have", len(tokens), network)
        _check_ids(row_name, min(tokens), max(tokens), network)
        row, answer = max(row, len(tokens)), max(answer, len(read.answer))
    return row, answer


def check_batch(inputs: Mapping[str, Any], network: Any) -> None:
    """Refuse rows that were not read beforehand, whose tokens the network does not know or read.

    Raises UserError.
    """
    ids, mask = inputs["input_ids"], inputs.get("attention_mask")
    lowest, highest = torch.stack(ids.aminmax()).tolist()
    _check_ids("a row of a batch", lowest, highest, network)
    longest = ids.shape[1]
    if longest > (length_limit(network) or _ANY_LENGTH) and mask is not None:
        longest = int(mask.sum(1).max())
    _check_length("a row of a batch has", longest, network)


def _check_length(has: str, length: int, network: Any) -> None:
    """Refuse more tokens than a network reads, or than all of its layers attend to. Raises UserError."""
    for reads, limit in length_limits(network.config.get_text_config()).items():
        if length > limit:
            raise UserError(f"{has} {length} tokens, and the model {reads} {limit}; shorten or drop the row")


def _check_ids(name: str, lowest: int, highest: int, network: Any) -> None:
    size = network.get_input_embeddings().weight.shape[0]
    if lowest < 0:
        raise UserError(f"{name}: it has token {lowest}; ids count from 0")
    if highest >= size:
        raise UserError(
            f"{name}: it has token {highest}, and the model knows {size}; give the model's own "
            "tokenizer, or say model.resize_token_embeddings(len(tokenizer))"
        )


def for_answers(objective: Objective, longest: int | None) -> Objective:
    """Fill in what depends on the longest answer. Raises UserError."""
    if longest is None:
        one, other = (objective.for_answers(length) for length in _LENGTHS)
        if one != other:
            raise UserError(
                f"objective: {objective.name} depends on the longest answer, which these data do not tell; "
                f"give what is null in {objective.for_answers(_LENGTHS[1])}"
            )
        return objective
    try:
        objective.check(longest)
    except ValueError as error:
        raise UserError(f"objective.{error}") from None
    try:
        check_positions(objective, longest, "these data")
    except ValueError as error:
        raise UserError(str(error)) from None
    return objective.for_answers(longest)


def find_special_tokens(
    objective: Objective, network: Any, tokenizer: Any, given: Mapping[str, str | int]
) -> tuple[int, Mapping[str, int]]:
    """Return the ids of the mask token and of the objective's special tokens; -1 where none is fed.

    given: by name ("mask" for the mask token), as texts of tokens or as ids. By default they are the
    tokenizer's mask_token, and its token <|NAME|>. Raises UserError: one is missing, or new to the network.
    """
    if not isinstance(given, Mapping):
        raise UserError(f"special_tokens: give texts or ids by name, as {{'mask': {given!r}}}, not {given!r}")
    wanted = [*(("mask",) if _feeds_mask(objective) else ()), *objective.needs.specials]
    unknown = sorted({*given} - {*wanted})
    if unknown:
        raise UserError(
            f"special_tokens: {objective.name} has no token {unknown[0]!r}; "
            + (f"give {', '.join(wanted)}" if wanted else "give none")
        )
    own = {name: f"<|{name}|>" for name in wanted}
    mask_token = getattr(tokenizer, "mask_token", None)
    if mask_token is not None:
        own["mask"] = mask_token
    size = network.get_input_embeddings().weight.shape[0]
    ids = {name: _id_of(name, {**own, **given}[name], tokenizer, size, objective) for name in wanted}
    return ids.pop("mask", _NO_TOKEN), ids


def _id_of(name: str, token: str | int, tokenizer: Any, size: int, objective: Objective) -> int:
    if not isinstance(token, str | int) or isinstance(token, bool):
        raise UserError(f"special_tokens: {name!r} is {token!r}; give the text of one token, or its id")
    known = {} if tokenizer is None or isinstance(token, int) else tokenizer.get_vocab()
    number = token if isinstance(token, int) else known.get(token)
    if number is None:
        option = "mask_token" if name == "mask" else "additional_special_tokens"
        added = repr(token) if name == "mask" else repr([token])
        raise UserError(
            f"special_tokens: {objective.name} feeds a token {name!r}, and the tokenizer has no {token}; say "
            f"tokenizer.add_special_tokens({{{option!r}: {added}}}) and "
            f"model.resize_token_embeddings(len(tokenizer)), or name one that texts do not use: "
            f"special_tokens={{{name!r}: ...}}"
        )
    if not 0 <= number < size:
        raise UserError(
            f"special_tokens: {name!r} is token {number}, and the model knows {size}; say "
            "model.resize_token_embeddings(len(tokenizer))"
        )
    return number


def _feeds_mask(objective: Objective) -> bool:
    """Whether an objective's views hold the mask token."""
    tokens = torch.zeros((_ROWS, _ANSWER), dtype=torch.int64)
    specials = dict.fromkeys(objective.needs.specials, 0)
    view = objective.view(Batch(tokens, tokens, _NO_TOKEN, specials=specials), Moment(_ROWS))
    return any(bool((each == _NO_TOKEN).any()) for each in tensors_of(view))
