"""All that is to be measured on a GPU that is lent for some minutes, in one command.

    python -m benchmarks.device [--out FOLDER] [--minutes 9] [--only PART] [--rehearse] [--pretrained MODEL]

    parity    losses and times of every objective: captured, stacked and Triton against eager and a processor
    bench     `unforced bench`
    runs      runs at the papers' sizes, most wanted first, until the time is over

Each part is a process of its own: one that fails, or is not done in its time, stops no other. FOLDER gets
at most 8 small files, the run folders as runs.tar.gz without their checkpoints. --rehearse goes through all
of it on any machine, with models of a few weights. --pretrained names the folder of a language model, of
which `runs` then are: `--only runs --pretrained models/smollm2`.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from unforced.training.environment import describe
from unforced.training.processes import find_device

SHARES = {"parity": 0.2, "bench": 0.3, "runs": 1.0}
"""By part: what it may take of the time that is left when it begins."""
_TO_END = 10.0
"""Seconds that a part which has had its time is given to write down what it has."""


def main(arguments: Sequence[str]) -> None:
    """Go through the parts, and print what each has written."""
    asked = _parser().parse_args(arguments)
    deadline, out = time.monotonic() + 60 * asked.minutes, asked.out
    out.mkdir(parents=True, exist_ok=True)
    (out / "environment.json").write_text(json.dumps(describe(find_device()), indent=1) + "\n")
    for part in asked.only or SHARES:
        seconds = SHARES[part] * (deadline - time.monotonic()) - _TO_END
        began = time.monotonic()
        how = carry_out(part, out, seconds, asked.rehearse, asked.pretrained)
        print(f"== {part}: {how} after {time.monotonic() - began:.0f} s", flush=True)
        print(_last_lines(out / FILES[part]), flush=True)


FILES = {"parity": "parity.txt", "bench": "bench.json", "runs": "runs.txt"}


def carry_out(part: str, out: Path, seconds: float, rehearse: bool, model: str = "") -> str:
    """Run a part, with its output in its file and its errors beside it; say how it ended."""
    with (out / FILES[part]).open("w") as output, (out / "errors.txt").open("a") as errors:
        process = subprocess.Popen(
            command_of(part, out, seconds, rehearse, model),
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            code = process.wait(max(1.0, seconds) + _TO_END)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the processes that it has started
            process.wait()
            return "stopped"
    return "done" if code == 0 else f"failed with exit code {code}"


def command_of(part: str, out: Path, seconds: float, rehearse: bool, model: str = "") -> list[str]:
    """Return the command line of a part."""
    python = [sys.executable, "-m"]
    if part == "bench":
        return [*python, "unforced", "bench", "--json", *(["--quick", "--only", "data"] if rehearse else [])]
    options = ["--rehearse"] if rehearse else []
    if part == "parity":
        return [*python, "benchmarks.device.parity", *options]
    options += ["--pretrained", model] if model else []
    return [*python, "benchmarks.device.runs", str(out), str(seconds), *options]


def _last_lines(file: Path, count: int = 40) -> str:
    text = file.read_text()
    return text[:400] if file.suffix == ".json" else "\n".join(text.splitlines()[-count:])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("benchmarks.device", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/device"))
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--only", action="append", choices=SHARES)
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--pretrained", default="", metavar="MODEL")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
