"""Mamba's training speed and memory against transformers' path without kernels.

    python -m benchmarks.mamba [dotted.key=value ...]

Both train 6 layers, width 384, state 16 on G(2,5), N=50, batch 64: the same batches, weights, dtype and
AdamW, in turn. Memory: the most that a process of its own holds while it trains, libraries and data
included. On a CUDA device, ours also trains with each scan kernel that runs there, and memory is that of
the device.
"""

import statistics
import sys
from collections.abc import Mapping, Sequence

import torch

from unforced.bench.contenders import OURS, contenders
from unforced.bench.memory import memory_of
from unforced.bench.plan import trainer_of
from unforced.bench.timing import in_turn, ratios, taker
from unforced.config import Run
from unforced.models.kernels.scan import BACKENDS
from unforced.recipes import resolve_run
from unforced.reporting.bench import between
from unforced.training.cpu import flushed_denormals, keep_freed_memory
from unforced.training.loop import Trainer
from unforced.training.precision import autocast_dtype


def main(overrides: Sequence[str], rounds: int = 5, seconds: float = 1.0) -> None:
    """Measure and print."""
    keep_freed_memory()
    sizes = ["batch_size=64", "num_train=20000", "model.layers=6"]
    run = resolve_run("paper_mamba", [*sizes, *overrides])
    others = contenders(run)
    trainers = {name: trainer_of(each) for name, each in ours(run).items()}
    trainer = trainers[OURS]
    takers = {name: taker(each.step, each.device) for name, each in trainers.items()}
    takers |= {name: each.taker(trainer, "") for name, each in others.items()}
    held = {name: memory_of(each.run) for name, each in trainers.items()}
    held |= {name: memory_of(run, name) for name in others}
    with flushed_denormals():
        found = in_turn(takers, rounds, seconds, trainer.device)
    print(f"{run.task}, batch {run.batch_size}, {described(trainer)}")
    for name, each in found.items():
        speed = run.batch_size / statistics.median(each)
        print(f"{name:32} {speed:10,.1f} samples/s {(held[name] or 0) / 2**20:10,.0f} MiB")
    for name in others:
        print(f"unforced / {name:21} {between(ratios(found[name], found[OURS]), digits=1)}")


def ours(run: Run) -> Mapping[str, Run]:
    """Return the run by our name, and on a CUDA device the run with each scan."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scans = [name for name, each in BACKENDS.items() if device.type == "cuda" and each.available(device)]
    return {OURS: run} | {f"model.scan={scan}": run.replace(model={"scan": scan}) for scan in scans}


def described(trainer: Trainer) -> str:
    """Say where and how the trainer computes."""
    dtype = autocast_dtype(trainer.run, trainer.device)
    return f"{trainer.device}, {dtype}, {trainer.select_kernels({})}"


if __name__ == "__main__":
    main(sys.argv[1:])
