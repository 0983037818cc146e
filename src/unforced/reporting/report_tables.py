"""The tables of a report. A new one is a function of the report's data and its line in TABLES.

What is the same in every row stands once, in the note.
"""

import string
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import pandas as pd

from unforced.config import SOLVED
from unforced.evaluation.outcomes import outcomes_of, summarise
from unforced.evaluation.statistics import percent
from unforced.expectations import Expectation
from unforced.reporting.expectations_table import Judged
from unforced.reporting.tables import MET, MISSED, NONE, SPLIT_NAMES, WHOLE_ANSWERS, in_percent
from unforced.runs.groups import Group

_ONCE = ("study", "model", "token", "seeds")
_MARKS = {"met": MET, "missed": MISSED, "mixed": "mixed", "not enough seeds": "not enough seeds"}


@dataclass(frozen=True)
class ReportTable:
    """A table whose index is its first column, and what a reader must know of it."""

    frame: pd.DataFrame
    note: str


def accuracy(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable:
    """Whole answers right, by topology, model, objective and order, beside chance."""
    rows = [
        {
            **_who(group),
            "chance": in_percent(group.chance),
            **{column: _over_seeds(group.values(measure)) for column, measure in WHOLE_ANSWERS.items()},
            "seeds": str(len(group.runs)),
            **_caveats(group),
        }
        for group in groups
    ]
    notes = [f"{name}: {each}." for name, each in _forced_notes(groups).items()]
    note = "Whole answers right, in percent: median over seeds (range). Chance: the best without lookahead."
    return _table(rows, note, *notes, _about_failures(groups), _about_kernels(groups))


def success(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable:
    """How many seeds were solved, and after how many steps."""
    horizon = max(each.result["steps"] for group in groups for each in group.runs)
    rows = []
    for group in groups:
        found = summarise(outcomes_of(group, "free.exact"), horizon)
        solved, steps = found["success"], found["steps_to_solve"]["median"]
        rows.append(
            {
                **_who(group),
                "solved": f"{solved['correct']} of {solved['total']}",
                "share": percent(solved),
                "steps to solve": NONE if steps is None else f"{steps:,}",
                **_caveats(group),
            }
        )
    note = (
        f"Solved: free whole answers right on at least {100 * SOLVED:.0f}% of held-out problems. Share of "
        "seeds with its 95% Wilson interval. Steps: Kaplan-Meier median, on validation problems."
    )
    return _table(rows, note, _about_failures(groups), _about_kernels(groups))


def seeds(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable:
    """Each run by itself."""
    rows = [
        {
            **_who(group),
            "seed": str(run.seed),
            "train, free": percent(run.result["train.free.exact"]),
            "held-out, free": percent(run.result["test.free.exact"]),
            "steps": f"{run.result['steps']:,}",
            "ended by": run.failure or run.result.get("ended_by", ""),
            "verdict": run.diagnosis["verdict"]["title"] if run.diagnosis else "",
        }
        for group in groups
        for run in group.runs
    ]
    note = "Whole answers right, free, with 95% Wilson intervals over problems; steps that the run took."
    return _table(rows, note, _about_failures(groups))


def diagnosis(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable | None:
    """What the diagnosed runs fail by: a row per group, and per decisive token where there are several."""
    diagnosed = [group for group in groups if any(run.diagnosis is not None for run in group.runs)]
    rows = [row for group in diagnosed for row in _diagnosed(group)]
    if not rows:
        return None
    note = (
        "Verdicts with how many seeds have them. Percent: median over seeds (range); decisive tokens on the "
        f"inputs of training. {NONE}: does not apply. docs/metrics.md defines each number."
    )
    return _table(rows, note, _about_failures(diagnosed), _about_kernels(diagnosed))


def expectations(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable | None:
    """What sources say, and what was measured."""
    if not judged:
        return None
    letters, sources = _sources(judged)
    rows = [
        {
            **_spoken_of(each.expectation, groups),
            "study": each.study,
            "measure": _measure(each.expectation.measure),
            "expected": each.words,
            "source": letters[each.expectation.source],
            "measured": _over_seeds(each.values),
            "seeds": str(each.judgement.total),
            "holds in": f"{each.judgement.holds} of {each.judgement.total}",
            "verdict": _MARKS[each.judgement.verdict],
            "kernels": _kernels(_selected(each.expectation, groups)),
        }
        for each in judged
    ]
    spoken_of = [group for each in judged for group in _selected(each.expectation, groups)]
    note = (
        "Percent of whole answers, where no token is named: median over seeds (range). "
        f"{MET}: the median is as expected. {MISSED}: it is not. "
        "Mixed: more than one seed in five is on the other side. Not enough seeds: fewer than five."
    )
    return _table(rows, note, sources, _about_kernels(spoken_of))


TABLES: Sequence[Callable[[Sequence[Group], Sequence[Judged]], ReportTable | None]] = (
    accuracy,
    success,
    seeds,
    diagnosis,
    expectations,
)


def _who(group: Group) -> dict[str, str]:
    return {
        "topology": group.topology,
        "model": group.model,
        "objective": group.configuration,
    }


def _caveats(group: Group) -> dict[str, str]:
    """Say what forbids to read the seeds as alike; a column that is empty in every row is left out."""
    return {"failed": group.failures, "kernels": group.mixed_kernels}


def _about_failures(groups: Sequence[Group]) -> str:
    if not any(group.failures for group in groups):
        return ""
    return (
        "Failed: seeds that did not come to the end of their training; they count as not solved, with the "
        "accuracies of their last finite weights."
    )


def _kernels(groups: Sequence[Group]) -> str:
    return "; ".join(filter(None, (group.mixed_kernels for group in groups)))


def _about_kernels(groups: Sequence[Group]) -> str:
    if not any(group.mixed_kernels for group in groups):
        return ""
    return (
        "Kernels: where the seeds of a row ran on different implementations or autocast dtypes, how many on "
        "which; these round differently, and outcomes near a plateau depend on rounding."
    )


def _table(rows: Sequence[Mapping[str, str]], *notes: str) -> ReportTable:
    """Make a table of rows; what is the same in all of them moves to the note."""
    frame = pd.DataFrame(rows)
    frame = frame.loc[:, (frame != "").any()]
    same = {name: frame.pop(name).iloc[0] for name in _ONCE if name in frame and frame[name].nunique() == 1}
    throughout = "; ".join(f"{name} {value}" for name, value in same.items())
    notes = (*notes, f"In every row: {throughout}.") if throughout else notes
    return ReportTable(frame.set_index(frame.columns[0]), " ".join(filter(None, notes)))


def _spoken_of(expectation: Expectation, groups: Sequence[Group]) -> dict[str, str]:
    """Name the one group that an expectation selects as other tables do, else as the expectation does."""
    found = _selected(expectation, groups)
    if len(found) == 1:
        return _who(found[0])
    return {"topology": "", "model": "", "objective": expectation.group}


def _selected(expectation: Expectation, groups: Sequence[Group]) -> list[Group]:
    return [group for group in groups if any(expectation.selects(each.tree) for each in group.runs)]


def _measure(key: str) -> str:
    """Write `held-out, forced, token_2`; whole answers go without saying."""
    split, _, rest = key.partition(".")
    mode, _, measure = rest.partition(".")
    return ", ".join(filter(None, (SPLIT_NAMES.get(split, split), mode, measure.removeprefix("exact"))))


def _sources(judged: Sequence[Judged]) -> tuple[dict[str, str], str]:
    """Give each source a letter, and list them; who says several things stands once: `WHO: (a) this`."""
    texts = list(dict.fromkeys(each.expectation.source for each in judged))
    letters = {text: f"({string.ascii_lowercase[i]})" if i < 26 else f"({i})" for i, text in enumerate(texts)}
    said: dict[str, list[str]] = {}
    for text, letter in letters.items():
        who, _, what = text.partition(": ")
        said.setdefault(who, []).append(f"{letter} {what}".strip())
    return letters, " ".join(f"{who}: {', '.join(claims)}." for who, claims in said.items())


def _over_seeds(values: Sequence[float]) -> str:
    if not values:
        return NONE
    if len(values) == 1:
        return f"{100 * values[0]:.1f} (one seed)"
    middle, low, high = (100 * each for each in (median(values), min(values), max(values)))
    return f"{middle:.1f} ({low:.1f}–{high:.1f})"


def _forced_notes(groups: Sequence[Group]) -> dict[str, str]:
    notes = {group.runs[0].objective: group.runs[0].forced_note for group in groups}
    return {name: note for name, note in notes.items() if note}


def _diagnosed(group: Group) -> Iterator[dict[str, str]]:
    found = [each.diagnosis for each in group.runs if each.diagnosis is not None]
    verdicts = Counter(each["verdict"]["title"] for each in found)
    cheats = [each["clever_hans"].get("cheat_accuracy", {}) for each in found]
    first = {
        **_who(group),
        "seeds": str(len(found)),
        "verdicts": ", ".join(f"{title} {count}" for title, count in verdicts.most_common()),
        "cheat accuracy": _over_seeds([each["value"] for each in cheats if "value" in each]),
    }
    tokens = list(dict.fromkeys(token for each in found for token in _decisions(each)))
    for token in tokens or [None]:
        at = [_decisions(each)[token] for each in found if token in _decisions(each)]
        chance = in_percent(at[0]["chance"]) if at else NONE
        measured = {split: _over_seeds([each[split]["value"] for each in at]) for split in ("train", "test")}
        yield {
            **first,
            "token": token or NONE,
            "token, train": measured["train"],
            "token, held-out": measured["test"],
            "chance": chance,
            **_caveats(group),
        }


def _decisions(diagnosis: Mapping[str, Any]) -> dict[str | None, Any]:
    tokens = diagnosis["indecipherable_token"].items()
    return {token: each for token, each in tokens if isinstance(each, dict) and "test" in each}
