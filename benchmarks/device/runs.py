"""Runs at the papers' sizes, most wanted first, until the time is over.

    python -m benchmarks.device.runs FOLDER SECONDS [--rehearse] [--pretrained MODEL]

With the folder MODEL of a language model, only what is wanted of pretrained models is done.

Each is a process of its own, `unforced train` or `unforced study`, that ends when it has had its seconds; a
rehearsal carries them out in this one. The run folders, without checkpoints, go into FOLDER/runs.tar.gz; a
line is printed for each run.
"""

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.device.verbs import carry_out

_LEAST_SECONDS = 20.0
"""What a run needs at the least, its start and its last evaluation among it."""
_TINY_MODEL = ["model.layers=1", "model.width=24"]
_TINY = [
    *("batch_size=8", "evaluate_every=2", "checkpoint_every=2"),
    *("num_evaluate=16", "num_test=16", "schedule=constant", "warmup_steps=0", "max_steps=4"),
]
_TINY_SET = ["epochs=null", "num_train=64"]  # not where runs are stacked, which have a stream


@dataclass(frozen=True)
class Wanted:
    """A command: `train` of a recipe, or `study` of some runs.

    seconds: of training, for each run; those of a stack, of so many runs at once, end by their steps.
    """

    name: str
    verb: str
    of: str
    seconds: float
    overrides: Sequence[str] = ()
    only: Sequence[str] = ()
    stack: int = 1

    def command(self, root: Path, seconds: float, rehearse: bool, model: str = "") -> list[str]:
        """Return its command line. model: the folder of a language model, which it trains."""
        tiny = [*([] if model else _TINY_MODEL), *_TINY, *(_TINY_SET if self.stack == 1 else [])]
        given = [f"model.name_or_path={model}"] if model else []
        overrides = [*given, *self.overrides, *(tiny if rehearse else [])]
        options = ["--out", str(root / self.name)]
        if self.verb == "train":
            return ["train", self.of, *overrides, f"max_seconds={seconds:.0f}", *options]
        only = [f"--only={pattern}" for pattern in self.only]
        limits = ["--stack", str(self.stack)] if self.stack > 1 else ["--budget", f"seconds={seconds:.0f}"]
        options += ["--workers", "1"] if rehearse else []  # as on a machine with one GPU
        return ["study", self.of, *overrides, *only, *limits, *options]


_FITTED = ["stop_when=fitted", "num_test=20000"]
_SOLVED = ["stop_when=solved", "num_test=20000"]
WANTED = (
    Wanted("gpt-2x5-next_token", "train", "paper_gpt_mini", 180, _FITTED),
    Wanted("gpt-2x5-reversed", "train", "paper_gpt_mini", 60, ["order=reversed", *_SOLVED]),
    Wanted("gpt-2x5-teacherless", "train", "paper_gpt_mini", 90, ["objective=teacherless", *_SOLVED]),
    Wanted("mamba-2x5-next_token", "train", "paper_mamba", 60, _FITTED),
    Wanted("mamba-2x5-reversed", "train", "paper_mamba", 60, ["order=reversed", *_SOLVED]),
    Wanted("gpt-5x5-next_token", "train", "paper_gpt_mini", 60, ["task.degree=5", *_FITTED]),
    Wanted("seeds", "study", "papers/seeds.py:quickstart", 0, [], ["next_token-*"], stack=10),
    Wanted("top_table5", "study", "top_table5", 60, [], ["3x3-token_order-[01]"]),
    Wanted("nextlat_fig6", "study", "nextlat_fig6", 60, [], ["5x5-next_latent-[01]"]),
)
_STUDY = "pretrained_stars"
PRETRAINED = (
    Wanted("2x5-1", "study", _STUDY, 60, only=["2x5-pretrained-*-0"]),
    Wanted("2x5-2", "study", _STUDY, 60, only=["2x5-random-*-0"]),
    Wanted("5x5", "study", _STUDY, 60, only=["5x5-pretrained-*-0"]),
    Wanted("2x3", "study", _STUDY, 30, only=["2x3-pretrained-*-0"]),
    Wanted("2x5-3", "study", _STUDY, 60, only=["2x5-pretrained-*-[1234]"]),
)
"""Those of a language model whose folder is given: from its weights, and from random ones."""


def main(out: Path, seconds: float, rehearse: bool = False, model: str = "") -> None:
    """Carry out what is wanted (of a language model, if its folder is given), and pack what it has left."""
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for wanted in PRETRAINED if model else WANTED:
            left = deadline - time.monotonic()
            if left < _LEAST_SECONDS:
                print(f"{wanted.name}: no time is left", flush=True)
                continue
            command = wanted.command(root, min(wanted.seconds, left - _LEAST_SECONDS / 2), rehearse, model)
            code = f"exit code {carry_out(command)}" if rehearse else _in_process(command, left)
            for line in lines_of(root / wanted.name) or [f"{wanted.name}: no result ({code})"]:
                print(line, flush=True)
            pack(root, out / "runs.tar.gz")


def _in_process(command: Sequence[str], seconds: float) -> str:
    """Run a command in a process of its own; return its exit code, or that it was stopped."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "unforced", *command], stdout=sys.stderr, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return "stopped"
    return f"exit code {done.returncode}"


def lines_of(folder: Path) -> list[str]:
    """Describe each run in a folder that has a result."""
    return [_line(file) for file in sorted(folder.rglob("result.json"))]


def _line(file: Path) -> str:
    result = json.loads(file.read_text())
    seen = {split: result[f"{split}.free.exact"] for split in ("train", "test")}
    shares = ", ".join(f"{split} {each['correct'] / each['total']:.1%}" for split, each in seen.items())
    step = 1000 * result["training_seconds"] / max(1, result["steps"])
    return (
        f"{file.parent.name:<28}{result['steps']:>8} steps  {step:>7.1f} ms  {shares}  ({result['ended_by']})"
    )


def pack(root: Path, file: Path) -> None:
    """Pack the run folders, without their checkpoints."""
    with tarfile.open(file, "w:gz") as archive:
        archive.add(root, "runs", filter=lambda each: None if Path(each.name).name == "checkpoints" else each)


if __name__ == "__main__":
    parser = argparse.ArgumentParser("benchmarks.device.runs")
    parser.add_argument("out", type=Path)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--pretrained", default="", metavar="MODEL")
    asked = parser.parse_args()
    main(asked.out, asked.seconds, asked.rehearse, asked.pretrained)
