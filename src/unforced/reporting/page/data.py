"""What the page knows of a run: JSON values, read from its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unforced.config import SOLVED, Run, flatten
from unforced.errors import UserError
from unforced.training.folder import RunFolder

_DIGITS = 4


def describe(path: Path, name: str, left_out: list[str]) -> dict[str, Any]:
    """Read all that the page shows of the run in the folder `path`.

    What can be done without (traces, a diagnosis) and is damaged is left out: a line about it is added to
    `left_out`. Raises UserError if the run is damaged otherwise, or not done.
    """
    folder = RunFolder.open(path)
    if not folder.done:
        raise UserError("it has not finished: it has no result.json")
    run, result = folder.run(), folder.read_result()
    return {
        "name": name,
        "task": str(run.task),
        "model": run.model.name,
        "objective": run.objective.name,
        "order": run.order,
        "seed": run.seed,
        "chance": run.task.chance,
        "decisive": list(run.task.decisive_positions),
        "forced_note": run.objective.forced_note,
        "steps": result["steps"],
        "free": _interval(result["test.free.exact"]),
        "train_free": _interval(result["train.free.exact"]),
        "solved": result["test.free.exact"]["value"] >= SOLVED,
        "forced_tokens": _tokens(run, result),
        "curves": _curves(run, folder.read_metrics()),
        "settings": flatten(run.tree()),
        "verdict": _verdict(folder, left_out),
        "traces": _traces(folder, left_out),
    }


def _interval(proportion: Mapping[str, Any]) -> dict[str, float]:
    return {key: round(proportion[key], _DIGITS) for key in ("value", "low", "high")}


def _tokens(run: Run, result: Mapping[str, Any]) -> list[float | None]:
    keys = [f"test.forced.token_{position}" for position in range(run.task.answer_length)]
    return [_share(result.get(key)) for key in keys]


def _curves(run: Run, lines: Sequence[Mapping[str, Any]]) -> dict[str, list[int] | list[float | None]]:
    """Return accuracies over training: whole answers and each position, held-out; whole ones, training."""
    tokens = [f"token_{position}" for position in range(run.task.answer_length)]
    keys = {measure: f"validation.free.{measure}" for measure in ("exact", *tokens)}
    keys["train"] = "train.free.exact"
    columns = {measure: [_share(line.get(key)) for line in lines] for measure, key in keys.items()}
    return {"samples": [line["step"] * run.batch_size for line in lines], **columns}


def _share(count: Mapping[str, Any] | None) -> float | None:
    return None if count is None else round(count["correct"] / count["total"], _DIGITS)


def _verdict(folder: RunFolder, left_out: list[str]) -> dict[str, Any] | None:
    """Return what a diagnosis says in short; None where there is none."""
    try:
        diagnosis = folder.read_diagnosis()
    except UserError as error:
        left_out.append(f"{folder.path}: without its diagnosis: {error}")
        return None
    return diagnosis and {key: diagnosis["verdict"][key] for key in ("name", "title", "because")}


def _traces(folder: RunFolder, left_out: list[str]) -> dict[str, Any] | None:
    """Return the run's traces; None where there are none."""
    if not folder.traces.exists():
        left_out.append(f"{folder.path}: no traces to explore: it has no traces.json")
        return None
    try:
        return folder.read_traces()
    except UserError as error:
        left_out.append(f"{folder.path}: without its traces: {error}")
        return None
