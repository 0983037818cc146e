"""What we ask of transformers: the library, a model's config and weights; and one line for what fails."""

import re
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from unforced.errors import UserError
from unforced.huggingface import ask_hub, import_transformers
from unforced.models.failures import as_user_error, first_words
from unforced.models.places import is_folder, place_of
from unforced.wording import named, offered, typed

FAMILIES = "take a model of the GPT-2, GPT-NeoX, Llama or Mamba family"
FIELD = "model.name_or_path"
"""The setting that names a model; `unforced.wording` says what it is called where it is no field."""
SEES_LATER = "sees the tokens after the one it predicts; take a causal (decoder-only) model"
NO_NUMBERS = "gives logits that are no numbers; its weights are damaged, take another copy"
_TRIED_TOKENS = 8
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_NO_TOKENIZER = "save the model's own into the same folder"


def transformers() -> Any:
    """Import transformers. Raises UserError where it is not installed."""
    return import_transformers("a pretrained model")


@lru_cache(maxsize=8)
def read_config(name_or_path: str, revision: str | None) -> Any:
    """Return transformers' config of a model; of its text, if it has more. Raises UserError."""
    if not name_or_path:
        raise UserError("give a folder with a causal language model, or a name on the hub", about=FIELD)
    _check_path(name_or_path)
    with loading(name_or_path):
        if not is_folder(name_or_path):
            ask_hub(name_or_path, revision)
        whole = _whole_config(name_or_path, revision)
    config = whole.get_text_config()
    if whole.is_encoder_decoder:
        raise UserError(
            f"{name_or_path} ({whole.model_type}) encodes before it decodes; take a decoder-only model",
            about=FIELD,
        )
    if _is_masked(config):
        raise UserError(
            f"{name_or_path} ({whole.model_type}) is a masked language model, which {SEES_LATER}", about=FIELD
        )
    if not isinstance(getattr(config, "vocab_size", None), int) or not _has_causal_text(whole):
        raise UserError(
            f"transformers has no causal language model for the text part of {name_or_path} "
            f"({whole.model_type}); {FAMILIES}",
            about=FIELD,
        )
    return config


def _whole_config(name_or_path: str, revision: str | None) -> Any:
    """Return the config of a model, those of its images and sounds included."""
    place, revision = place_of(name_or_path, revision)
    return transformers().AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=False)


def _has_causal_text(whole: Any) -> bool:
    """Whether the text part of a model is a causal language model by itself, as far as its config tells."""
    text = whole.get_text_config()
    causal, images = (
        transformers().MODEL_FOR_CAUSAL_LM_MAPPING,
        transformers().MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    )
    return text is whole or (type(text) in causal and (type(whole) in causal or type(whole) in images))


def _is_masked(text: Any) -> bool:
    """Whether a model is bidirectional: one of a masked family whose config does not make a decoder of it."""
    masked = transformers().MODEL_FOR_MASKED_LM_MAPPING
    causal = any(getattr(text, name, False) for name in ("is_decoder", "causal"))
    return type(text) in masked and not causal


def _loader_of(whole: Any) -> Any:
    """Return the class that loads models of a config."""
    if type(whole) in transformers().MODEL_FOR_CAUSAL_LM_MAPPING or whole.get_text_config() is whole:
        return transformers().AutoModelForCausalLM
    return transformers().AutoModelForImageTextToText


def forget_models() -> None:
    """Read configs and tokenizers anew when they are next asked for."""
    read_config.cache_clear()
    read_tokenizer.cache_clear()


def _check_path(name_or_path: str) -> None:
    """Refuse a file, and what is neither a folder nor like a name on the hub. Raises UserError."""
    place = place_of(name_or_path, None)[0] if is_folder(name_or_path) else name_or_path
    path = Path(place)
    if path.suffix == ".gguf" and (is_folder(place) or path.is_file()):
        raise UserError(
            f"{name_or_path} is a GGUF file, of which a folder is made first: `unforced "
            f"export {name_or_path} --to {path.stem}`",
            about=FIELD,
        )
    if is_folder(place) and path.is_file():
        raise UserError(
            f"{name_or_path} is a file; give the folder that it is in, {path.parent}", about=FIELD
        )
    if path.is_dir() if is_folder(place) else _HUB_NAME.fullmatch(place):
        return
    moved = ""
    if is_folder(place) and offered("base"):
        moved = f"; if a run started from it, say where it is now with {typed('base', 'FOLDER')}"
    raise UserError(
        f"there is no folder {name_or_path}; give one with config.json and weights, or a "
        f"name on the hub, as OWNER/NAME{moved}",
        about=FIELD,
    )


@lru_cache(maxsize=8)
def read_tokenizer(name_or_path: str, revision: str | None, or_else: str = "") -> Any:
    """Return a model's tokenizer. Raises UserError.

    or_else: what can be done where there is none.
    """
    read_config(name_or_path, revision)
    advice = "; ".join(filter(None, (_NO_TOKENIZER, or_else)))
    try:
        place, revision = place_of(name_or_path, revision)
        tokenizer = transformers().AutoTokenizer.from_pretrained(
            place, revision=revision, trust_remote_code=False
        )
    except Exception as error:
        raise UserError(
            f"no tokenizer could be loaded from {name_or_path} ({first_words(error)}); {advice}", about=FIELD
        ) from error
    if {*tokenizer.get_vocab()} <= {*tokenizer.all_special_tokens}:  # what transformers makes of no files
        raise UserError(f"there is no tokenizer in {name_or_path}; {advice}", about=FIELD)
    return tokenizer


def check_tokenizer(tokenizer: Any, text: str, name: str, vocab_size: int, or_else: str) -> None:
    """Refuse a tokenizer that loses some of a text, or makes tokens of it that the model does not know.

    name: of its model. or_else: what can be done where it reads no text. Raises UserError.
    """
    try:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    except Exception as error:  # tokenizers raises no narrower one
        raise UserError(
            f"the tokenizer of {name} reads some symbols alone, not the text of these "
            f"problems ({first_words(error)}); {or_else}",
            about=FIELD,
        ) from error
    back = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    if "".join(back.lower().split()) != "".join(text.lower().split()):
        raise UserError(
            f"the tokenizer of {name} loses some of a problem's text; {_NO_TOKENIZER}", about=FIELD
        )
    if max(ids) >= vocab_size:
        raise UserError(
            f"the tokenizer of {name} has token {max(ids)}, and the model knows "
            f"{vocab_size}; {_NO_TOKENIZER}",
            about=FIELD,
        )


def load_network(name_or_path: str, revision: str | None, config: Any, dtype: torch.dtype | str) -> Any:
    """Load a causal language model; of one that reads images, too, the part that reads text.

    config: that of its text. Raises ValueError where the folder lacks some of its weights.
    """
    whole = _whole_config(name_or_path, revision)
    text = whole.get_text_config()
    if text is whole:
        whole = config
    else:
        setattr(whole, next(name for name, value in vars(whole).items() if value is text), config)
    place, revision = place_of(name_or_path, revision)
    network, report = _loader_of(whole).from_pretrained(
        place,
        revision=revision,
        config=whole,
        dtype=dtype,
        trust_remote_code=False,
        output_loading_info=True,
    )
    absent = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
    if absent:
        raise ValueError(f"{len(absent)} weights are missing or misshapen, {absent[0]} for one")
    return text_part(network)


def text_part(network: Any) -> Any:
    """Return the causal language model inside a network of transformers; the network, if it is one.

    It shares the weights. Raises ValueError if it computes other logits.
    """
    text = network.config.get_text_config()
    if text is network.config:
        return network
    decoder = network.get_decoder()
    with torch.device("meta"):
        part = transformers().AutoModelForCausalLM.from_config(text, dtype=network.dtype)
    setattr(part, part.base_model_prefix, decoder)
    part.set_output_embeddings(network.get_output_embeddings())
    part.config, part.generation_config = decoder.config, network.generation_config
    tokens = torch.arange(_TRIED_TOKENS, device=network.device)[None] % text.vocab_size
    with torch.inference_mode():
        if not torch.allclose(
            part(tokens).logits, network(tokens).logits, rtol=1e-3, atol=1e-3, equal_nan=True
        ):
            raise ValueError(f"the text part of {type(network).__name__} computes other logits; {FAMILIES}")
    return part.train(network.training)


def loading(name_or_path: str) -> AbstractContextManager[None]:
    """Turn any exception of transformers about an unusable folder or name into one line."""
    missing = f"no causal language model could be loaded from {name_or_path}"
    if not is_folder(name_or_path):
        missing = f"there is no folder {name_or_path} here, and the hub gave no causal language model"
    return as_user_error(
        lambda error: (
            f"{named(FIELD)}: {missing} ({first_words(error)}); "
            "give a folder with config.json and weights, or a name on a hub that can be reached"
        )
    )
