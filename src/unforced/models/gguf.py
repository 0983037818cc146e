"""GGUF files: a language model in one file, as inference programs for laptops read it."""

from pathlib import Path
from typing import Any

import torch

from unforced.errors import UserError
from unforced.huggingface import import_transformers
from unforced.models.failures import as_user_error, first_words

SUFFIX = ".gguf"
_MAGIC = b"GGUF"


def read_gguf(file: Path) -> tuple[Any, Any]:
    """Read a causal language model and its tokenizer from a GGUF file, as transformers knows them.

    Weights are taken out of their blocks, to fp32: a file of 4 bits a weight takes eight times its size.
    Raises UserError: there is no such file, it is no GGUF file, of no causal language model that transformers
    knows, or damaged; or a package is missing.
    """
    _check_file(file)
    transformers = import_transformers(f"reading {file}")
    if not transformers.utils.is_gguf_available():
        raise UserError(f"reading {file} needs gguf: pip install 'unforced[gguf]'")
    place = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    with as_user_error(lambda error: _unusable(file, error)):
        stored, report = transformers.AutoModelForCausalLM.from_pretrained(
            **place, dtype=torch.float32, output_loading_info=True
        )
        if absent := sorted(map(str, report["missing_keys"])):
            raise ValueError(f"{len(absent)} weights are missing, {absent[0]} for one")
        return _without_blocks(stored), transformers.AutoTokenizer.from_pretrained(**place)


def _without_blocks(stored: Any) -> Any:
    """Return the same network without what says that it was quantized: transformers would not save it."""
    config = stored.config
    del config.quantization_config
    network = type(stored)(config)
    network.load_state_dict(stored.state_dict())
    network.generation_config = stored.generation_config
    return network


def _check_file(file: Path) -> None:
    """Refuse what is no GGUF file. Raises UserError."""
    if not file.is_file():
        beside = sorted(file.parent.glob(f"*{SUFFIX}")) if file.parent.is_dir() else []
        nearest = f"; in {file.parent} there is {beside[0].name}" if beside else ""
        raise UserError(f"there is no file {file}{nearest}")
    with file.open("rb") as opened:
        if opened.read(len(_MAGIC)) != _MAGIC:
            raise UserError(f"{file} is not a GGUF file: its first four bytes are not {_MAGIC.decode()}")


def _unusable(file: Path, error: Exception) -> str:
    return (
        f"{file}: transformers reads no causal language model from it ({first_words(error)}); "
        "take a GGUF file of a decoder-only model, whole"
    )
