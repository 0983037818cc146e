"""Causal language models that are loaded to be measured: from transformers, with adapters of peft."""

import contextlib
import copy
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from unforced.errors import UserError
from unforced.models.failures import first_words
from unforced.models.huggingface import (
    FIELD,
    load_network,
    loading,
    read_config,
    read_tokenizer,
    transformers,
)
from unforced.paths import absolute_path
from unforced.wording import typed

_ADAPTER = "adapter_config.json"
_OF_A_RUN = ("config.json", "env.json")


def load_trained(name_or_path: str, device: torch.device, with_tokenizer: bool) -> tuple[Any, Any]:
    """Load a model and its tokenizer (None, if it is not asked for), to be measured on a device.

    A folder may hold adapters of peft: its base is loaded as the adapters name it. On a processor weights are
    float32, elsewhere what they are saved in.
    Raises UserError: no model, an encoder-decoder, no tokenizer, peft is not installed.
    """
    place = absolute_path(name_or_path)
    dtype: torch.dtype | str = torch.float32 if device.type == "cpu" else "auto"
    if (Path(place) / _ADAPTER).is_file():
        network, tokenizer = _with_adapters(place, dtype, with_tokenizer)
    else:
        if all((Path(place) / name).is_file() for name in _OF_A_RUN):
            raise UserError(
                f"{name_or_path} is a run folder, which is measured by itself: "
                f"`unforced diagnose {name_or_path}`",
                about=FIELD,
            )
        config = copy.deepcopy(read_config(place, None))
        tokenizer = _tokenizer(place, None) if with_tokenizer else None
        with loading(place):
            network = load_network(place, None, config, dtype)
    return network.to(device).eval(), tokenizer


def _tokenizer(place: str, revision: str | None) -> Any:
    instead = f"if it reads a token id for each symbol of the task, give {typed('first_symbol')}"
    return read_tokenizer(place, revision, instead)


def _with_adapters(folder: str, dtype: torch.dtype | str, with_tokenizer: bool) -> tuple[Any, Any]:
    """Load adapters into their base; the tokenizer is the folder's own, or else the base's."""
    try:
        peft: Any = importlib.import_module("peft")
    except ImportError:
        raise UserError(
            f"{folder} holds adapters of peft: pip install 'unforced[lora]'", about=FIELD
        ) from None
    with _told(folder):
        adapter = peft.PeftConfig.from_pretrained(folder)
    if not adapter.base_model_name_or_path:
        raise UserError(
            f"{folder}/{_ADAPTER} names no model that the adapters are of; give one that peft "
            "wrote, with base_model_name_or_path",
            about=FIELD,
        )
    base = absolute_path(str(adapter.base_model_name_or_path))
    read_config(base, adapter.revision)  # refuses what is no causal model
    tokenizer = None
    if with_tokenizer:
        with contextlib.suppress(Exception):
            tokenizer = transformers().AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        tokenizer = tokenizer or _tokenizer(base, adapter.revision)
    with _told(folder):
        model = peft.AutoPeftModelForCausalLM.from_pretrained(folder, dtype=dtype, trust_remote_code=False)
    if adapter.is_prompt_learning:
        raise UserError(
            f"the adapter in {folder} stands before the prompt (prompt tuning), where nothing "
            "can be asked; give one with adapters of layers, such as LoRA",
            about=FIELD,
        )
    return model.merge_and_unload(), tokenizer


@contextlib.contextmanager
def _told(folder: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the adapters in {folder} could not be loaded ({first_words(error)}); give a folder "
            "that peft wrote, and keep the base where adapter_config.json says",
            about=FIELD,
        ) from error
