"""Whether an objective fits a causal language model that is trained, saved and used by transformers alone."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from unforced.data.batch import Batch
from unforced.errors import UserError
from unforced.integrations.answer_collator import AnswerCollator
from unforced.models.huggingface import FIELD
from unforced.models.networks import evaluated, length_limit, plain_network
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


def contract_of(network: Any) -> TransformersModel:
    """Put a network behind the model contract, sharing its weights.

    Raises UserError where it says something else there than by itself.
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
        if weight.dtype == torch.float32:
            length = min(_TRIED_TOKENS, length_limit(network) or _TRIED_TOKENS)
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


def longest_answer(collator: AnswerCollator, data: Any, name: str, network: Any) -> int | None:
    """Read a data set, and return the most tokens of an answer; None where it cannot be read beforehand.

    Raises UserError: a row that cannot be trained on, or has tokens that the network does not know or read.
    """
    if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        return None
    limit, size = length_limit(network), network.get_input_embeddings().weight.shape[0]
    longest = None
    for row_name, row in collator.read_all(data, name):
        tokens = (*row.prompt, *row.answer)
        if limit is not None and len(tokens) > limit:
            raise UserError(
                f"{row_name}: prompt and answer have {len(tokens)} tokens, and the model reads {limit}; "
                "shorten or drop the row"
            )
        if not 0 <= min(tokens) <= max(tokens) < size:
            raise UserError(
                f"{row_name}: it has token {max(tokens)}, and the model knows {size}; give the model's own "
                "tokenizer, or say model.resize_token_embeddings(len(tokenizer))"
            )
        longest = max(longest or 0, len(row.answer))
    return longest


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
    return objective.for_answers(longest)


def find_special_tokens(
    objective: Objective, network: Any, tokenizer: Any, given: Mapping[str, str | int]
) -> tuple[int, Mapping[str, int]]:
    """Return the ids of the mask token and of the objective's special tokens; -1 where none is fed.

    given: by name ("mask" for the mask token), as texts of tokens or as ids. By default they are the
    tokenizer's mask_token, and its token <|NAME|>. Raises UserError: one is missing, or new to the network.
    """
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
