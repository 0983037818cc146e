"""Outcomes over seeds, for a terminal: groups and pairs of them, each under a letter."""

import string
from collections.abc import Mapping
from typing import Any

import pandas as pd

from unforced.evaluation.statistics import percent
from unforced.reporting.tables import show, spread
from unforced.reporting.terminal import print_lines

_LETTERS = [*string.ascii_uppercase, *(a + b for a in string.ascii_uppercase for b in string.ascii_uppercase)]


def show_groups(summary: Mapping[str, Any]) -> None:
    """Print the groups, the outcomes of their seeds, comparisons of pairs, and skipped folders."""
    letters = dict(zip(summary["groups"], _LETTERS, strict=False))
    for name, letter in letters.items():
        print_lines(f"{letter}  {name}")
    print_lines("")
    show(_groups(summary, letters), "to solve: Kaplan-Meier median of steps, and mean up to the longest run")
    if summary["pairs"]:
        print_lines("")
        show(_pairs(summary, letters), "on the same seeds; p: McNemar's exact test, for each pair alone")
    for name, letter in letters.items():
        group = summary["groups"][name]
        if group["open_ended"]:
            coherence = ", which says how many answers are coherent" * (group["measure"] == "free.exact")
            print_lines(f"{letter}: open-ended, by {group['measure']}{coherence}")
    for name, letter in letters.items():
        if kernels := summary["groups"][name]["kernels"]:
            print_lines(f"{letter}: the seeds ran on kernels that round differently: {kernels}")
    for folder, reason in summary["skipped"].items():
        print_lines(f"skipped: {folder}: {reason}")
    for copy, first in summary["duplicates"].items():
        print_lines(f"duplicate: {copy} is the same run as {first}")


def _groups(summary: Mapping[str, Any], letters: Mapping[str, str]) -> pd.DataFrame:
    rows = {}
    failing = any(group["failures"] for group in summary["groups"].values())
    for name, group in summary["groups"].items():
        steps, success = group["steps_to_solve"], group["success"]
        rows[letters[name]] = {
            "solved": f"{success['correct']} of {success['total']}",
            "success rate": percent(success),
            "held-out median (range)": spread(group["accuracy"]),
            "to solve": "-" if steps["median"] is None else f"{steps['median']:,}",
            "mean": f"{steps['restricted_mean']:,.0f}",
            **({"failed": group["failures"]} if failing else {}),
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = ""
    return table


def _pairs(summary: Mapping[str, Any], letters: Mapping[str, str]) -> pd.DataFrame:
    rows = {}
    for pair in summary["pairs"]:
        first, second = letters[pair["first"]], letters[pair["second"]]
        rows[f"{first} - {second}"] = {
            "seeds": str(len(pair["seeds"])),
            "only first": str(pair["only_first_solved"]),
            "only second": str(pair["only_second_solved"]),
            "p": f"{pair['p_value']:.2g}",
            "points apart, median (range)": spread(pair["accuracy_difference"]),
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = ""
    return table
