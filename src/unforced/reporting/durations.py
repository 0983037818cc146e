"""Quantities in words."""


def duration(seconds: float) -> str:
    """Put a time into words: `40 s`, `25 min`, `3.5 h`, `12 days`."""
    for limit, size, unit in ((90, 1, "s"), (90 * 60, 60, "min")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 3600:,.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:,.1f} days"
