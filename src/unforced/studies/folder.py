"""The folder of a study: its runs in sub-folders, and `study.json`, which says whose folder it is."""

from collections.abc import Mapping
from pathlib import Path

from unforced.config import Run
from unforced.errors import UserError
from unforced.files import read_json, write_json
from unforced.training.folder import RunFolder

MARKER = "study.json"


def claim(out: Path, runs: Mapping[str, Run]) -> None:
    """Make `out` the folder of these runs, or find that it is. Raises UserError if it holds anything else."""
    study = {"runs": {name: run.fingerprint for name, run in runs.items()}}
    marker = out / MARKER
    if marker.exists():
        _check_same(marker, study, runs)
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not the folder of a study; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_json(marker, study)


def _check_same(marker: Path, study: Mapping[str, Mapping[str, str]], runs: Mapping[str, Run]) -> None:
    out = marker.parent
    for name, run in runs.items():
        if (out / name).exists():
            RunFolder.reopen(out / name, run)
    if read_json(marker) != study:
        raise UserError(f"{out} holds another study (see {marker}); choose another --out")
