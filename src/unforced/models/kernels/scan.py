"""The selective scan, and the rule that selects how it is computed.

For every channel d and state n, with decay a_t = exp(delta_t[d] A[n, d]):

    h_t[n, d] = a_t h_{t-1}[n, d] + B_t[n] delta_t[d] x_t[d]        y_t[d] = sum_n C_t[n] h_t[n, d]

Source: arXiv 2312.00752, Sec. 3.2 (A is discretised exactly, B by Euler's rule). States are laid out
[time, batch, state, channel]: what is broadcast (B_t, C_t) then runs over the outer axes, and every inner
loop over contiguous channels.
"""

import functools
import importlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from unforced.models.kernels.installed import can_run
from unforced.models.kernels.precision import full_precision
from unforced.models.kernels.trial import trial

Channels = Float[Tensor, "batch time channels"]
Selected = Float[Tensor, "batch time state"]
State = Float[Tensor, "batch state channels"]
Scan = Callable[[Channels, Channels, Tensor, Selected, Selected, State | None], tuple[Channels, State]]


_KERNELS = "mamba_ssm.ops.selective_scan_interface"
_TRITON = "unforced.models.kernels.triton_scan"


class _Sequential(torch.autograd.Function):
    """One step after the other, each on states that stay in the processor's cache; decays are not kept."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, delta: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, start: Tensor
    ) -> tuple[Tensor, Tensor]:
        x, delta, b, c = (_time_first(tensor) for tensor in (x, delta, b, c))
        drive = x * delta
        states = x.new_empty(len(x) + 1, *start.shape)
        states[0] = start
        y = torch.empty_like(x)
        for t in range(len(x)):
            state = torch.mul(delta[t, :, None], log_decay, out=states[t + 1])
            state.exp_().mul_(states[t]).addcmul_(b[t, :, :, None], drive[t, :, None])
            torch.bmm(c[t, :, None], state, out=y[t, :, None])
        ctx.save_for_backward(x, delta, log_decay, b, c, states)
        return y.transpose(0, 1), states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor, ...]:
        x, delta, log_decay, b, c, states = ctx.saved_tensors
        grad_y, drive = _time_first(grad_y), x * delta
        grad_drive, grad_delta = torch.empty_like(x), torch.empty_like(x)
        grad_b, grad_c = torch.empty_like(b), torch.empty_like(c)
        grad = grad_last.clone(memory_format=torch.contiguous_format)  # of the state after step t
        scratch, grad_log_decay = torch.empty_like(grad), torch.zeros_like(grad)
        for t in reversed(range(len(x))):
            torch.bmm(states[t + 1], grad_y[t, :, :, None], out=grad_c[t, :, :, None])
            grad.addcmul_(c[t, :, :, None], grad_y[t, :, None])
            torch.bmm(grad, drive[t, :, :, None], out=grad_b[t, :, :, None])
            torch.bmm(b[t, :, None], grad, out=grad_drive[t, :, None])
            grad.mul_(torch.mul(delta[t, :, None], log_decay, out=scratch).exp_())
            torch.mul(grad, states[t], out=scratch)  # of delta_t A
            grad_log_decay.addcmul_(scratch, delta[t, :, None])
            torch.sum(scratch.mul_(log_decay), 1, out=grad_delta[t])
        grad_delta.addcmul_(grad_drive, x)
        grads = (grad_drive.mul_(delta), grad_delta, grad_log_decay.sum(0), grad_b, grad_c)
        return *(tensor if tensor.dim() == 2 else _batch_first(tensor) for tensor in grads), grad


class _Parallel(torch.autograd.Function):
    """All steps at once, in log2(time) rounds over the tensor of all states: for devices with many cores."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, delta: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, start: Tensor
    ) -> tuple[Tensor, Tensor]:
        x, delta, b, c = (_time_first(tensor) for tensor in (x, delta, b, c))
        decay = (delta[:, :, None] * log_decay).exp_()
        states = b[..., None] * (x * delta)[:, :, None]
        states[0].addcmul_(decay[0], start)
        states = _recur(decay, states)
        y = torch.einsum("tbn,tbnd->tbd", c, states)
        ctx.save_for_backward(x, delta, log_decay, b, c, states, start)
        return y.transpose(0, 1), states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor, ...]:
        with full_precision(grad_y.device):
            return _Parallel._backward(ctx.saved_tensors, grad_y, grad_last)

    @staticmethod
    def _backward(saved: tuple[Tensor, ...], grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor, ...]:
        x, delta, log_decay, b, c, states, start = saved
        grad_y = _time_first(grad_y)
        decay = (delta[:, :, None] * log_decay).exp_()
        grads = c[..., None] * grad_y[:, :, None]
        grads[-1] += grad_last
        later = torch.cat([decay[1:], torch.zeros_like(decay[:1])]).flip(0)
        grads = _recur(later, grads.flip(0)).flip(0)  # of the state after each step
        grad_c = torch.einsum("tbnd,tbd->tbn", states, grad_y)
        grad_b = torch.einsum("tbnd,tbd->tbn", grads, x * delta)
        grad_drive = torch.einsum("tbn,tbnd->tbd", b, grads)
        before = grads.mul_(decay)  # of the state before each step
        start_grad = before[0].clone()
        before[0] *= start
        before[1:] *= states[:-1]  # of delta A
        grad_delta = torch.einsum("tbnd,nd->tbd", before, log_decay).addcmul_(grad_drive, x)
        grad_log_decay = torch.einsum("tbnd,tbd->nd", before, delta)
        grad_x, grad_delta, grad_b, grad_c = (
            _batch_first(tensor) for tensor in (grad_drive * delta, grad_delta, grad_b, grad_c)
        )
        return grad_x, grad_delta, grad_log_decay, grad_b, grad_c, start_grad


def _time_first(tensor: Tensor) -> Tensor:
    return tensor.transpose(0, 1).contiguous()


def _batch_first(tensor: Tensor) -> Tensor:
    """Return a gradient in the layout of its input: `torch.compile` assumes that one is contiguous."""
    return tensor.transpose(0, 1).contiguous()


def _recur(decay: Tensor, inject: Tensor) -> Tensor:
    """Return h with h_t = decay_t h_{t-1} + inject_t along the first axis, doubling each step's reach."""
    reach, length = 1, len(decay)
    while reach < length:
        inject = torch.cat([inject[:reach], torch.addcmul(inject[reach:], decay[reach:], inject[:-reach])])
        decay = torch.cat([decay[:reach], decay[reach:] * decay[:-reach]])
        reach *= 2
    return inject


def _differentiable(function: type[torch.autograd.Function]) -> Scan:
    def scan(
        x: Channels,
        delta: Channels,
        log_decay: Float[Tensor, "state channels"],
        b: Selected,
        c: Selected,
        start: State | None,
    ) -> tuple[Channels, State]:
        if start is None:
            start = x.new_zeros(len(x), *log_decay.shape)
        with full_precision(x.device):
            return function.apply(x, delta, log_decay, b, c, start)

    return scan


def _mamba_ssm(
    x: Channels,
    delta: Channels,
    log_decay: Float[Tensor, "state channels"],
    b: Selected,
    c: Selected,
    start: State | None,
) -> tuple[Channels, State]:
    """Call the official CUDA kernel, which starts from nothing; a continued scan goes step by step."""
    if start is not None:
        return _differentiable(_Sequential)(x, delta, log_decay, b, c, start)
    kernel = importlib.import_module(_KERNELS).selective_scan_fn
    time_last = (tensor.transpose(1, 2).contiguous() for tensor in (b, c))
    y, last = kernel(
        x.transpose(1, 2).contiguous(),
        delta.transpose(1, 2).contiguous(),
        log_decay.T.contiguous(),
        *time_last,
        return_last_state=True,
    )
    return y.transpose(1, 2), last.transpose(1, 2)


def _triton(
    x: Channels,
    delta: Channels,
    log_decay: Float[Tensor, "state channels"],
    b: Selected,
    c: Selected,
    start: State | None,
) -> tuple[Channels, State]:
    """Call our kernels, written in Triton."""
    return _differentiable(importlib.import_module(_TRITON).TritonScan)(x, delta, log_decay, b, c, start)


def _mamba_ssm_lacks(device: torch.device) -> str:
    return "" if can_run(_KERNELS, device) else "needs a CUDA device and the package mamba_ssm"


def _triton_lacks(device: torch.device) -> str:
    """Return why our kernels cannot run: on a CPU, they do in Triton's interpreter (TRITON_INTERPRET=1)."""
    interpreted = device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
    usable = (device.type == "cuda" or interpreted) and importlib.util.find_spec("triton") is not None
    if not usable:
        return "needs a CUDA device and the package triton"
    return "" if interpreted else _triton_fails(device)


@functools.cache
def _triton_fails(device: torch.device) -> str:
    """Return what is wrong with our kernels on a device: they are compiled there, by a C compiler, too."""
    noise = torch.Generator().manual_seed(0)
    shapes = [(2, 20, 32), (2, 20, 32), (16, 32), (2, 20, 16), (2, 20, 16), (2, 16, 32)]
    x, delta, decay, b, c, start = (torch.randn(shape, generator=noise) for shape in shapes)
    inputs = [x, delta.exp() / 8, -decay.exp(), b, c, start]
    return trial(_triton, _differentiable(_Sequential), inputs, device)


@dataclass(frozen=True)
class Backend:
    """A way to compute the scan.

    lacks: why it cannot run on a device, in words that follow its name; "" if it can.
    """

    scan: Scan
    lacks: Callable[[torch.device], str] = lambda device: ""

    def available(self, device: torch.device) -> bool:
        """Say whether it can run on a device."""
        return not self.lacks(device)


BACKENDS = {
    "sequential": Backend(_differentiable(_Sequential)),
    "parallel": Backend(_differentiable(_Parallel)),
    "triton": Backend(_triton, _triton_lacks),
    "mamba_ssm": Backend(_mamba_ssm, _mamba_ssm_lacks),
}


REFERENCE = "sequential"
"""The kernel whose operations are counted, whichever kernel runs."""


def select_scan(device: torch.device) -> str:
    """Return the kernel of `auto`, by a rule, so that equal machines select the same one."""
    if device.type == "cpu":
        return "sequential"
    compiled = (name for name in ("mamba_ssm", "triton") if BACKENDS[name].available(device))
    return next(compiled, "parallel")
