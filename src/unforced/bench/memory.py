"""The most memory that training holds, in a process that does nothing else.

On a CUDA device it is what PyTorch has allocated there. On a processor, it is all that the process holds,
libraries and data included; None where the system does not say (it is read from Linux's /proc).
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from unforced.bench.contenders import OURS, contenders
from unforced.bench.plan import trainer_of
from unforced.bench.timing import taker
from unforced.config import Run
from unforced.training.cpu import keep_freed_memory

_STEPS, _STEPS_ON_CUDA = 2, 5
"""The optimiser fills its memory in the first; a CUDA device takes the first three operation by operation."""
_STATUS = Path("/proc/self/status")


def memory_of(run: Run, contender: str = OURS) -> int | None:
    """Return the bytes that training a run holds at its most, ours or another library's."""
    command = [sys.executable, "-m", "unforced.bench.memory"]
    asked = json.dumps({"run": run.tree(), "contender": contender})
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def memory_here(run: Run, contender: str) -> int | None:
    """Train for a few steps; return the bytes that this process has held at its most."""
    keep_freed_memory()
    trainer = trainer_of(run)
    with tempfile.TemporaryDirectory() as folder:
        ours = contender == OURS
        take = (
            taker(trainer.step, trainer.device) if ours else contenders(run)[contender].taker(trainer, folder)
        )
        take(_STEPS_ON_CUDA if trainer.device.type == "cuda" else _STEPS)
    return most_held(trainer.device)


def most_held(device: torch.device) -> int | None:
    """Return the bytes that this process has held at its most, on a CUDA device or on a processor."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:  # the peak of the resident set; that of getrusage begins with the parent's
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    print(json.dumps(memory_here(Run.from_tree(asked["run"]), asked["contender"])))
