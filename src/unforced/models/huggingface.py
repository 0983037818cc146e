"""What we ask of transformers: the library, a model's config and weights; and one line for what fails."""

import re
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from unforced.errors import UserError
from unforced.huggingface import import_transformers
from unforced.models.failures import as_user_error, first_words
from unforced.models.places import is_folder, place_of

FAMILIES = "take a model of the GPT-2, GPT-NeoX, Llama or Mamba family"
FIELD = "model.name_or_path"
SEES_LATER = "sees the tokens after the one it predicts; take a causal model"
NO_NUMBERS = "gives logits that are no numbers; its weights are damaged, take another copy"
OPTION = "MODEL"
_ELSEWHERE = {
    FIELD: "use model.encoding=symbol, which gives each symbol of the task a token of its own",
    OPTION: "take a model that reads text; a run of unforced is measured by `unforced evaluate RUN_FOLDER`",
}
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_NO_TOKENIZER = "save the model's own into the same folder"


def transformers() -> Any:
    """Import transformers. Raises UserError where it is not installed."""
    return import_transformers("a pretrained model")


@lru_cache(maxsize=8)
def read_config(name_or_path: str, revision: str | None, given_as: str = FIELD) -> Any:
    """Return transformers' config of a model, `given_as` a field or an option. Raises UserError."""
    if not name_or_path:
        raise UserError(f"{given_as}: give a folder with a causal language model, or a name on the hub")
    _check_path(name_or_path, given_as)
    with loading(name_or_path, given_as):
        place, revision = place_of(name_or_path, revision)
        config = transformers().AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=False)
    if config.is_encoder_decoder:
        raise UserError(
            f"{given_as}: {name_or_path} ({config.model_type}) encodes before it decodes; "
            "take a decoder-only model"
        )
    if not isinstance(getattr(config, "vocab_size", None), int):
        raise UserError(
            f"{given_as}: {name_or_path} ({config.model_type}) is no model of text alone; {FAMILIES}"
        )
    return config


def forget_models() -> None:
    """Read configs and tokenizers anew when they are next asked for."""
    read_config.cache_clear()
    read_tokenizer.cache_clear()


def _check_path(name_or_path: str, given_as: str) -> None:
    """Refuse a file, and what is neither a folder nor like a name on the hub. Raises UserError."""
    place = place_of(name_or_path, None)[0] if is_folder(name_or_path) else name_or_path
    path = Path(place)
    if is_folder(place) and path.is_file():
        raise UserError(f"{given_as}: {name_or_path} is a file; give the folder that it is in, {path.parent}")
    if path.is_dir() if is_folder(place) else _HUB_NAME.fullmatch(place):
        return
    recorded = given_as == FIELD and is_folder(place)
    moved = "; if a run started from it, say where it is now with --base FOLDER" if recorded else ""
    raise UserError(
        f"{given_as}: there is no folder {name_or_path}; give one with config.json and weights, or a "
        f"name on the hub, as OWNER/NAME{moved}"
    )


@lru_cache(maxsize=8)
def read_tokenizer(name_or_path: str, revision: str | None, given_as: str = FIELD) -> Any:
    """Return a model's tokenizer. Raises UserError."""
    read_config(name_or_path, revision, given_as)
    try:
        place, revision = place_of(name_or_path, revision)
        return transformers().AutoTokenizer.from_pretrained(place, revision=revision, trust_remote_code=False)
    except Exception as error:
        raise UserError(
            f"{given_as}: no tokenizer could be loaded from {name_or_path} ({first_words(error)}); "
            f"{_NO_TOKENIZER}"
        ) from error


def check_tokenizer(tokenizer: Any, text: str, name_or_path: str, vocab_size: int, given_as: str) -> None:
    """Refuse a tokenizer that loses some of a text, or makes tokens of it that the model does not know.

    From a folder without one, transformers may make a tokenizer that knows no text at all. Raises UserError.
    """
    try:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    except Exception as error:  # tokenizers raises no narrower one
        raise UserError(
            f"{given_as}: the tokenizer in {name_or_path} reads some symbols alone, not the text of these "
            f"problems ({first_words(error)}); {_ELSEWHERE[given_as]}"
        ) from error
    back = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    if "".join(back.lower().split()) != "".join(text.lower().split()):
        raise UserError(
            f"{given_as}: the tokenizer in {name_or_path} loses some of a problem's text; {_NO_TOKENIZER}"
        )
    if max(ids) >= vocab_size:
        raise UserError(
            f"{given_as}: the tokenizer in {name_or_path} has token {max(ids)}, and the model knows "
            f"{vocab_size}; {_NO_TOKENIZER}"
        )


def load_network(name_or_path: str, revision: str | None, config: Any, dtype: torch.dtype | str) -> Any:
    """Load a causal language model. Raises ValueError where the folder lacks some of its weights."""
    place, revision = place_of(name_or_path, revision)
    network, report = transformers().AutoModelForCausalLM.from_pretrained(
        place,
        revision=revision,
        config=config,
        dtype=dtype,
        trust_remote_code=False,
        output_loading_info=True,
    )
    absent = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
    if absent:
        raise ValueError(f"{len(absent)} weights are missing or misshapen, {absent[0]} for one")
    return network


def loading(name_or_path: str, given_as: str = FIELD) -> AbstractContextManager[None]:
    """Turn whatever transformers raises for a folder or name that is no usable model into one line."""
    missing = f"no causal language model could be loaded from {name_or_path}"
    if not is_folder(name_or_path):
        missing = f"there is no folder {name_or_path} here, and the hub gave no causal language model"
    return as_user_error(
        lambda error: (
            f"{given_as}: {missing} ({first_words(error)}); "
            "give a folder with config.json and weights, or a name on a hub that can be reached"
        )
    )
