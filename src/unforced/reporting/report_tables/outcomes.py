"""What groups of runs get right: exact match, slices, solved seeds, single runs, creativity."""

from collections.abc import Sequence

from unforced.config import SOLVED
from unforced.evaluation.outcomes import outcomes_of, summarise
from unforced.evaluation.statistics import percent
from unforced.reporting.expectations_table import Judged
from unforced.reporting.report_tables.cells import (
    ReportTable,
    about_failures,
    about_kernels,
    as_table,
    caveats,
    names,
    over_seeds,
)
from unforced.reporting.tables import NONE, OF_A_SET, WHOLE_ANSWERS, in_percent
from unforced.runs.groups import Group, closed, natural


def accuracy(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable:
    """Exact match by topology, model and configuration, with chance."""
    rows = [
        {
            **names(group),
            "chance": in_percent(group.chance),
            **{column: _whole(group, measure) for column, measure in WHOLE_ANSWERS.items()},
            "seeds": str(len(group.runs)),
            **caveats(group),
        }
        for group in groups
    ]
    notes = [f"{name}: {text}." for name, text in _forced_notes(groups).items()]
    note = "Exact match in percent: median over seeds (range). Chance: the best without lookahead."
    return as_table(
        rows, note, _about_open_ended(groups), *notes, about_failures(groups), about_kernels(groups)
    )


def slices(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable | None:
    """Held-out exact match in each slice of the problems: a row per group, a column per slice."""
    measured = {
        key: None
        for group in groups
        for run in group.runs
        for key in run.result
        if key.startswith("test.slice.") and key.endswith(".free.exact")
    }
    keys = sorted(measured, key=natural)
    rows = [
        {
            **names(group),
            **{key.split(".")[2].replace("_", " "): over_seeds(group.values(key)) for key in keys},
            "seeds": str(len(group.runs)),
            **caveats(group),
        }
        for group in groups
        if any(group.values(key) for key in keys)
    ]
    note = (
        "Exact match on held-out problems, free-running, in percent, by what the verifier sorts problems by: "
        f"median over seeds (range). {NONE}: no seed has such problems."
    )
    return as_table(rows, note, about_failures(groups), about_kernels(groups)) if rows else None


def success(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable | None:
    """How many seeds were solved, and after how many steps; without open-ended tasks."""
    left_out = "" if closed(groups) == list(groups) else "Open-ended tasks are left out: see creativity."
    groups = closed(groups)
    if not groups:
        return None
    horizon = max(run.result["steps"] for group in groups for run in group.runs)
    rows = []
    for group in groups:
        summary = summarise(outcomes_of(group, "free.exact"), horizon)
        solved, steps = summary["success"], summary["steps_to_solve"]["median"]
        rows.append(
            {
                **names(group),
                "solved": f"{solved['correct']} of {solved['total']}",
                "success rate": percent(solved),
                "steps to solve": NONE if steps is None else f"{steps:,}",
                **caveats(group),
            }
        )
    note = (
        f"Solved: free-running exact match at least {100 * SOLVED:.0f}% on held-out problems. Success rate "
        "with its 95% Wilson interval over seeds. Steps: Kaplan-Meier median, on validation problems."
    )
    return as_table(rows, note, left_out, about_failures(groups), about_kernels(groups))


def seeds(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable:
    """A row per run."""
    rows = [
        {
            **names(group),
            "seed": str(run.seed),
            "training, free-running": percent(run.result["train.free.exact"]),
            "held-out, free-running": percent(run.result["test.free.exact"]),
            "held-out, creative": percent(run.result["test.free.creative"]) if run.open_ended else "",
            "steps": f"{run.result['steps']:,}",
            "ended by": run.failure or run.result.get("ended_by", ""),
            "verdict": run.diagnosis["verdict"]["title"] if run.diagnosis else "",
        }
        for group in groups
        for run in group.runs
    ]
    note = "Exact match, free-running, with 95% Wilson intervals over problems; steps that the run took."
    return as_table(rows, note, _about_open_ended(groups), about_failures(groups))


def creativity(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable | None:
    """How much is new of the answers as a set, where tasks are open-ended."""
    rows = [
        {
            **names(group),
            **{name: over_seeds(group.values(f"test.free.{name}")) for name in OF_A_SET},
            "samples": _samples(group),
            "seeds": str(len(group.runs)),
            **caveats(group),
        }
        for group in groups
        if group.open_ended
    ]
    if not rows:
        return None
    note = (
        "Answers to held-out prompts, free-running, in percent: median over seeds (range). Creative: "
        "coherent, not in the training set, and unlike each other, of all samples; original: not in the "
        "training set, unique: different, of the coherent ones. All on canonical forms. Shares of new "
        "answers fall with the number of samples."
    )
    return as_table(rows, note, about_failures(groups), about_kernels(groups))


def _whole(group: Group, measure: str) -> str:
    """Return exact match; none teacher-forced where no reference is the right answer."""
    return NONE if group.open_ended and ".forced." in measure else over_seeds(group.values(measure))


def _about_open_ended(groups: Sequence[Group]) -> str:
    if not any(group.open_ended for group in groups):
        return ""
    return "Of open-ended tasks, exact match is the share of coherent answers, and none is teacher-forced."


def _forced_notes(groups: Sequence[Group]) -> dict[str, str]:
    notes = {group.runs[0].objective: group.runs[0].forced_note for group in groups}
    return {name: note for name, note in notes.items() if note}


def _samples(group: Group) -> str:
    found = [run.result.get("test.free.creative") for run in group.runs]
    return ", ".join(f"{total:,}" for total in sorted({count["total"] for count in found if count}))
