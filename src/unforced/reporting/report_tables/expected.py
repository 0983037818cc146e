"""What studies expect, and what was measured."""

import string
from collections.abc import Sequence

from unforced.expectations import Expectation
from unforced.reporting.expectations_table import Judged
from unforced.reporting.report_tables.cells import (
    ReportTable,
    about_kernels,
    as_table,
    names,
    over_seeds,
)
from unforced.reporting.tables import MET, MISSED
from unforced.runs.groups import Group

_MARKS = {"met": MET, "missed": MISSED, "mixed": "mixed", "not enough seeds": "not enough seeds"}


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
            "measured": over_seeds(claim.values),
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
    return as_table(rows, note, sources, about_kernels(selected))


def _names_of(expectation: Expectation, groups: Sequence[Group]) -> dict[str, str]:
    """Name a single group as other tables do, several by the expectation's own name."""
    selected = _selected(expectation, groups)
    if len(selected) == 1:
        return names(selected[0])
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


def _kernels(groups: Sequence[Group]) -> str:
    return "; ".join(filter(None, (group.mixed_kernels for group in groups)))
