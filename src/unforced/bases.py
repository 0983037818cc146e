"""The pretrained model that a run started from: which weights those were, and where they lie now."""

from pathlib import Path
from typing import Any

from unforced.config import Run
from unforced.errors import UserError
from unforced.models.huggingface import forget_models
from unforced.models.places import folder_of, relocate, weights_sha256
from unforced.models.pretrained import Pretrained
from unforced.runs.folder import RunFolder
from unforced.wording import typed

_KEY = "base_sha256"


def base_record(run: Run) -> dict[str, Any]:
    """Return the entry of env.json on the weights that a run starts from; empty for a run from scratch."""
    if not isinstance(run.model, Pretrained):
        return {}
    folder = folder_of(run.model.name_or_path, run.model.revision)
    return {_KEY: None if folder is None else weights_sha256(folder)}


def recorded_base(folder: RunFolder) -> dict[str, Any]:
    """Return the same as an earlier session of the run recorded it."""
    recorded = folder.read_environment()
    return {_KEY: recorded[_KEY]} if _KEY in recorded else {}


def locate_base(path: Path, base: Path) -> list[str]:
    """Find the pretrained model of the run in the folder `path` in `base`, for the rest of this process.

    Returns warnings. Raises UserError: the run started from no other model, there is no folder `base`, or its
    weights are others than those that the run recorded.
    """
    folder = RunFolder.open(path)
    model = folder.run().model
    if not isinstance(model, Pretrained):
        raise UserError(
            f"{path} trained a model {model.name}, which starts from no other; drop {typed('base')}",
            about="base",
        )
    recorded = recorded_base(folder).get(_KEY)
    relocate(model.name_or_path, base)
    forget_models()
    present = weights_sha256(base)
    if recorded is not None and present != recorded:
        raise UserError(
            f"the weights in {base} are not those that {path} started from (SHA-256 "
            f"{(present or 'of no file')[:12]}, not {recorded[:12]}); give a folder with the same files",
            about="base",
        )
    if recorded is None:
        return [f"{path} did not record which weights it started from: those in {base} are not checked"]
    return []
