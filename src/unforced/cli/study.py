"""`study`: many runs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unforced.cli.options import AsJson, Overrides, Trackers

if TYPE_CHECKING:
    from unforced.studies.runner import Summary


def study(
    name: Annotated[str, typer.Argument(help="A study's name (unforced list studies), or FILE.py:FUNCTION.")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder. [default: runs/NAME]")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only runs called so, as in '*-0' for seed 0; can be given again."),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help="Where every run ends: steps=N, samples=N, flops=X or seconds=X; given again, at the last."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at once. [default: one per GPU, or per core where there is none]"),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="Where runs go: local, or ray or slurm, a cluster of that kind.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="With ray: the cluster. [default: the one here, or a new one]")
    ] = None,
    cpus: Annotated[
        int | None, typer.Option(min=1, help="With ray or slurm: cores for each run. [default: 1]")
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(
            min=0, help="With ray or slurm: GPUs for each run; with ray, 0.25, too. [default: none]"
        ),
    ] = None,
    partition: Annotated[
        str | None, typer.Option(help="With slurm: where jobs go. [default: the cluster's]")
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(help="With slurm: a job's time, in minutes or as in 1-12:00:00. [default: an hour]"),
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option(help="With slurm: an option of sbatch, as in account=physics; can be given again."),
    ] = None,
    retries: Annotated[int, typer.Option(min=0, help="Times that a run that broke is started again.")] = 2,
    runs_per_job: Annotated[
        int, typer.Option(min=1, help="Runs that a process trains one after the other: it saves its start.")
    ] = 1,
    stack: Annotated[
        str,
        typer.Option(
            help="Runs that a process trains at once, where they can be: a number, or auto, which is 1 "
            "without a GPU, and as many as one has memory for."
        ),
    ] = "auto",
    tracker: Trackers = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and its cost, measured here, and run nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train every unfinished run of a study, and report the state of each.

    After a stop or a kill, the same command continues. Logs of runs are in OUT/logs. Afterwards:
    unforced report OUT.

    Example: unforced study pitfalls_small --workers 2 --out runs/pitfalls_small
    """
    from unforced.cli.study_plan import show_plan
    from unforced.integrations.trackers import check_trackers
    from unforced.recipes import resolve_study
    from unforced.reporting.study_progress import watch_study
    from unforced.studies.budget import read_budget, within_budget
    from unforced.studies.engines import open_engine
    from unforced.studies.folder import StudyFolder
    from unforced.studies.plan import make_plan
    from unforced.studies.runner import Status, Summary, run_study
    from unforced.studies.stacking import check_stack, choose_stacks, read_stack
    from unforced.study import only as choose

    trackers = tracker or []
    check_trackers(trackers)
    at_once = check_stack(read_stack(stack), trackers)
    limits = read_budget(budget or [])
    chosen = within_budget(choose(resolve_study(name, overrides or []), only or []), limits)
    out = out or Path("runs") / chosen.name
    folder = StudyFolder(out)
    folder.check(chosen)
    if not dry_run:
        folder.check_free()
    left = folder.left(chosen)
    if not left and not dry_run:
        with folder.locked():
            folder.claim(chosen)  # what is expected may have changed
        _conclude(Summary({part: Status("done") for part in chosen.runs}, None), out, as_json)
        return
    options = {"address": address, "cpus": cpus, "gpus": gpus, "partition": partition, "time": time}
    place = open_engine(engine, workers, {**options, "slurm": _pairs(slurm)})
    try:
        stacks = choose_stacks(chosen.runs, at_once, place)
        plan = make_plan(chosen, left, place, dry_run, stacks)
        if dry_run or not as_json:
            show_plan(chosen, out, plan, as_json)
        if dry_run:
            return
        samples = {name: float(run.num_steps * run.batch_size) for name, run in chosen.runs.items()}
        with watch_study(chosen.runs, out, as_json, {name: samples[name] for name in left}) as watch:
            summary = run_study(chosen, out, place, watch, retries, trackers, runs_per_job, stacks)
    finally:
        place.close()
    _conclude(summary, out, as_json)


def _pairs(texts: list[str] | None) -> dict[str, str] | None:
    """Read KEY=VALUE, or KEY alone for a flag."""
    return {key: value for key, _, value in (text.partition("=") for text in texts)} if texts else None


def _conclude(summary: "Summary", out: Path, as_json: bool) -> None:
    """Say what became of each run, and exit with 1 if one failed."""
    statuses = {name: asdict(status) for name, status in summary.statuses.items()}
    if as_json:
        print(json.dumps({"folder": str(out), "runs": statuses}))
    else:
        _show_end(summary, out)
    if summary.stopped_by is not None:
        raise typer.Exit(128 + summary.stopped_by)
    if summary.failed:
        raise typer.Exit(1)


def _show_end(summary: "Summary", out: Path) -> None:
    for state in ("done", "waiting", "stopped", "failed"):
        names = [name for name, status in summary.statuses.items() if status.state == state]
        if names:
            print(f"{len(names)} {state}: {_few(names)}")
    for name, status in summary.statuses.items():
        if status.state in ("done", "failed") and status.reason:
            print(f"{name}: {status.reason}")
    if summary.stopped_by is not None:
        print(f"stopped by {summary.stopped_by.name}; the same command continues from what is in {out}")
    elif summary.failed:
        print("the same command tries what failed again")
    else:
        print(f"next: unforced report {out}")


def _few(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:5])} and {len(names) - 5} more"
