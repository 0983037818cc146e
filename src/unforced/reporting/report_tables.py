"""The tables of a report. A new one is a function of the report's data, listed in TABLES.

Values that are the same in every row are written once, in the note.
"""

import itertools
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from unforced.config import SOLVED
from unforced.evaluation.outcomes import outcomes_of, summarise
from unforced.evaluation.spending import Axis, common_amount, flops_per_sample, success_at
from unforced.evaluation.statistics import percent
from unforced.expectations import Expectation
from unforced.registry import BASELINE
from unforced.reporting.expectations_table import Judged
from unforced.reporting.tables import MET, MISSED, NONE, OF_A_SET, WHOLE_ANSWERS, in_percent, in_units
from unforced.runs.groups import Group, closed, natural, spread

_ONCE = ("study", "model", "token", "seeds")
_EQUAL: Mapping[Axis, tuple[str, str]] = {
    "steps": ("equal steps", "solved at equal steps"),
    "flops": ("equal FLOPs", "solved at equal FLOPs"),
}
_MARKS = {"met": MET, "missed": MISSED, "mixed": "mixed", "not enough seeds": "not enough seeds"}


@dataclass(frozen=True)
class ReportTable:
    """A table, whose index is its first column, and the note below it."""

    frame: pd.DataFrame
    note: str


def accuracy(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable:
    """Exact match by topology, model and configuration, with chance."""
    rows = [
        {
            **_names(group),
            "chance": in_percent(group.chance),
            **{column: _whole(group, measure) for column, measure in WHOLE_ANSWERS.items()},
            "seeds": str(len(group.runs)),
            **_caveats(group),
        }
        for group in groups
    ]
    notes = [f"{name}: {text}." for name, text in _forced_notes(groups).items()]
    note = "Exact match in percent: median over seeds (range). Chance: the best without lookahead."
    return _table(
        rows, note, _about_open_ended(groups), *notes, _about_failures(groups), _about_kernels(groups)
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
            **_names(group),
            **{key.split(".")[2].replace("_", " "): _over_seeds(group.values(key)) for key in keys},
            "seeds": str(len(group.runs)),
            **_caveats(group),
        }
        for group in groups
        if any(group.values(key) for key in keys)
    ]
    note = (
        "Exact match on held-out problems, free-running, in percent, by what the verifier sorts problems by: "
        f"median over seeds (range). {NONE}: no seed has such problems."
    )
    return _table(rows, note, _about_failures(groups), _about_kernels(groups)) if rows else None


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
                **_names(group),
                "solved": f"{solved['correct']} of {solved['total']}",
                "success rate": percent(solved),
                "steps to solve": NONE if steps is None else f"{steps:,}",
                **_caveats(group),
            }
        )
    note = (
        f"Solved: free-running exact match at least {100 * SOLVED:.0f}% on held-out problems. Success rate "
        "with its 95% Wilson interval over seeds. Steps: Kaplan-Meier median, on validation problems."
    )
    return _table(rows, note, left_out, _about_failures(groups), _about_kernels(groups))


def equal_compute(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable | None:
    """The cost of each configuration, and its success where all of a topology have spent as much."""
    rows = []
    for _, part in itertools.groupby(groups, key=lambda group: group.facet):
        members = list(part)
        amounts = {axis: common_amount(members, axis) for axis in _EQUAL}
        rows += [{**_names(group), **_cost(group, members), **_at_equal(group, amounts)} for group in members]
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
    return _table(rows, note, about, _about_failures(groups), _about_kernels(groups))


def seeds(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable:
    """A row per run."""
    rows = [
        {
            **_names(group),
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
    return _table(rows, note, _about_open_ended(groups), _about_failures(groups))


def diagnosis(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable | None:
    """The verdicts of diagnosed runs: a row per group and token that needs lookahead."""
    diagnosed = [group for group in groups if any(run.diagnosis is not None for run in group.runs)]
    rows = [row for group in diagnosed for row in _diagnosed(group)]
    if not rows:
        return None
    note = (
        "Verdicts with the number of seeds. Percent: median over seeds (range); tokens that need lookahead, "
        f"on the inputs of training. {NONE}: does not apply. docs/metrics.md defines each number."
    )
    return _table(rows, note, _about_failures(diagnosed), _about_kernels(diagnosed))


def creativity(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable | None:
    """How much is new of the answers as a set, where tasks are open-ended."""
    rows = [
        {
            **_names(group),
            **{name: _over_seeds(group.values(f"test.free.{name}")) for name in OF_A_SET},
            "samples": _samples(group),
            "seeds": str(len(group.runs)),
            **_caveats(group),
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
    return _table(rows, note, _about_failures(groups), _about_kernels(groups))


def expectations(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable | None:
    """Expectations of studies, with their sources, and the measurements."""
    if not judged:
        return None
    letters, sources = _sources(judged)
    rows = [
        {
            **_names_of(claim.expectation, groups),
            "study": claim.study,
            "measure": claim.measure,
            "expected": claim.words,
            "source": letters[claim.expectation.source],
            "measured": _over_seeds(claim.values),
            "seeds": str(claim.judgement.total),
            "holds in": f"{claim.judgement.holds} of {claim.judgement.total}",
            "verdict": _MARKS[claim.judgement.verdict],
            "kernels": _kernels(_selected(claim.expectation, groups)),
        }
        for claim in judged
    ]
    selected = [group for claim in judged for group in _selected(claim.expectation, groups)]
    note = (
        "Exact match in percent, unless another measure is named: median over seeds (range). "
        f"{MET}: the median is as expected. {MISSED}: it is not. "
        "Mixed: more than one seed in five is on the other side. Not enough seeds: fewer than five."
    )
    return _table(rows, note, sources, _about_kernels(selected))


TABLES: Sequence[Callable[[Sequence[Group], Sequence[Judged]], ReportTable | None]] = (
    accuracy,
    slices,
    success,
    equal_compute,
    seeds,
    diagnosis,
    creativity,
    expectations,
)


def _names(group: Group) -> dict[str, str]:
    return {
        "topology": group.topology,
        "model": group.model,
        "configuration": group.configuration,
    }


def _whole(group: Group, measure: str) -> str:
    """Return exact match; none teacher-forced where no reference is the right answer."""
    return NONE if group.open_ended and ".forced." in measure else _over_seeds(group.values(measure))


def _about_open_ended(groups: Sequence[Group]) -> str:
    if not any(group.open_ended for group in groups):
        return ""
    return "Of open-ended tasks, exact match is the share of coherent answers, and none is teacher-forced."


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
    return cells | {"seeds": str(len(group.runs)), **_caveats(group)}


def _caveats(group: Group) -> dict[str, str]:
    """Return why the seeds may not be comparable; a column that is empty in every row is left out."""
    return {"failed": group.failures, "kernels": group.mixed_kernels}


def _about_failures(groups: Sequence[Group]) -> str:
    if not any(group.failures for group in groups):
        return ""
    return (
        "Failed: seeds whose training ended early; they count as not solved, with the "
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
    """Make a table of rows; values that are the same in all of them move to the note."""
    frame = pd.DataFrame(rows)
    frame = frame.loc[:, (frame != "").any()]
    same = {name: frame.pop(name).iloc[0] for name in _ONCE if name in frame and frame[name].nunique() == 1}
    throughout = "; ".join(f"{name} {value}" for name, value in same.items())
    notes = (*notes, f"In every row: {throughout}.") if throughout else notes
    return ReportTable(frame.set_index(frame.columns[0]), " ".join(filter(None, notes)))


def _samples(group: Group) -> str:
    found = [run.result.get("test.free.creative") for run in group.runs]
    return ", ".join(f"{total:,}" for total in sorted({count["total"] for count in found if count}))


def _names_of(expectation: Expectation, groups: Sequence[Group]) -> dict[str, str]:
    """Name a single group as other tables do, several by the expectation's own name."""
    selected = _selected(expectation, groups)
    if len(selected) == 1:
        return _names(selected[0])
    return {"topology": "", "model": "", "configuration": expectation.group}


def _selected(expectation: Expectation, groups: Sequence[Group]) -> list[Group]:
    return [group for group in groups if any(expectation.selects(run.tree) for run in group.runs)]


def _sources(judged: Sequence[Judged]) -> tuple[dict[str, str], str]:
    """Return a letter per source, and their list, in which each author is named once: `WHO: (a) this`."""
    texts = list(dict.fromkeys(claim.expectation.source for claim in judged))
    letters = {text: f"({string.ascii_lowercase[i]})" if i < 26 else f"({i})" for i, text in enumerate(texts)}
    by_author: dict[str, list[str]] = {}
    for text, letter in letters.items():
        author, _, what = text.partition(": ")
        by_author.setdefault(author, []).append(f"{letter} {what}".strip())
    return letters, " ".join(f"{author}: {', '.join(claims)}." for author, claims in by_author.items())


def _over_seeds(values: Sequence[float]) -> str:
    if not values:
        return NONE
    if len(values) == 1:
        return f"{100 * values[0]:.1f} (one seed)"
    middle, low, high = (100 * share for share in spread(values).values())
    return f"{middle:.1f} ({low:.1f}–{high:.1f})"


def _forced_notes(groups: Sequence[Group]) -> dict[str, str]:
    notes = {group.runs[0].objective: group.runs[0].forced_note for group in groups}
    return {name: note for name, note in notes.items() if note}


def _diagnosed(group: Group) -> Iterator[dict[str, str]]:
    diagnoses = [run.diagnosis for run in group.runs if run.diagnosis is not None]
    cheats = [diagnosis["clever_hans"].get("cheat_accuracy", {}) for diagnosis in diagnoses]
    first = {
        **_names(group),
        "seeds": str(len(diagnoses)),
        "verdicts": ", ".join(f"{title} {count}" for (_, title), count in group.verdicts.most_common()),
        "cheat accuracy": _over_seeds([cheat["value"] for cheat in cheats if "value" in cheat]),
        **_reliance(diagnoses),
    }
    decisions = [_decisions(diagnosis) for diagnosis in diagnoses]
    tokens = list(dict.fromkeys(token for measured in decisions for token in measured))
    for token in tokens or [None]:
        seeds = [measured[token] for measured in decisions if token in measured]
        chance = in_percent(seeds[0]["chance"]) if seeds else NONE
        by_split = {name: _over_seeds([seed[name]["value"] for seed in seeds]) for name in ("train", "test")}
        yield {
            **first,
            "token": token or NONE,
            "token, training": by_split["train"],
            "token, held-out": by_split["test"],
            "chance": chance,
            **_caveats(group),
        }


def _reliance(diagnoses: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Say what diagnoses without counterfactuals measured instead; empty where there is none."""
    measured = [diagnosis.get("reliance", {}) for diagnosis in diagnoses]
    columns = {"hidden_gap": "lost if the answer so far is hidden", "follows": "follows another answer"}
    found = {
        heading: [each[key]["value"] for each in measured if "value" in each.get(key, {})]
        for key, heading in columns.items()
    }
    return {heading: _over_seeds(values) if values else "" for heading, values in found.items()}


def _decisions(diagnosis: Mapping[str, Any]) -> dict[str | None, Any]:
    tokens = diagnosis["indecipherable_token"].items()
    return {
        token: measured for token, measured in tokens if isinstance(measured, dict) and "test" in measured
    }
