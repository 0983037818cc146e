"""The selective scan in Triton: each program takes a row of the batch and a block of channels through time.

A program holds its states [state, block] in registers, in fp32 whatever the inputs are. The forward pass
stores them every `_SPAN` steps. The backward pass goes through the spans from the last to the first, and
computes the states within a span again. Source: arXiv 2312.00752, Sec. 3.3.2 (recomputation).

Gradients that are sums over channels are added up within a block by the program, and over blocks and rows by
PyTorch: no atomics, so equal inputs give equal bits. Nothing waits for the device, and no shape depends on
data, so that a scan can be part of a CUDA graph. The gate, the skip connection and the short convolution are
left to PyTorch: whether fusing them pays has not been measured.

The package triton has to be installed where this module is imported.
"""

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

_SPAN = 16
"""Steps between two states that are kept: with 16 states per channel, they take the memory of one input."""
_BLOCK = 16
"""Channels of a program. With these, Triton 3.7 lays states and inputs out alike over threads; with more, it
moves states from thread to thread at every step."""
_CELLS_PER_WARP = 256
"""States of all channels of a block that 32 threads hold. The backward pass holds five such tables."""


# no_type_check: a checker of types that wraps functions (in tests) would hide these from Triton.
@triton.jit
@no_type_check
def _advance(h, decay, drive, b):
    return decay * h + b * drive


@triton.jit
@no_type_check
def _read(at, real):
    return tl.load(at, mask=real, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=["time"])
@no_type_check
def _forward(
    x_at, delta_at, log_decay_at, b_at, c_at, start_at, y_at, last_at, kept_at,
    time, channels, state, span: tl.constexpr, block_n: tl.constexpr, block_d: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    n = tl.arange(0, block_n)[:, None]
    d = tl.program_id(1) * block_d + tl.arange(0, block_d)[None, :]
    real_n, real_d = n < state, d < channels
    real = real_n & real_d
    cells, cell = state * channels, n * channels + d
    steps, kept_row = row * time, row * tl.cdiv(time, span)
    log_decay = _read(log_decay_at + cell, real)
    h = _read(start_at + row * cells + cell, real)
    for t in range(time):
        if t % span == 0:
            tl.store(kept_at + (kept_row + t // span) * cells + cell, h, mask=real)
        here_d, here_n = (steps + t) * channels + d, (steps + t) * state + n
        delta = _read(delta_at + here_d, real_d)
        drive = delta * _read(x_at + here_d, real_d)
        h = _advance(h, tl.exp(delta * log_decay), drive, _read(b_at + here_n, real_n))
        y = tl.sum(_read(c_at + here_n, real_n) * h, axis=0, keep_dims=True)
        tl.store(y_at + here_d, y, mask=real_d)
    tl.store(last_at + row * cells + cell, h, mask=real)


@triton.jit(do_not_specialize=["time", "batch"])
@no_type_check
def _backward(
    x_at, delta_at, log_decay_at, b_at, c_at, kept_at, grad_y_at, grad_last_at, before_at,
    grad_x_at, grad_delta_at, grad_log_decay_at, grad_b_at, grad_c_at, grad_start_at,
    batch, time, channels, state, span: tl.constexpr, block_n: tl.constexpr, block_d: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    n = tl.arange(0, block_n)[:, None]
    d = tl.program_id(1) * block_d + tl.arange(0, block_d)[None, :]
    real_n, real_d = n < state, d < channels
    real = real_n & real_d
    cells, cell = state * channels, n * channels + d
    spans = tl.cdiv(time, span)
    steps, kept_row, before_row = row * time, row * spans, row * tl.minimum(span, time)
    parts = (tl.program_id(1) * batch + row) * time  # of the sums over this block's channels
    log_decay = _read(log_decay_at + cell, real)
    grad_log_decay = tl.zeros_like(log_decay)
    grad = _read(grad_last_at + row * cells + cell, real)  # of the state after a step
    for done in range(spans):
        first = (spans - 1 - done) * span
        length = tl.minimum(span, time - first)
        h = _read(kept_at + (kept_row + spans - 1 - done) * cells + cell, real)
        for i in range(length):
            tl.store(before_at + (before_row + i) * cells + cell, h, mask=real)
            here_d = (steps + first + i) * channels + d
            here_n = (steps + first + i) * state + n
            delta = _read(delta_at + here_d, real_d)
            drive = delta * _read(x_at + here_d, real_d)
            h = _advance(h, tl.exp(delta * log_decay), drive, _read(b_at + here_n, real_n))
        tl.debug_barrier()
        for done_here in range(length):
            i = length - 1 - done_here
            here_d = (steps + first + i) * channels + d
            here_n = (steps + first + i) * state + n
            x, delta = _read(x_at + here_d, real_d), _read(delta_at + here_d, real_d)
            b, c = _read(b_at + here_n, real_n), _read(c_at + here_n, real_n)
            grad_y = _read(grad_y_at + here_d, real_d)
            before = _read(before_at + (before_row + i) * cells + cell, real)
            decay, drive = tl.exp(delta * log_decay), delta * x
            grad_c = tl.sum(_advance(before, decay, drive, b) * grad_y, axis=1, keep_dims=True)
            grad += c * grad_y
            grad_b = tl.sum(grad * drive, axis=1, keep_dims=True)
            grad_drive = tl.sum(grad * b, axis=0, keep_dims=True)
            grad *= decay
            of_product = grad * before  # of delta_t A
            grad_log_decay += of_product * delta
            grad_delta = tl.sum(of_product * log_decay, axis=0, keep_dims=True) + grad_drive * x
            tl.store(grad_x_at + here_d, grad_drive * delta, mask=real_d)
            tl.store(grad_delta_at + here_d, grad_delta, mask=real_d)
            part = (parts + first + i) * state + n
            tl.store(grad_b_at + part, grad_b, mask=real_n)
            tl.store(grad_c_at + part, grad_c, mask=real_n)
        tl.debug_barrier()
    tl.store(grad_start_at + row * cells + cell, grad, mask=real)
    tl.store(grad_log_decay_at + row * cells + cell, grad_log_decay, mask=real)


class TritonScan(torch.autograd.Function):
    """The scan, as a function of six tensors. Returns y in the dtype of x, and the last state in fp32."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, delta: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, start: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scan, and keep what the backward pass starts from."""
        x, delta, log_decay, b, c, start = (
            tensor.contiguous() for tensor in (x, delta, log_decay, b, c, start)
        )
        (batch, time, channels), state = x.shape, len(log_decay)
        y, last = torch.empty_like(x), torch.empty_like(start, dtype=torch.float32)
        kept = last.new_empty(batch, triton.cdiv(time, _SPAN), state, channels)
        inputs, outputs = (x, delta, log_decay, b, c, start), (y, last, kept)
        sizes = launch_sizes(state, channels)
        with torch.cuda.device_of(x):
            _forward[_grid(x, sizes)](*inputs, *outputs, time, channels, state, span=_SPAN, **sizes)
        ctx.save_for_backward(x, delta, log_decay, b, c, kept)
        return y, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of the six tensors."""
        x, delta, log_decay, b, c, kept = ctx.saved_tensors
        (batch, time, channels), state = x.shape, len(log_decay)
        sizes = launch_sizes(state, channels)
        grid = _grid(x, sizes)
        grad_x, grad_delta = torch.empty_like(x), torch.empty_like(delta)
        grad_log_decay, grad_start = (kept.new_empty(batch, state, channels) for _ in range(2))
        grad_b, grad_c = (kept.new_empty(grid[1], batch, time, state) for _ in range(2))
        before = kept.new_empty(batch, min(time, _SPAN), state, channels)
        inputs = (x, delta, log_decay, b, c, kept, grad_y.contiguous(), grad_last.contiguous(), before)
        outputs = (grad_x, grad_delta, grad_log_decay, grad_b, grad_c, grad_start)
        with torch.cuda.device_of(x):
            _backward[grid](*inputs, *outputs, batch, time, channels, state, span=_SPAN, **sizes)
        return grad_x, grad_delta, grad_log_decay.sum(0), grad_b.sum(0), grad_c.sum(0), grad_start


def launch_sizes(state: int, channels: int) -> dict[str, int]:
    """Return the states and channels of a block (powers of two, padded) and its warps, by a rule."""
    block_n, block_d = triton.next_power_of_2(state), min(_BLOCK, triton.next_power_of_2(channels))
    warps = max(1, min(8, block_n * block_d // _CELLS_PER_WARP))
    return {"block_n": block_n, "block_d": block_d, "num_warps": warps}


def _grid(x: Tensor, sizes: dict[str, int]) -> tuple[int, int]:
    batch, _, channels = x.shape
    return batch, triton.cdiv(channels, sizes["block_d"])
