"""The lines of metrics.jsonl: when a measure was first solved, and the lines as flat numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from unforced.config.settings import SOLVED

IN_A_ROW = 2  # a single evaluation may be luck

Line = Mapping[str, Any]


def first_of_a_row(lines: Sequence[Line], measures: Sequence[str]) -> int | None:
    """Return the index of the first of two lines in a row on which all `measures` are at least SOLVED."""
    high = [all(_is_high(line.get(measure)) for measure in measures) for line in lines]
    rows = range(len(lines) - IN_A_ROW + 1)
    return next((i for i in rows if all(high[i : i + IN_A_ROW])), None)


def steps_to(lines: Sequence[Line], *measures: str) -> dict[str, Any]:
    """Return the step of the first of two evaluations in a row at which all `measures` are at least 0.99.

    Returns `steps` (None if it never happens) and `censored_at` (the last step evaluated in that case).
    """
    first = first_of_a_row(lines, measures)
    if first is None:
        return {"steps": None, "censored_at": lines[-1]["step"] if lines else 0}
    return {"steps": lines[first]["step"], "censored_at": None}


def is_margin(key: str) -> bool:
    """Whether a measure is a mean margin in logits, as `validation.margin.token_1`, and so no share."""
    return key.partition(".")[2].startswith(("margin.", "margin_of_wrong."))


def training_seconds(lines: Sequence[Line]) -> list[float] | None:
    """Return the seconds of training up to each line, without evaluations and checkpoints; None: unknown.

    Lines of earlier versions tell them by their speeds, checkpoints included.
    """
    if lines and all("training_seconds" in line for line in lines):
        return [float(line["training_seconds"]) for line in lines]
    total, totals, before = 0.0, [], 0
    for line in lines:
        rate, samples = line.get("samples_per_second"), line["samples"] - before
        if samples and not rate:
            return None
        total += samples / rate if samples else 0.0
        totals.append(total)
        before = line["samples"]
    return totals or None


def _is_high(count: Mapping[str, int] | None) -> bool:
    """Whether a fraction is at least SOLVED; False if nothing was counted (no problem has the position)."""
    return count is not None and count["correct"] >= SOLVED * count["total"]


def numbers(tree: Mapping[str, Any]) -> dict[str, int | float]:
    """Flatten to numbers by dotted keys; a count or proportion becomes its fraction.

    {"loss": None, "test.free.exact": {"correct": 3, "total": 4}, "test.free.errors": {"hop": 1}}
    {              "test.free.exact": 0.75,                       "test.free.errors.hop": 1}
    """
    flat: dict[str, int | float] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            if "total" in value:
                flat[key] = value["correct"] / value["total"]
            else:
                flat |= {f"{key}.{name}": number for name, number in numbers(value).items()}
        elif isinstance(value, int | float):
            flat[key] = value
    return flat
