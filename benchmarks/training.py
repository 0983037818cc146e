"""Training speed as a share of the matrix-product peak measured beside it.

    python -m benchmarks.training [dotted.key=value ...]

Trains 6 layers, width 384, 6 heads on G(2,5), N=50, batch 64. Peak: the fastest of several square matrix
products in the same dtype. The two are measured in turn, so that a machine whose speed drifts does not
favour either. FLOPs are counted by PyTorch over the matrix products that the step really does.
"""

import statistics
import sys
import time
from collections.abc import Sequence

import torch

from unforced.recipes import resolve_run
from unforced.training.cpu import flushed_denormals, keep_freed_memory
from unforced.training.flops import flops_of
from unforced.training.loop import Trainer, start_accelerator
from unforced.training.precision import autocast_dtype
from unforced.training.store import MemoryStore


def main(
    overrides: Sequence[str], sizes: Sequence[int] = (512, 1024, 2048), rounds: int = 7, steps: int = 6
) -> None:
    """Measure and print."""
    trainer = paper_trainer(overrides)
    run = trainer.run
    device, dtype = trainer.device, autocast_dtype(run, trainer.device)
    implementation = trainer.select_kernels({})
    keep_freed_memory()
    trainer.step()
    work = flops_of(run) * run.batch_size
    shares, speeds, peaks = [], [], []
    for _ in range(rounds):
        before = max(matrix_product(size, device, dtype) for size in sizes)
        with flushed_denormals():
            seconds = timed(lambda: [trainer.step() for _ in range(steps)], device) / steps
        peaks.append(max(before, *(matrix_product(size, device, dtype) for size in sizes)))
        speeds.append(run.batch_size / seconds)
        shares.append(work / seconds / peaks[-1])
    print(f"{run.task}, batch {run.batch_size}, {device}, {dtype}")
    print(f"implementation      {implementation}")
    print(f"matrix product peak {statistics.median(peaks) / 1e9:10,.0f} GFLOP/s")
    print(f"training            {statistics.median(speeds):10,.0f} samples/s")
    print(f"training / peak     {statistics.median(shares):10.2f}   ({min(shares):.2f} to {max(shares):.2f})")


def paper_trainer(overrides: Sequence[str]) -> Trainer:
    """Return a trainer of 6 layers of width 384 on G(2,5) that writes nothing."""
    return silent_trainer(["batch_size=64", "num_train=20000", "model.layers=6", *overrides])


def silent_trainer(overrides: Sequence[str]) -> Trainer:
    """Return a trainer of `paper_gpt_mini` with overrides that writes nothing."""
    run = resolve_run("paper_gpt_mini", overrides)
    return Trainer(run, MemoryStore(), start_accelerator(run))


def matrix_product(size: int, device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOP/s of a product of two square matrices, the best of five."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / min(timed(lambda: a @ b, device) for _ in range(5))


def timed(function, device: torch.device) -> float:
    """Return the seconds that a call takes."""
    synchronize(device)
    started = time.perf_counter()
    function()
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main(sys.argv[1:])
