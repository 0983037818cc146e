"""The peaks of a device: operations per second of matrix products, bytes per second of a copy."""

from collections.abc import Sequence
from typing import Any

import torch

from unforced.bench.plan import Plan
from unforced.bench.timing import spread, timed

_REPEATS = 5


def measure_peaks(plan: Plan) -> dict[str, Any]:
    """Measure both in each round."""
    products = [matrix_peak(plan.matrix_sizes, plan.device, plan.dtype) for _ in range(plan.rounds)]
    copies = [copy_rate(plan.copied_bytes, plan.device) for _ in range(plan.rounds)]
    return {
        "matrix_product": {"sizes": list(plan.matrix_sizes), "flops_per_second": spread(products)},
        "copy": {"bytes": plan.copied_bytes, "bytes_per_second": spread(copies)},
    }


def matrix_peak(sizes: Sequence[int], device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOP/s of the fastest product of two square matrices of one of these sizes."""
    return max(matrix_product(size, device, dtype) for size in sizes)


def matrix_product(size: int, device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOP/s of a product of two square matrices, the best of five."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / min(timed(lambda: a @ b, device) for _ in range(_REPEATS))


def copy_rate(size: int, device: torch.device) -> float:
    """Return the bytes read and written per second by a copy of `size` bytes, the best of five."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source).copy_(source)
    return 2 * size / min(timed(lambda: target.copy_(source), device) for _ in range(_REPEATS))
