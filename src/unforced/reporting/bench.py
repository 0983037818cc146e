"""What `unforced bench` has measured, on a terminal: medians, the least and the most in brackets."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from unforced.reporting.terminal import print_lines, print_table, progress_console
from unforced.streams import lasting

Rows = Sequence[Mapping[str, Any]]
Between = Mapping[str, float]
"""min, median and max over rounds."""

_NONE = "–"
_QUIET = 0.5
"""Processes that want to run, on average over a minute, below which a machine counts as quiet."""


@contextlib.contextmanager
def watch_bench(quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yield what says on standard error what is being measured: in one line on a terminal."""
    console = progress_console()
    if quiet:
        yield lambda _: None
    elif console.is_terminal:
        with console.status("") as status:
            yield lambda text: status.update(text)
    else:
        yield lambda text: print(f"measuring {text}", file=lasting(sys.stderr), flush=True)


def show_bench(results: Mapping[str, Any]) -> None:
    """Print a table per section that was measured."""
    print_lines(*_machine(results))
    for section, show in _TABLES.items():
        if section in results:
            print()
            show(results[section])


def _machine(results: Mapping[str, Any]) -> Iterator[str]:
    machine, peaks = results["environment"], results["peaks"]
    device = machine["processor"] if machine["device"] == "cpu" else machine["device"]
    packages = machine["packages"]
    yield f"{device}, {machine['threads']} threads, {machine['dtype']}, PyTorch {packages['torch']}"
    product = between(peaks["matrix_product"]["flops_per_second"], 1e9)
    copied = between(peaks["copy"]["bytes_per_second"], 1e9, 1)
    yield f"peaks: matrix products {product} GFLOP/s, copy {copied} GB/s"
    if (machine["load"] or 0.0) > _QUIET:
        yield f"busy: load {machine['load']:.1f} before the start; measure again when the machine is quiet"


def between(values: Between, unit: float = 1.0, digits: int = 0) -> str:
    """Write a median with the least and the most: `2.54 (2.45 to 2.62)`."""
    low, middle, high = (f"{values[key] / unit:,.{digits}f}" for key in ("min", "median", "max"))
    return f"{middle} ({low} to {high})"


def name_of(row: Mapping[str, Any]) -> str:
    """Name a row's model and its size."""
    return f"{row['model']} {row['layers']}x{row['width']}"


def _training(rows: Rows) -> None:
    header = ["training", "task", "samples/s", "ms a step", "% of peak", "peak memory"]
    cells = [
        [
            name_of(row),
            row["task"],
            between(row["samples_per_second"]),
            f"{row['milliseconds_per_step']['median']:,.1f}",
            between(row["share_of_peak"], 0.01, 1),
            _NONE if row["peak_memory"] is None else f"{row['peak_memory'] / 2**20:,.0f} MiB",
        ]
        for row in rows
    ]
    print_table(header, cells, numbers=True, caption=f"batch {rows[0]['batch']}")


def _others(rows: Rows) -> None:
    header = ["beside", "model", "task", "samples/s", "ours", "ours / theirs"]
    cells = [[row["name"], name_of(row), row["task"], *_against(row)] for row in rows]
    print_table(header, cells, numbers=True)


def _against(row: Mapping[str, Any]) -> tuple[str, str, str]:
    if "missing" in row:
        return row["missing"], _NONE, _NONE
    return between(row["samples_per_second"]), between(row["ours"]), between(row["ratio"], digits=2)


def _stacked(rows: Rows) -> None:
    cells = [
        [str(row["runs"]), between(row["samples_per_second"]), between(row["ratio"], digits=2)]
        for row in rows
    ]
    print_table(["runs at once", "samples/s of all", "against one"], cells, numbers=True)


def _evaluation(rows: Rows) -> None:
    header = ["evaluation", "task", "free answers/s", "forced answers/s", "free, time over training"]
    cells = [
        [
            name_of(row),
            row["task"],
            between(row["free_per_second"]),
            between(row["forced_per_second"]),
            between(row["free_over_training"], digits=2),
        ]
        for row in rows
    ]
    print_table(header, cells, numbers=True)


def _data(rows: Rows) -> None:
    header = ["problems", "split", "thousands a second", "against an argsort"]
    cells = [
        [
            row["task"],
            row["split"],
            between(row["problems_per_second"], 1000),
            between(row["over_argsort"], digits=2),
        ]
        for row in rows
    ]
    print_table(header, cells, numbers=True)


def _start(rows: Rows) -> None:
    cells = [
        [row["command"], between(row["cpu_seconds"], digits=2), between(row["seconds"], digits=2)]
        for row in rows
    ]
    print_table(["start-up", "CPU seconds", "seconds"], cells, numbers=True)


_TABLES: dict[str, Callable[[Rows], None]] = {
    "training": _training,
    "others": _others,
    "stacked": _stacked,
    "evaluation": _evaluation,
    "data": _data,
    "start": _start,
}
