"""How the cost of training grows with what one may enlarge.

    python -m benchmarks.scaling [--rounds N] [--seconds S] [--threads N]

From one base (4 layers of width 128, G(2,5), batch 64), one thing grows at a time: the number of arms or
their length, width, depth, batch, runs stacked, processes beside each other. Printed are milliseconds a step,
the memory that the process holds at its most, and exponents: those of power laws fitted to all values, and
from each value to the next. Time that grows with exponent 1 is proportional.
"""

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from unforced.bench.measure import device as find_device
from unforced.bench.memory import memory_of
from unforced.bench.plan import Plan, gpt_run, trainer_of
from unforced.bench.stacked import measure_stacked
from unforced.bench.timing import in_turn, taker
from unforced.config import Run
from unforced.tasks.path_star import PathStar
from unforced.training.cpu import flushed_denormals
from unforced.training.flops import flops_of

Axis = Mapping[int, Run]
"""Runs by the number that grows."""


def axes(device: torch.device) -> dict[str, Axis]:
    """Return the runs of each axis that is one of a run's settings."""
    base = gpt_run(_star(2, 5), (4, 128, 2), device)

    def lengths(stars: Sequence[tuple[int, int]]) -> Axis:
        runs = [base.replace(task=_star(*star)) for star in stars]
        return {run.codec.prompt_length + run.codec.answer_length: run for run in runs}

    return {
        "tokens, by arms: G(2,5) G(5,5) G(10,5) G(20,5)": lengths([(2, 5), (5, 5), (10, 5), (20, 5)]),
        "tokens, by their length: G(5,3) G(5,5) G(5,10) G(5,20)": lengths([(5, 3), (5, 5), (5, 10), (5, 20)]),
        "width": {
            width: base.replace(model={"width": width, "heads": width // 64}) for width in (64, 128, 256, 512)
        },
        "layers": {layers: base.replace(model={"layers": layers}) for layers in (2, 4, 8, 16)},
        "batch": {batch: base.replace(batch_size=batch) for batch in (16, 64, 256, 1024)},
    }


def main(
    arguments: Sequence[str], chosen: Mapping[str, Axis] | None = None, counts: Sequence[int] = (1, 2, 4, 8)
) -> None:
    """Measure every axis and print its table."""
    parser = argparse.ArgumentParser("benchmarks.scaling", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    device = find_device()
    for name, axis in (axes(device) if chosen is None else chosen).items():
        measured = _measured(axis, asked.rounds, asked.seconds, device)
        _show(name, measured, ("ms a step", "MB held", "MFLOP a sample"))
    run = gpt_run(_star(2, 5), (4, 64, 1), device).replace(model={"attention": "math"})
    _show("runs stacked", _stacked(run, counts, asked.rounds, asked.seconds, device), ("ms a step",))
    _show(
        "processes of one thread each",
        _workers(counts[:3], asked.seconds * asked.rounds),
        ("steps/s of all",),
    )


def _star(degree: int, length: int) -> PathStar:
    return PathStar(degree=degree, path_length=length, num_nodes=max(50, degree * (length - 1) + 1))


def _measured(axis: Axis, rounds: int, seconds: float, device: torch.device) -> dict[int, tuple[float, ...]]:
    """Return milliseconds, megabytes and megaflops of each run of an axis."""
    memory = {size: (memory_of(run) or math.nan) / 1e6 for size, run in axis.items()}
    takers = {str(size): taker(trainer_of(run).step, device) for size, run in axis.items()}
    with flushed_denormals():
        times = in_turn(takers, rounds, seconds, device)
    return {
        size: (1000 * min(times[str(size)]), memory[size], flops_of(run) / 1e6) for size, run in axis.items()
    }


def _stacked(
    run: Run, counts: Sequence[int], rounds: int, seconds: float, device: torch.device
) -> dict[int, tuple[float, ...]]:
    plan: Any = Plan(device, (), (), (), run, tuple(counts), (), rounds, seconds, 1, ())
    rows = measure_stacked(plan, lambda text: None)
    speeds = {row["runs"]: row["samples_per_second"]["max"] for row in rows}
    return {count: (1000 * count * run.batch_size / speed,) for count, speed in speeds.items()}


def _workers(counts: Sequence[int], seconds: float) -> dict[int, tuple[float, ...]]:
    """Let processes train beside each other; return the steps per second of all together."""
    found = {}
    for count in counts:
        command = [sys.executable, "-m", "benchmarks.scaling", "--worker", str(seconds)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        workers = [subprocess.Popen(command, **pipes) for _ in range(count)]
        for worker in workers:
            worker.stdout.readline()  # it is ready
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        found[count] = (sum(float(worker.communicate()[0]) for worker in workers),)
    return found


def _work(seconds: float) -> None:
    """Train for some seconds, from a signal on; print the steps per second."""
    torch.set_num_threads(1)
    trainer = trainer_of(gpt_run(_star(2, 5), (4, 64, 1), find_device()))
    trainer.step()
    print("ready", flush=True)
    sys.stdin.readline()
    began, steps = time.perf_counter(), 0
    with flushed_denormals():
        while steps == 0 or time.perf_counter() - began < seconds:
            trainer.step()
            steps += 1
    print(steps / (time.perf_counter() - began))


def _show(name: str, measured: Mapping[int, Sequence[float]], titles: Sequence[str]) -> None:
    """Print a table: each column's values, and the exponents from one value to the next."""
    print(f"\n### {name}\n\n| | {' | '.join(titles)} | exponents from the value before |")
    print("|---|" + "---|" * (len(titles) + 1))
    sizes = list(measured)
    for index, size in enumerate(sizes):
        before = sizes[index - 1] if index else None
        columns = " | ".join(f"{value:,.4g}" for value in measured[size])
        local = (
            "" if before is None else ", ".join(_exponents({key: measured[key] for key in (before, size)}))
        )
        print(f"| {size} | {columns} | {local} |")
    print(f"| fitted | {' | '.join(_exponents(measured))} | |", flush=True)


def _exponents(measured: Mapping[int, Sequence[float]]) -> list[str]:
    """Fit a power law to each column, by least squares of logarithms."""
    logs = [math.log(size) for size in measured]
    middle = sum(logs) / len(logs)
    spread = sum((each - middle) ** 2 for each in logs)
    columns = zip(*measured.values(), strict=True)
    slopes = [
        sum((log - middle) * math.log(value) for log, value in zip(logs, column, strict=True)) / spread
        for column in columns
    ]
    return [f"{slope:.2f}" for slope in slopes]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        _work(float(sys.argv[2]))
    else:
        main(sys.argv[1:])
