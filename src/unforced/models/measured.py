"""Choices made by measurement: the fastest of several ways to compute one thing, on this machine.

Measured once for each kind of thing and each case, and kept in the user's cache folder, so that equal runs on
one machine choose equally.
"""

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch


def fastest(
    kind: str, device: torch.device, case: list[object], candidates: Mapping[str, Callable[[], float]]
) -> str:
    """Return the candidate that takes the fewest seconds, measured once and remembered.

    candidates: by name, each a function that measures it and returns its seconds.
    """
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    case = [platform.node(), machine, torch.__version__, torch.get_num_threads(), *case]
    digest = hashlib.sha256(json.dumps(case).encode()).hexdigest()[:16]
    file = _cache_folder() / f"{kind}-{digest}.json"
    remembered = _recall(file)
    if remembered in candidates:
        return remembered
    seconds = {name: measure() for name, measure in candidates.items()}
    chosen = min(seconds, key=lambda name: seconds[name])
    _remember(file, {"case": case, "seconds": seconds, "fastest": chosen}, candidates)
    first = _recall(file)
    return first if first in candidates else chosen


def median_seconds(device: torch.device, work: Callable[[], object], rounds: int = 7) -> float:
    """Return the median seconds that `work` takes."""
    times = []
    for _ in range(rounds):
        started = _clock(device)
        work()
        times.append(_clock(device) - started)
    return sorted(times)[rounds // 2]


def _clock(device: torch.device) -> float:
    """Return the time in seconds, once the device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unforced"


def _recall(file: Path) -> str:
    """Return the remembered name, or an empty string."""
    try:
        chosen = json.loads(file.read_text())["fastest"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return chosen if isinstance(chosen, str) else ""


def _remember(file: Path, measured: object, candidates: Mapping[str, object]) -> None:
    """Keep a measurement; of several processes the first wins, and a read-only home is no error."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(measured, indent=1))
        try:
            if _recall(file) not in candidates:
                file.unlink(missing_ok=True)
            os.link(draft, file)
        finally:
            draft.unlink()
