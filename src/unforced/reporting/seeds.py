"""Outcomes over seeds, as tables."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from unforced.reporting.tables import percent, show


def groups_table(summary: Mapping[str, Any]) -> pd.DataFrame:
    """Put the groups side by side: success rate, accuracy, steps to solve."""
    rows = {}
    for name, group in summary["groups"].items():
        accuracy, steps, success = group["accuracy"], group["steps_to_solve"], group["success"]
        rows[name] = {
            "solved": f"{success['correct']} of {success['total']}",
            "success rate": percent(success),
            "held-out, median (range)": _range(accuracy, "%"),
            "chance": f"{100 * group['chance']:.1f}%",
            "steps to solve, median": "-" if steps["median"] is None else f"{steps['median']:,}",
            "restricted mean": f"{steps['restricted_mean']:,.0f} of {steps['horizon']:,}",
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "runs"
    return table


def pairs_table(summary: Mapping[str, Any]) -> pd.DataFrame:
    """Compare pairs of groups on the seeds that both have."""
    rows = {}
    for name, pair in summary["pairs"].items():
        rows[name] = {
            "seeds": str(len(pair["seeds"])),
            "only first solved": str(pair["only_first_solved"]),
            "only second solved": str(pair["only_second_solved"]),
            "McNemar p": f"{pair['p_value']:.2g}",
            "held-out difference, median (range)": _range(pair["accuracy_difference"], " points"),
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "pair, on the same seeds"
    return table


def show_groups(summary: Mapping[str, Any]) -> None:
    """Print both tables, and what was left out."""
    show(groups_table(summary))
    if summary["pairs"]:
        print()
        show(pairs_table(summary))
    for folder, reason in summary["left_out"].items():
        print(f"left out: {folder}: {reason}")


def _range(values: Mapping[str, float], unit: str) -> str:
    middle, low, high = (100 * values[key] for key in ("median", "low", "high"))
    return f"{middle:.1f}{unit} ({low:.1f} to {high:.1f})"
