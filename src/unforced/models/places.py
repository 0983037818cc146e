"""Where pretrained models are: folders and names on the hub, as runs record them, and where folders went.

A folder is recorded by its absolute path, all else is a name on the hub: what a recorded run started from
depends on its config.json alone, not on the folders of the machine that reads it.
"""

import hashlib
import importlib
import os
from pathlib import Path

from unforced.errors import UserError

_HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_moved: dict[str, Path] = {}


def is_folder(name_or_path: str) -> bool:
    """Whether a recorded model is a folder, rather than a name on the hub."""
    return os.path.isabs(name_or_path)


def relocate(name_or_path: str, folder: Path) -> None:
    """Let this process find a recorded model in a folder. Raises UserError if there is none."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give one with config.json and weights", about="base")
    _moved[name_or_path] = Path(os.path.abspath(folder))


def place_of(name_or_path: str, revision: str | None) -> tuple[str, str | None]:
    """Return what to load a model by: a folder, or a name and revision.

    A name that something in the working folder has, too, is looked up on the hub or in its cache here:
    transformers would load what is in the working folder. Raises OSError if that fails.
    """
    if name_or_path in _moved:
        return str(_moved[name_or_path]), None
    if is_folder(name_or_path) or not os.path.lexists(name_or_path):
        return name_or_path, revision
    hub = importlib.import_module("huggingface_hub")
    return hub.snapshot_download(name_or_path, revision=revision, allow_patterns=_HUB_FILES), None


def folder_of(name_or_path: str, revision: str | None) -> Path | None:
    """Return the folder of a loaded model, for a name on the hub that in its cache; None if it is absent."""
    place, revision = place_of(name_or_path, revision)
    if is_folder(place):
        return Path(place)
    hub = importlib.import_module("huggingface_hub")
    cached = hub.try_to_load_from_cache(place, "config.json", revision=revision)
    return Path(cached).parent if isinstance(cached, str) else None


def weights_sha256(folder: Path) -> str | None:
    """Hash the files with a model's weights, and their names; None if there are none."""
    for pattern in _WEIGHTS:
        if files := sorted(folder.glob(pattern)):
            break
    else:
        return None
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
