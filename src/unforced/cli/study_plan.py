"""The plan of a study, for a terminal."""

import json
from dataclasses import asdict
from pathlib import Path

from unforced.reporting.durations import duration
from unforced.reporting.terminal import print_lines, print_table
from unforced.studies.plan import Kind, Plan
from unforced.study import Study

_PETA = 1e15


def show_plan(study: Study, out: Path, plan: Plan, as_json: bool) -> None:
    """Print what is left to do of a study and what it will cost, as a table or as JSON."""
    if as_json:
        kinds = [asdict(kind) for kind in plan.kinds.values()]
        whole = {
            "workers": plan.workers,
            "left": plan.left,
            "seconds": plan.seconds,
            "unknown": plan.unknown,
            "notes": plan.notes,
        }
        print(json.dumps({"study": study.name, "folder": str(out), **whole, "kinds": kinds}))
        return
    heads = ["runs", "seeds", "to do", "steps"]
    stacked = any(kind.at_once > 1 for kind in plan.kinds.values())
    heads += ["at once"] * stacked + (["PFLOP", "time"] if plan.measured else [])
    print_lines(f"{study.name}: {study.source}")
    print_table(heads, [[_cells(kind)[head] for head in heads] for kind in plan.kinds.values()], numbers=True)
    reasons = dict.fromkeys(kind.reason for kind in plan.kinds.values() if kind.reason)
    print_lines(*(f"?: {reason}" for reason in reasons), *plan.notes, _total(plan, out))


def _cells(kind: Kind) -> dict[str, str]:
    """Return what a table says of a kind, by the head of its column."""
    operations = "?" if kind.operations is None else _amount(kind.operations / _PETA)
    seconds = "" if kind.seconds is None else duration(kind.seconds)
    return {
        "runs": kind.name,
        "seeds": str(kind.runs),
        "to do": str(kind.left),
        "steps": f"{kind.steps:,}",
        "at once": str(kind.at_once),
        "PFLOP": operations,
        "time": seconds,
    }


def _amount(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.2g}"


def _total(plan: Plan, out: Path) -> str:
    runs = f"{plan.left} run{'s' * (plan.left != 1)} to do in {out}, {plan.workers} at once"
    if any(kind.at_once > 1 for kind in plan.kinds.values()):
        processes = f"process{'es' * (plan.workers != 1)}"
        runs = f"{runs.removesuffix(' at once')} {processes} at once, each of several runs"
    if not plan.measured:
        return f"{runs}: --dry-run tells how long they take"
    if plan.unknown == plan.left:
        return f"{runs}: how long they take is unknown" if plan.left else runs
    unknown = f", and {plan.unknown} of unknown cost" * bool(plan.unknown)
    return (
        f"{runs}: about {duration(plan.seconds)} of training to their last steps, at the speed of this "
        f"machine{unknown}; evaluations and starts come on top"
    )
