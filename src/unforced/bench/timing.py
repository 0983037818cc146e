"""Clocks, and contenders that are measured in turn.

A machine that others use, or that grows hot, changes its speed from minute to minute. So contenders take
turns, a few steps each, round after round, and a ratio is that of two times of one round.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

import torch

Take = Callable[[int], float]
"""Takes so many steps, and returns the seconds that they took."""


class Spread(TypedDict):
    """What was found in several rounds."""

    min: float
    median: float
    max: float


def spread(values: Sequence[float]) -> Spread:
    """Sum up what was found in several rounds."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def ratios(over: Sequence[float], under: Sequence[float]) -> Spread:
    """Sum up the quotients of what was found in the same rounds."""
    return spread([a / b for a, b in zip(over, under, strict=True)])


def rates(amount: float, seconds: Sequence[float]) -> Spread:
    """Sum up how much was done per second. amount: what was done in each of these times."""
    return spread([amount / each for each in seconds])


def timed(function: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that a call takes, until the device has done its work."""
    synchronize(device)
    started = time.perf_counter()
    function()
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def taker(step: Callable[[], object], device: torch.device) -> Take:
    """Return what takes several steps."""

    def take(steps: int) -> float:
        return timed(lambda: [step() for _ in range(steps)], device)

    return take


def warm_up(take: Take, seconds: float, device: torch.device) -> int:
    """Take steps that do not count, until a step takes its usual time; return how many steps fill `seconds`.

    On a CUDA device the first three are taken operation by operation, and the fourth is captured.
    """
    take(5 if device.type == "cuda" else 1)
    return max(1, math.ceil(seconds / take(1)))


def in_turn(
    takers: Mapping[str, Take], rounds: int, seconds: float, device: torch.device
) -> dict[str, list[float]]:
    """Return the seconds of a step in each round, of each contender.

    seconds: that a contender works for in each round. The order is turned around from round to round.
    """
    steps = {name: warm_up(take, seconds, device) for name, take in takers.items()}
    found: dict[str, list[float]] = {name: [] for name in takers}
    for number in range(rounds):
        for name in list(takers)[:: -1 if number % 2 else 1]:
            found[name].append(takers[name](steps[name]) / steps[name])
    return found
