"""What the diagnoses of runs say."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unforced.reporting.expectations_table import Judged
from unforced.reporting.positions import FIRST_ERROR, FORCED, FREE, by_position
from unforced.reporting.report_tables.cells import (
    ReportTable,
    about_failures,
    about_kernels,
    as_table,
    caveats,
    names,
    over_seeds,
)
from unforced.reporting.tables import NONE, in_percent
from unforced.runs.groups import Group

_OF_A_POSITION = {FORCED: "teacher-forced", FREE: "free-running", FIRST_ERROR: "first error"}


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
    return as_table(rows, note, about_failures(diagnosed), about_kernels(diagnosed))


def positions(groups: Sequence[Group], judged: Sequence[Judged]) -> ReportTable | None:
    """What diagnoses say of each answer position where no counterfactual is known: a row per position."""
    rows = [row for group in groups for row in _by_position(group)]
    if not rows:
        return None
    note = (
        "Held-out problems, in percent: median over seeds (range). Teacher-forced: right given the true "
        "answer so far. First error: of the answers without an error before, those that go wrong here. "
        f"{NONE}: does not apply."
    )
    return as_table(rows, note)


def _diagnosed(group: Group) -> Iterator[dict[str, str]]:
    diagnoses = [run.diagnosis for run in group.runs if run.diagnosis is not None]
    cheats = [diagnosis["clever_hans"].get("cheat_accuracy", {}) for diagnosis in diagnoses]
    first = {
        **names(group),
        "seeds": str(len(diagnoses)),
        "verdicts": ", ".join(f"{title} {count}" for (_, title), count in group.verdicts.most_common()),
        "cheat accuracy": over_seeds([cheat["value"] for cheat in cheats if "value" in cheat]),
        **_reliance(diagnoses),
    }
    decisions = [_decisions(diagnosis) for diagnosis in diagnoses]
    tokens = list(dict.fromkeys(token for measured in decisions for token in measured))
    for token in tokens or [None]:
        seeds = [measured[token] for measured in decisions if token in measured]
        chance = in_percent(seeds[0]["chance"]) if seeds else NONE
        by_split = {name: over_seeds([seed[name]["value"] for seed in seeds]) for name in ("train", "test")}
        yield {
            **first,
            "token": token or NONE,
            "token, training": by_split["train"],
            "token, held-out": by_split["test"],
            "chance": chance,
            **caveats(group),
        }


def _reliance(diagnoses: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Say what diagnoses without counterfactuals measured instead; empty where there is none."""
    measured = [diagnosis.get("reliance", {}) for diagnosis in diagnoses]
    columns = {"hidden_gap": "lost if the answer so far is hidden", "follows": "follows another answer"}
    found = {
        heading: [each[key]["value"] for each in measured if "value" in each.get(key, {})]
        for key, heading in columns.items()
    }
    return {heading: over_seeds(values) if values else "" for heading, values in found.items()}


def _decisions(diagnosis: Mapping[str, Any]) -> dict[str | None, Any]:
    tokens = diagnosis["indecipherable_token"].items()
    return {
        token: measured for token, measured in tokens if isinstance(measured, dict) and "test" in measured
    }


def _by_position(group: Group) -> Iterator[dict[str, str]]:
    measured = [found for run in group.runs if (found := by_position(run.diagnosis))]
    for position in dict.fromkeys(position for found in measured for position in found):
        seeds = [found[position] for found in measured if position in found]
        yield {
            **names(group),
            "position": position,
            **{
                heading: over_seeds([seed[key]["value"] for seed in seeds if key in seed])
                for key, heading in _OF_A_POSITION.items()
            },
            "seeds": str(len(seeds)),
        }
