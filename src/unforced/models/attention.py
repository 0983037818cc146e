"""Attention back-ends, and the measurement that chooses one.

No back-end is best everywhere: on a processor, at the few dozen tokens of a path-star problem, a plain
softmax(Q K^T) V in fp32 beats PyTorch's fused attention several times over; on a GPU, or at length, the
fused one wins. So the choice is measured, once per machine, device, dtype and shape (`fastest`).
"""

import contextlib
import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

Queries = Float[Tensor, "batch heads query depth"]
Keys = Float[Tensor, "batch heads key depth"]


@dataclass(frozen=True)
class Pattern:
    """Which keys each query may attend to: `bias` is 0 there and -inf elsewhere (None: to all).

    `causal` says that the pattern is plain causal and square, for which fused kernels have a fast path.
    """

    bias: Float[Tensor, "#batch #heads query key"] | None
    causal: bool = False

    @classmethod
    def of(cls, allowed: Bool[Tensor, "#batch query key"]) -> "Pattern":
        """Build a pattern from a mask of allowed pairs."""
        return cls(torch.zeros_like(allowed, dtype=torch.float32).masked_fill_(~allowed, -torch.inf)[:, None])

    def rows(self, at: slice | Int[Tensor, " chosen"]) -> "Pattern":
        """Keep the queries `at`."""
        return Pattern(None if self.bias is None else self.bias[:, :, at])


def causal_pattern(steps: int, past: int, device: torch.device) -> Pattern:
    """Each of `steps` queries attends to the `past` keys before them, to itself, and to no later one."""
    if steps == 1:
        return Pattern(None)
    bias = torch.full((steps, past + steps), -torch.inf, device=device).triu_(past + 1)
    return Pattern(bias[None, None], causal=past == 0)


def explicit(query: Queries, key: Keys, value: Keys, pattern: Pattern) -> Queries:
    """Compute softmax(Q K^T / sqrt(depth) + bias) V with the whole matrix of scores in memory."""
    batch, heads, steps, depth = query.shape
    query, key, value = (x.reshape(batch * heads, -1, depth) for x in (query, key, value))
    bias = pattern.bias
    if bias is None:
        scores = torch.bmm(query, key.mT) * depth**-0.5
    else:
        if bias.shape[:2] != (1, 1):
            bias = bias.expand(batch, heads, -1, -1)
        scores = torch.baddbmm(bias.flatten(0, 1).to(query.dtype), query, key.mT, alpha=depth**-0.5)
    return torch.bmm(scores.softmax(-1), value).view(batch, heads, steps, depth)


def fused(query: Queries, key: Keys, value: Keys, pattern: Pattern) -> Queries:
    """Call PyTorch's scaled_dot_product_attention (flash or memory-efficient where they exist)."""
    if pattern.causal:
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)
    bias = None if pattern.bias is None else pattern.bias.to(query.dtype)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)


@dataclass(frozen=True)
class Backend:
    """A way to compute attention; `dtype` is what it works in (None: that of the matrix products)."""

    attend: Callable[[Queries, Keys, Keys, Pattern], Queries]
    dtype: torch.dtype | None = None


_LONGEST_EXPLICIT = 4096  # beyond this the matrix of scores takes gigabytes

BACKENDS = {
    "explicit": Backend(explicit),
    "explicit_fp32": Backend(explicit, torch.float32),
    "fused": Backend(fused),
}


def fastest(device: torch.device, dtype: torch.dtype, heads: int, depth: int, length: int) -> str:
    """Return the back-end with the fastest forward and backward pass, measured once and remembered.

    The measurement is kept in the user's cache folder, so that equal runs on one machine choose equally.
    """
    length = 1 << max(3, (length - 1).bit_length())
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    case = [platform.node(), machine, torch.__version__, torch.get_num_threads()]
    case += [str(dtype), heads, depth, length]
    digest = hashlib.sha256(json.dumps(case).encode()).hexdigest()[:16]
    file = _cache_folder() / f"attention-{digest}.json"
    remembered = _recall(file)
    if remembered is not None:
        return remembered
    seconds = {name: _measure(each, device, dtype, heads, depth, length) for name, each in BACKENDS.items()}
    chosen = min(seconds, key=lambda name: seconds[name])
    _remember(file, {"case": case, "seconds": seconds, "fastest": chosen})
    return _recall(file) or chosen


def _measure(
    backend: Backend, device: torch.device, dtype: torch.dtype, heads: int, depth: int, length: int
) -> float:
    """Return the median seconds of a forward and backward pass over 4096 tokens."""
    if backend.attend is explicit and length > _LONGEST_EXPLICIT:
        return math.inf
    shape = (3, max(1, 4096 // length), heads, length, depth)
    pattern = causal_pattern(length, 0, device)
    noise = torch.Generator(device).manual_seed(0)
    times = []
    for _ in range(7):
        source = torch.randn(shape, generator=noise, device=device, dtype=backend.dtype or dtype)
        started = _clock(device)
        with torch.enable_grad():
            query, key, value = source.requires_grad_().unbind(0)
            output = backend.attend(query, key, value, pattern)
            output.backward(torch.ones_like(output))
        times.append(_clock(device) - started)
    return sorted(times)[len(times) // 2]


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unforced"


def _recall(file: Path) -> str | None:
    try:
        chosen = json.loads(file.read_text())["fastest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return chosen if isinstance(chosen, str) and chosen in BACKENDS else None


def _remember(file: Path, measured: object) -> None:
    """Keep a measurement; of several processes the first wins, and a read-only home is no error."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(measured, indent=1))
        try:
            if _recall(file) is None:
                file.unlink(missing_ok=True)
            os.link(draft, file)
        finally:
            draft.unlink()
