"""transformers, imported only where it is asked for: what does without it starts without it."""

import contextlib
import importlib
import sys
from typing import Any

from unforced.errors import UserError
from unforced.streams import lasting

_PATIENCE = 10  # seconds for the hub's first answer
_FILES = ("config.json", "tokenizer_config.json", "tokenizer.json")


def import_transformers(who: str) -> Any:
    """Import transformers for `who`, and keep it quiet. Raises UserError where it is not installed."""
    try:
        transformers: Any = importlib.import_module("transformers")
    except ImportError:
        raise UserError(f"{who} needs transformers: pip install 'unforced[pretrained]'") from None
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    importlib.import_module("huggingface_hub").utils.logging.set_verbosity_error()
    return transformers


def ask_hub(name: str, revision: str | None = None) -> None:
    """Ask the hub once whether it answers, for a name that its cache on this machine lacks, and say so.

    transformers would ask for each file again and again, half a minute without a word. Raises what the hub's
    library raises where no answer comes; what the answer is, is left to transformers.
    """
    hub: Any = importlib.import_module("huggingface_hub")
    cached = (hub.try_to_load_from_cache(name, file, revision=revision) for file in _FILES)
    if any(isinstance(path, str) for path in cached):
        return
    if not hub.constants.HF_HUB_OFFLINE:
        print(f"looking for {name} on {hub.constants.ENDPOINT}", file=lasting(sys.stderr), flush=True)
    with contextlib.suppress(hub.errors.HfHubHTTPError):
        hub.HfApi().model_info(name, revision=revision, timeout=_PATIENCE)
