"""What groups of runs cost, and their success at equal cost."""

import itertools
from collections.abc import Mapping, Sequence

from unforced.config import SOLVED
from unforced.evaluation.spending import Axis, common_amount, flops_per_sample, success_at
from unforced.evaluation.statistics import percent
from unforced.registry import BASELINE
from unforced.reporting.expectations_table import Judged
from unforced.reporting.report_tables.cells import (
    ReportTable,
    about_failures,
    about_kernels,
    as_table,
    caveats,
    names,
)
from unforced.reporting.tables import NONE, in_units
from unforced.runs.groups import Group, closed

_EQUAL: Mapping[Axis, tuple[str, str]] = {
    "steps": ("equal steps", "solved at equal steps"),
    "flops": ("equal FLOPs", "solved at equal FLOPs"),
}


def equal_compute(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable | None:
    """The cost of each configuration, and its success where all of a topology have spent as much."""
    rows = []
    for _, part in itertools.groupby(groups, key=lambda group: group.facet):
        members = list(part)
        amounts = {axis: common_amount(members, axis) for axis in _EQUAL}
        rows += [{**names(group), **_cost(group, members), **_at_equal(group, amounts)} for group in members]
    note = (
        f"Operations of one problem; relative: to those of {BASELINE} with the same model and task. Equal "
        "steps, equal FLOPs: the largest amount of training at which the outcome of every seed of that "
        "topology and model is known. Solved: the success rate by then, with its 95% Wilson interval over "
        "seeds. A seed is solved from the first of two evaluations in a row with at least "
        f"{100 * SOLVED:.0f}% of validation problems right, free-running, and stays so when its run ends; "
        "one that diverged never is."
    )
    open_ended = f"{NONE}: of an open-ended task, whose runs no exact match solves."
    about = "" if closed(groups) == list(groups) else open_ended
    return as_table(rows, note, about, about_failures(groups), about_kernels(groups))


def _cost(group: Group, rivals: Sequence[Group]) -> dict[str, str]:
    """Return the operations of training on a problem and of answering one, and what others need."""
    flops, answer = flops_per_sample(group.runs[0]), group.runs[0].result.get("flops_per_answer")
    bases = [rival for rival in rivals if _is_baseline(rival, group)]
    base = flops_per_sample(bases[0].runs[0]) if bases else None
    return {
        "FLOPs a sample": NONE if flops is None else in_units(flops).strip(),
        "relative": NONE if flops is None or not base else f"{flops / base:.2f}",
        "FLOPs an answer": NONE if answer is None else in_units(answer).strip(),
    }


def _is_baseline(rival: Group, group: Group) -> bool:
    """Whether a group is what another is compared with: the plain objective on the same task and model."""
    one, other = rival.runs[0].tree, group.runs[0].tree
    return rival.runs[0].objective == BASELINE and all(one[key] == other[key] for key in ("task", "model"))


def _at_equal(group: Group, amounts: Mapping[Axis, int | float | None]) -> dict[str, str]:
    cells: dict[str, str] = {}
    for axis, (name, heading) in _EQUAL.items():
        amount = None if group.open_ended else amounts[axis]
        cells[name] = (
            NONE if amount is None else f"{amount:,}" if axis == "steps" else in_units(amount).strip()
        )
        cells[heading] = NONE if amount is None else percent(success_at(group, axis, amount))
    return cells | {"seeds": str(len(group.runs)), **caveats(group)}
