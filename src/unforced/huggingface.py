"""transformers, imported only where it is asked for: what does without it starts without it."""

import importlib
from typing import Any

from unforced.errors import UserError


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
