"""Exported files for two major versions of transformers: what version 5 writes, and what version 4 reads.

Version 5 keeps all that rotary positions depend on in `rope_parameters`; version 4 does not know that key and
would take defaults, without a word. It does not know the class that version 5 names for most tokenizers, and
its nearest one adds `token_type_ids`, which causal models refuse.
Version 5 reads both spellings.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unforced.files import read_json, write_json

OLDEST_VERSION = "4.57"
"""The oldest version of transformers that exports are tested with."""
_FULL, _SLIDING = "full_attention", "sliding_attention"
_BACKENDS = ("TokenizersBackend", "PreTrainedTokenizerFast")


def write_for_both(folder: Path) -> None:
    """Add to a folder that version 5 saved what version 4 reads."""
    for name, spell in (("config.json", config_for_both), ("tokenizer_config.json", tokenizer_for_both)):
        write_json(folder / name, spell(read_json(folder / name)), indent=2)


def config_for_both(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's config with the keys of both versions."""
    rotary = config.get("rope_parameters") or {}
    main = rotary.get(_FULL, rotary)
    former: dict[str, Any] = {"torch_dtype": config["dtype"]} if "dtype" in config else {}
    if "rope_theta" in main:
        former["rope_theta"] = main["rope_theta"]
    if _SLIDING in rotary:
        former["rope_local_base_freq"] = rotary[_SLIDING]["rope_theta"]
    if "partial_rotary_factor" in main:
        former["partial_rotary_factor"] = main["partial_rotary_factor"]
    if main.get("rope_type", "default") != "default":
        apart = ("rope_theta", "partial_rotary_factor")
        former["rope_scaling"] = {key: value for key, value in main.items() if key not in apart}
    if str(config.get("model_type")).startswith("gpt_neox"):
        names = {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"}
        former |= {names[key]: former[key] for key in names.keys() & former.keys()}
    return {**former, **config}


def tokenizer_for_both(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tokenizer's config as both versions read it."""
    former = dict(config)
    if former.get("tokenizer_class") in _BACKENDS:
        former["tokenizer_class"] = "PreTrainedTokenizerFast"
        former.setdefault("model_input_names", ["input_ids", "attention_mask"])
    if isinstance(former.get("extra_special_tokens"), list):
        former["additional_special_tokens"] = former.pop("extra_special_tokens")
    return former
