"""Time per token of each attention and scan kernel, by length: what the rules of docs/performance.md rest on.

    python -m benchmarks.kernels [cpu | cuda]

Attention: a forward and backward pass over 4,096 tokens, 6 heads of 64 features. Scan: over 512 tokens, 768
channels of 16 states. Microseconds per token, the least of several rounds. On a CPU, the time that this
process computes is counted, so that a busy machine can be measured.
"""

import sys
import time
from collections.abc import Callable, Sequence

import torch

from unforced.models.kernels import attention, scan

LENGTHS = (16, 32, 64, 128, 256, 512, 1024)


def main(device: torch.device, lengths: Sequence[int] = LENGTHS, rounds: int = 9) -> None:
    """Measure and print."""
    for dtype in (torch.float32, torch.bfloat16):
        backends = {n: b for n, b in attention.BACKENDS.items() if not (b.dtype == dtype == torch.float32)}
        print(f"attention, {device}, {str(dtype).removeprefix('torch.')}: {', '.join(backends)}")
        for length in lengths:
            row = [attend(backend, device, dtype, length, rounds) for backend in backends.values()]
            print(f"{length:6}", *(f"{each * 1e6:8.2f}" for each in row), flush=True)
    print("error of attention in bfloat16 against float64: greatest, root mean square")
    for name, backend in attention.BACKENDS.items():
        greatest, mean = errors(backend, device)
        print(f"{name:>16} {greatest:.1e} {mean:.1e}", flush=True)
    backends = {name: each for name, each in scan.BACKENDS.items() if each.available(device)}
    print(f"scan, {device}: {', '.join(backends)}")
    for length in lengths:
        row = [recur(backend.scan, device, length, rounds) for backend in backends.values()]
        print(f"{length:6}", *(f"{each * 1e6:8.2f}" for each in row), flush=True)


def attend(
    backend: attention.Backend, device: torch.device, dtype: torch.dtype, length: int, rounds: int
) -> float:
    """Return the seconds per token of attention, forward and backward."""
    shape = (3, 4096 // length, 6, length, 64)
    bias = attention.causal_bias(length, 0, device)
    source = torch.randn(shape, device=device, dtype=backend.dtype or dtype).requires_grad_()

    def work() -> None:
        output = backend.attend(*source.unbind(0), bias)
        torch.autograd.grad(output, source, torch.ones_like(output))

    return least_seconds(device, work, rounds) / 4096


def errors(backend: attention.Backend, device: torch.device) -> tuple[float, float]:
    """Return the greatest and the mean error on inputs in bfloat16 whose scores have a deviation of 6."""
    noise = torch.Generator().manual_seed(0)
    source = torch.randn(3, 64, 6, 32, 64, generator=noise)
    source[0] *= 6
    source = source.to(device, torch.bfloat16)
    bias = attention.causal_bias(32, 0, device)
    exact = attention.math_attention(*source.double().unbind(0), bias)
    error = backend.attend(*source.to(backend.dtype or source.dtype).unbind(0), bias) - exact
    return error.abs().max().item(), error.square().mean().sqrt().item()


def recur(function: scan.Scan, device: torch.device, length: int, rounds: int) -> float:
    """Return the seconds per token of a scan, forward and backward."""
    batch = max(1, 512 // length)
    shapes = [(batch, length, 768), (batch, length, 768), (16, 768), (batch, length, 16), (batch, length, 16)]
    inputs = [torch.rand(shape, device=device).requires_grad_() for shape in shapes]

    def work() -> None:
        x, delta, decay, b, c = inputs
        y, _ = function(x, delta, -decay, b, c, None)
        torch.autograd.grad(y, inputs, torch.ones_like(y))

    return least_seconds(device, work, rounds) / (batch * length)


def least_seconds(device: torch.device, work: Callable[[], None], rounds: int) -> float:
    """Return the least seconds that `work` takes, of several rounds."""
    times = []
    for _ in range(rounds):
        started = _clock(device)
        work()
        times.append(_clock(device) - started)
    return min(times)


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


if __name__ == "__main__":
    main(torch.device(sys.argv[1] if len(sys.argv) > 1 else "cpu"))
