"""The verdict on a set of answers, where a task is open-ended: which of them count, and why others do not."""

from collections.abc import Mapping
from typing import Any

from unforced.config import SOLVED
from unforced.evaluation.statistics import Estimate, percent, proportion
from unforced.evaluation.verdict import SOLVED_AT_LEAST, Name, Verdict

_LOSSES: Mapping[str, tuple[Name, str]] = {
    "incoherent": (
        "incoherent",
        "more steps, more training problems, a larger model, or an objective that looks further ahead",
    ),
    "memorised": ("memorised", "more training problems, or fewer steps"),
    "repeated": (
        "repeated",
        "longer seed strings (task.seed_length), or a decoder that samples (decoder.temperature)",
    ),
}


def _by_heart(measures: Mapping[str, Any]) -> str:
    found = measures["by_heart"]
    return f", by heart {percent(found)}" if "value" in found else ""


def judge_set(measures: Mapping[str, Any], coherent_in_training: Estimate, confidence: float) -> Verdict:
    """Name why most answers that are not creative are not; see docs/metrics.md.

    measures: the section `creativity` of a diagnosis.
    """
    counts = measures["answers"]
    total = sum(counts.values())
    creative = measures["creative"]
    shares = {kind: proportion(counts[kind], total, confidence) for kind in _LOSSES}
    because = (
        f"creative: {percent(creative)} of {total:,} answers to fresh seed strings",
        "; ".join(f"{kind}: {percent(share)}" for kind, share in shares.items()),
        f"on training problems: coherent {percent(coherent_in_training)}{_by_heart(measures)}",
    )
    if creative["value"] >= SOLVED and creative["low"] >= SOLVED_AT_LEAST:
        return Verdict("solved", because[:1], "")
    worst, second = sorted(shares, key=counts.__getitem__, reverse=True)[:2]
    if shares[worst]["low"] <= shares[second]["high"]:
        more = f"measuring on more problems (--count {4 * total} halves the intervals)"
        return Verdict("inconclusive", (f"as many {worst} as {second} answers", *because), more)
    name, settle = _LOSSES[worst]
    return Verdict(name, because, settle)
