"""All that `unforced bench` measures, as values for JSON."""

import os
from collections.abc import Callable, Collection
from typing import Any

import torch

from unforced.bench.data import measure_data
from unforced.bench.evaluation import measure_evaluation
from unforced.bench.others import measure_others
from unforced.bench.peaks import measure_peaks
from unforced.bench.plan import Plan
from unforced.bench.stacked import measure_stacked
from unforced.bench.start import measure_start
from unforced.bench.training import measure_training
from unforced.training.cpu import keep_freed_memory
from unforced.training.environment import describe
from unforced.training.processes import join_processes

Say = Callable[[str], None]
_MEASURES: dict[str, Callable[[Plan, Say], list[dict[str, Any]]]] = {
    "training": measure_training,
    "others": measure_others,
    "stacked": measure_stacked,
    "evaluation": measure_evaluation,
    "data": measure_data,
    "start": measure_start,
}


def device() -> torch.device:
    """Return the device that a run would train on."""
    return join_processes().device


def measure(plan: Plan, sections: Collection[str], say: Say) -> dict[str, Any]:
    """Measure sections, by name; each is a list of rows. Spreads over rounds have min, median and max.

    environment: as in env.json, with the dtype and what the machine was busy with before (`load`, processes).
    """
    keep_freed_memory()
    environment = describe(plan.device) | {
        "dtype": str(plan.dtype).removeprefix("torch."),
        "rounds": plan.rounds,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
    say("peaks")
    results: dict[str, Any] = {"environment": environment, "peaks": measure_peaks(plan)}
    for section, of_section in _MEASURES.items():
        if section in sections:
            results[section] = of_section(plan, say)
    return results
