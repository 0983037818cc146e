"""What a run ran on: versions, hardware, git."""

import os
import platform
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

import unforced


def is_first_process() -> bool:
    """Return whether this is the process of a distributed run that prints."""
    return os.environ.get("RANK", "0") == "0"


def describe(device: torch.device) -> dict[str, Any]:
    """Describe the software and hardware of this process, for env.json."""
    packages = ["torch", "numpy", "accelerate", "pydantic", "safetensors", "transformers"]
    return {
        "unforced": unforced.__version__,
        "git": git_commit(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages if find_spec(name)},
        "system": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def has_fast_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies matrices in bf16 natively; of processors, AVX512-BF16 is known."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and "avx512_bf16" in _processor_info()


def processor_name() -> str:
    """Return the processor's model name."""
    for line in _processor_info().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def git_commit() -> str | None:
    """Return the commit of the checkout that the package runs from, `+` if changed; None outside one."""
    where = Path(__file__).parent
    try:
        _git(where, "ls-files", "--error-unmatch", Path(__file__).name)  # it may lie in another repository
        commit = _git(where, "rev-parse", "HEAD")
        return commit + ("+" if _git(where, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(where: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(where), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def _processor_info() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
