"""What starting costs: processes of their own, from the interpreter's start to its end."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unforced.bench.plan import Plan, quickstart_run
from unforced.bench.timing import spread
from unforced.errors import UserError


def measure_start(plan: Plan, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return a row per command: seconds of processor time, and of a clock.

    Each command is called once before, so that Python has compiled what it imports, where it may keep that.
    """
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for what, arguments in commands(Path(name)).items():
            say(f"start: {what}")
            _started(arguments, Path(name) / "first")
            times = [_started(arguments, Path(name) / str(number)) for number in range(plan.starts)]
            cpu, wall = zip(*times, strict=True)
            rows.append({"command": what, "cpu_seconds": spread(cpu), "seconds": spread(wall)})
    return rows


def commands(folder: Path) -> Mapping[str, Sequence[str]]:
    """Return what is started, by what it is called; FOLDER stands for a run folder to be made."""
    run = quickstart_run().replace(max_steps=2, warmup_steps=0, num_evaluate=100, num_test=100)
    config = folder / "config.json"
    config.write_text(json.dumps(run.tree()))
    return {
        "import torch": ["-c", "import torch"],
        "import unforced": ["-c", "import unforced"],
        "unforced --help": ["-m", "unforced", "--help"],
        "unforced work, 2 steps": ["-m", "unforced", "work", str(config), "FOLDER"],
    }


def _started(arguments: Sequence[str], folder: Path) -> tuple[float, float]:
    """Return the seconds of processor time, and of a clock, that a process takes. Raises UserError.

    Its standard input stays open: `unforced work` ends when it closes.
    """
    command = [sys.executable, *(str(folder) if each == "FOLDER" else each for each in arguments)]
    before, begun = _cpu_of_children(), time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        errors = process.stderr.read()
        process.wait()
    wall = time.perf_counter() - begun
    if process.returncode:
        last = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise UserError(f"{' '.join(command)}: {last}")
    return _cpu_of_children() - before, wall


def _cpu_of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system
